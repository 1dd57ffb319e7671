// pose_goldens BUNDLE [PRECISION] [RUNTIME]: every golden through the ONNX file, the first one's joints, and the drift.
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
const char* const usual = "openvino";
#else
const char* const usual = "tensorrt";
#endif

int failure(int code, const std::string& what, const std::string& seen, const std::string& todo) {
    std::fprintf(stderr, "error: %s\nfound: %s\ntry:   %s\n", what.c_str(), seen.c_str(), todo.c_str());
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
            const auto found = network->run(normalised(goldens, image));
            joints.insert(joints.end(), found.begin(), found.end());
        }
    } catch (const std::exception& error) {
        return failure(4, "the network cannot be run here", error.what(), "try another precision");
    }
    const Distances seen = distances(goldens, joints);
    print_joints(goldens, joints);
    std::printf("weights: %s\n%s, %s, %zu goldens: mean %.4g mm, p99 %.4g mm, max %.4g mm\n", goldens.weights.c_str(),
                precision.c_str(), network->describe().c_str(), goldens.count, seen.mean_mm, seen.p99_mm, seen.max_mm);
    int code = goldens.limits[precision].empty() ? 1 : 0;
    for (const Limit& limit : goldens.limits[precision]) {
        const double own = limit.statistic == "mean" ? seen.mean_mm : limit.statistic == "p99" ? seen.p99_mm : seen.max_mm;
        const bool good = own <= limit.allowed_mm;  // false for NaN
        std::printf("%s: %s %.4g mm, allowed %.4g mm\n", good ? "pass" : "fail", limit.statistic.c_str(), own,
                    limit.allowed_mm);
        if (!good) code = 1;
    }
    return code;
}

}  // namespace

int main(int count, char** arguments) {
    if (count < 2 || count > 4)
        return failure(2, "wrong arguments", std::to_string(count - 1), "pose_goldens BUNDLE [PRECISION] [RUNTIME]");
    try {
        return run(arguments[1], count > 2 ? arguments[2] : "fp32", count > 3 ? arguments[3] : usual);
    } catch (const std::exception& error) {
        return failure(1, "the goldens cannot be compared", error.what(), "copy the bundle again");
    }
}
