// The bundle's goldens, read from golden/: raw arrays, and facts of one line each.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

struct Limit {
    std::string statistic;  // mean, p99 or max
    double allowed_mm;
};

struct Goldens {
    std::string weights;  // checkpoint, demo or stand-in
    std::size_t count = 0, input_size = 0, heatmap_size = 0, depth_dim = 0;
    double cube_mm = 0;
    std::array<float, 3> mean{}, std{};
    std::vector<std::string> joints;                     // names, in the order of the output
    std::map<std::string, std::string> onnx;             // precision -> path within the bundle
    std::map<std::string, std::vector<Limit>> limits;    // precision -> the largest allowed errors
    std::vector<std::uint8_t> images;                    // count x S x S x 3, RGB
    std::vector<double> truth;                           // count x J x 3, bins, FP64 reference

    std::array<double, 3> bin_mm() const;                // edge lengths of one bin along x, y, z
};

// Throws std::runtime_error if a file is missing, or has another length than the facts say.
Goldens read_goldens(const std::string& bundle);

// Returns one image as the network's input, 3 x S x S: (pixel - mean) / std, pixels from 0 to 255. Never divide by 255.
std::vector<float> normalised(const Goldens& goldens, std::size_t image);

// Returns mean, p99 and max of the distances of joints (count x J x 3, bins) from the truth in mm; all NaN if one joint is.
std::map<std::string, double> joint_errors(const Goldens& goldens, const std::vector<float>& joints);
