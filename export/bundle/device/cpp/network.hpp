// A network that is loaded in a runtime.
#pragma once

#include <memory>
#include <string>
#include <vector>

class Network {
  public:
    virtual ~Network() = default;
    virtual std::string describe() const = 0;
    // 3 x S x S normalised floats -> J x 3 joints in bins.
    virtual std::vector<float> run(const std::vector<float>& image) = 0;
};

// Both throw std::runtime_error, or an exception of the library, if they cannot load the file.
std::unique_ptr<Network> open_openvino(const std::string& onnx);
std::unique_ptr<Network> open_tensorrt(const std::string& onnx, std::size_t input_size);
