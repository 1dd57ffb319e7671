// pose_goldens BUNDLE [PRECISION] [RUNTIME]: runs every golden, prints the first one's joints, and compares all of them.
//
// Exit codes: 0 within the limits, 1 not, 2 wrong input, 4 not possible here.
#include <cstdio>
#include <exception>
#include <string>
#include <vector>

#include "goldens.hpp"
#include "network.hpp"

namespace {

#ifdef WITH_OPENVINO
const char* const default_runtime = "openvino";
#else
const char* const default_runtime = "tensorrt";
#endif

int failure(int code, const std::string& problem, const std::string& value, const std::string& advice) {
    std::fprintf(stderr, "error: %s\nfound: %s\ntry:   %s\n", problem.c_str(), value.c_str(), advice.c_str());
    return code;
}

std::unique_ptr<Network> open_network(const std::string& runtime, const std::string& onnx, const Goldens& goldens) {
    (void)onnx, (void)goldens;
#ifdef WITH_OPENVINO
    if (runtime == "openvino") return open_openvino(onnx);
#endif
#ifdef WITH_TENSORRT
    if (runtime == "tensorrt") return open_tensorrt(onnx, goldens.input_size);
#endif
    return nullptr;
}

void print_joints(const Goldens& goldens, const std::vector<float>& joints) {
    const auto bin = goldens.bin_mm();
    std::printf("first golden, mm in the cube:\n");
    for (std::size_t joint = 0; joint < goldens.joints.size(); ++joint) {
        std::printf("  %-12s", goldens.joints[joint].c_str());
        for (std::size_t axis = 0; axis < 3; ++axis)
            std::printf(" %9.2f", joints[3 * joint + axis] * bin[axis] - goldens.cube_mm / 2);
        std::printf("\n");
    }
}

int compare(const std::vector<Limit>& limits, const std::map<std::string, double>& errors_mm) {
    int code = limits.empty() ? 1 : 0;
    for (const Limit& limit : limits) {
        const double mm = errors_mm.at(limit.statistic);
        const bool good = mm <= limit.allowed_mm;  // false for NaN
        std::printf("%s: %s %.4g mm, allowed %.4g mm\n", good ? "pass" : "fail", limit.statistic.c_str(), mm,
                    limit.allowed_mm);
        if (!good) code = 1;
    }
    return code;
}

int run(const std::string& bundle, const std::string& precision, const std::string& runtime) {
    Goldens goldens;
    try {
        goldens = read_goldens(bundle);
    } catch (const std::exception& error) {
        return failure(2, "these are no goldens", error.what(), "name the bundle's folder");
    }
    const auto file = goldens.onnx.find(precision);
    if (file == goldens.onnx.end()) return failure(2, "no such precision in this bundle", precision, "name another");
    std::unique_ptr<Network> network;
    std::vector<float> joints;
    try {
        network = open_network(runtime, bundle + "/" + file->second, goldens);
        if (!network) return failure(4, "not built for this runtime", runtime, "configure with -DWITH_TENSORRT=ON");
        for (std::size_t image = 0; image < goldens.count; ++image) {
            const auto output = network->run(normalised(goldens, image));
            joints.insert(joints.end(), output.begin(), output.end());
        }
    } catch (const std::exception& error) {
        return failure(4, "the network cannot be run here", error.what(), "try another precision");
    }
    const auto errors_mm = joint_errors(goldens, joints);
    print_joints(goldens, joints);
    std::printf("weights: %s\n%s, %s, %zu goldens: mean %.4g mm, p99 %.4g mm, max %.4g mm\n", goldens.weights.c_str(),
                precision.c_str(), network->describe().c_str(), goldens.count, errors_mm.at("mean"), errors_mm.at("p99"),
                errors_mm.at("max"));
    return compare(goldens.limits[precision], errors_mm);
}

}  // namespace

int main(int count, char** arguments) {
    if (count < 2 || count > 4)
        return failure(2, "wrong arguments", std::to_string(count - 1), "pose_goldens BUNDLE [PRECISION] [RUNTIME]");
    try {
        return run(arguments[1], count > 2 ? arguments[2] : "fp32", count > 3 ? arguments[3] : default_runtime);
    } catch (const std::exception& error) {
        return failure(1, "the goldens cannot be compared", error.what(), "copy the bundle again");
    }
}
