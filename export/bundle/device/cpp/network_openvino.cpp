#include <openvino/openvino.hpp>

#include <cstring>
#include <stdexcept>

#include "network.hpp"

namespace {

class OpenVino final : public Network {
  public:
    explicit OpenVino(const std::string& onnx) {
        ov::Core core;
        // f32 keeps to the file's types. By default OpenVINO computes FP32 files in BF16 on processors with BF16; with
        // bf16 it rounds convolutions that a BF16 file keeps in FP32.
        const auto precision = ov::hint::inference_precision(ov::element::f32);
        compiled_ = core.compile_model(core.read_model(onnx), "CPU", precision);
        request_ = compiled_.create_infer_request();
    }

    std::string describe() const override {
        return std::string("OpenVINO ") + ov::get_openvino_version().buildNumber + ", CPU";
    }

    std::vector<float> run(const std::vector<float>& image) override {
        ov::Shape shape{1};
        const auto model_shape = compiled_.input().get_partial_shape();
        for (std::size_t axis = 1; axis < model_shape.size(); ++axis)
            shape.push_back(static_cast<std::size_t>(model_shape[static_cast<std::ptrdiff_t>(axis)].get_length()));
        if (ov::shape_size(shape) != image.size()) throw std::runtime_error("the network takes images of another size");
        ov::Tensor input(ov::element::f32, shape);
        std::memcpy(input.data<float>(), image.data(), image.size() * sizeof(float));
        request_.set_input_tensor(input);
        request_.infer();
        const ov::Tensor output = request_.get_output_tensor();
        const float* joints = output.data<const float>();
        return {joints, joints + output.get_size()};
    }

  private:
    ov::CompiledModel compiled_;
    ov::InferRequest request_;
};

}  // namespace

std::unique_ptr<Network> open_openvino(const std::string& onnx) {
    return std::make_unique<OpenVino>(onnx);
}
