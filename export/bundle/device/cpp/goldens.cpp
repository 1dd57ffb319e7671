#include "goldens.hpp"

#include <algorithm>
#include <cmath>
#include <fstream>
#include <limits>
#include <sstream>
#include <stdexcept>

namespace {

template <typename Value>
std::vector<Value> read_array(const std::string& path, std::size_t count) {
    std::ifstream file(path, std::ios::binary | std::ios::ate);
    if (!file || file.tellg() != static_cast<std::streamoff>(count * sizeof(Value)))
        throw std::runtime_error(path + " is missing, or is not as long as golden/facts.txt says");
    std::vector<Value> values(count);
    file.seekg(0);
    file.read(reinterpret_cast<char*>(values.data()), static_cast<std::streamsize>(count * sizeof(Value)));
    return values;
}

}  // namespace

std::array<double, 3> Goldens::bin_mm() const {
    const double flat = cube_mm / static_cast<double>(heatmap_size);
    return {flat, flat, cube_mm / static_cast<double>(depth_dim)};
}

Goldens read_goldens(const std::string& bundle) {
    std::ifstream facts(bundle + "/golden/facts.txt");
    if (!facts) throw std::runtime_error(bundle + "/golden/facts.txt cannot be read");
    Goldens goldens;
    for (std::string line; std::getline(facts, line);) {
        std::istringstream words(line);
        std::string name;
        words >> name;
        if (name == "weights") words >> goldens.weights;
        if (name == "images") words >> goldens.count;
        if (name == "input_size") words >> goldens.input_size;
        if (name == "heatmap_size") words >> goldens.heatmap_size;
        if (name == "depth_dim") words >> goldens.depth_dim;
        if (name == "cube_mm") words >> goldens.cube_mm;
        if (name == "mean") words >> goldens.mean[0] >> goldens.mean[1] >> goldens.mean[2];
        if (name == "std") words >> goldens.std[0] >> goldens.std[1] >> goldens.std[2];
        if (name == "joints")
            for (std::string joint; words >> joint;) goldens.joints.push_back(joint);
        if (name == "onnx") {
            std::string precision;
            words >> precision;
            words >> goldens.onnx[precision];
        }
        if (name == "limit") {
            std::string precision;
            Limit limit;
            words >> precision >> limit.statistic >> limit.allowed_mm;
            goldens.limits[precision].push_back(limit);
        }
    }
    const std::size_t pixels = goldens.input_size * goldens.input_size * 3;
    if (pixels * goldens.count * goldens.joints.size() * goldens.heatmap_size * goldens.depth_dim == 0)
        throw std::runtime_error(bundle + "/golden/facts.txt is not whole");
    goldens.images = read_array<std::uint8_t>(bundle + "/golden/images.u8", goldens.count * pixels);
    goldens.truth = read_array<double>(bundle + "/golden/joints.f64", goldens.count * goldens.joints.size() * 3);
    return goldens;
}

std::vector<float> normalised(const Goldens& goldens, std::size_t image) {
    const std::size_t area = goldens.input_size * goldens.input_size;
    const std::uint8_t* pixels = goldens.images.data() + image * area * 3;
    std::vector<float> planes(3 * area);
    for (std::size_t channel = 0; channel < 3; ++channel)
        for (std::size_t at = 0; at < area; ++at)
            planes[channel * area + at] =
                (static_cast<float>(pixels[3 * at + channel]) - goldens.mean[channel]) / goldens.std[channel];
    return planes;
}

std::map<std::string, double> joint_errors(const Goldens& goldens, const std::vector<float>& joints) {
    if (joints.size() != goldens.truth.size()) throw std::runtime_error("the network gives another number of joints");
    const auto bin = goldens.bin_mm();
    std::vector<double> errors(joints.size() / 3);
    double sum = 0;
    for (std::size_t at = 0; at < errors.size(); ++at) {
        double squares = 0;
        for (std::size_t axis = 0; axis < 3; ++axis) {
            const double mm = (joints[3 * at + axis] - goldens.truth[3 * at + axis]) * bin[axis];
            squares += mm * mm;
        }
        errors[at] = std::sqrt(squares);
        sum += errors[at];
    }
    if (!std::isfinite(sum)) {
        const double nan = std::numeric_limits<double>::quiet_NaN();
        return {{"mean", nan}, {"p99", nan}, {"max", nan}};
    }
    std::sort(errors.begin(), errors.end());
    const auto rank = static_cast<std::size_t>(std::ceil(0.99 * static_cast<double>(errors.size())));  // nearest rank
    return {{"mean", sum / static_cast<double>(errors.size())},
            {"p99", errors[std::max<std::size_t>(rank, 1) - 1]},
            {"max", errors.back()}};
}
