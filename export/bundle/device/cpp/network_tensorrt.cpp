// NEVER COMPILED where this was written, without headers of TensorRT. Written for the C++ API of 10 and 11.
//
// This process builds the engine from the ONNX file and never writes it: loading an engine of unknown origin would
// execute native code in it. Building takes minutes; a product would store the engine, with its hash.
#include <NvInfer.h>
#include <NvOnnxParser.h>
#include <cuda_runtime_api.h>

#include <iostream>
#include <memory>
#include <stdexcept>

#include "network.hpp"

namespace {

class Logger final : public nvinfer1::ILogger {
    void log(Severity severity, const char* text) noexcept override {
        if (severity <= Severity::kWARNING) std::cerr << text << '\n';
    }
};

void check(cudaError_t status, const char* what) {
    if (status != cudaSuccess) throw std::runtime_error(std::string(what) + ": " + cudaGetErrorString(status));
}

void need(bool good, const char* what) {
    if (!good) throw std::runtime_error(std::string("TensorRT refuses: ") + what);
}

class TensorRt final : public Network {
  public:
    TensorRt(const std::string& onnx, std::size_t input_size) {
        using namespace nvinfer1;
        const auto edge = static_cast<std::int64_t>(input_size);
        std::unique_ptr<IBuilder> builder(createInferBuilder(logger_));
        need(builder != nullptr, "to make a builder");
        // The file's types decide the precision; no flag adds to it.
        const auto typed = 1U << static_cast<std::uint32_t>(NetworkDefinitionCreationFlag::kSTRONGLY_TYPED);
        std::unique_ptr<INetworkDefinition> network(builder->createNetworkV2(typed));
        std::unique_ptr<nvonnxparser::IParser> parser(nvonnxparser::createParser(*network, logger_));
        need(parser->parseFromFile(onnx.c_str(), static_cast<int>(ILogger::Severity::kWARNING)), "to read the file");
        std::unique_ptr<IBuilderConfig> config(builder->createBuilderConfig());
        config->clearFlag(BuilderFlag::kTF32);  // on by default: FP32 would then multiply in TF32
        config->setMemoryPoolLimit(MemoryPoolType::kWORKSPACE, std::size_t{1} << 30);
        IOptimizationProfile* profile = builder->createOptimizationProfile();
        for (const auto which : {OptProfileSelector::kMIN, OptProfileSelector::kOPT, OptProfileSelector::kMAX})
            need(profile->setDimensions("image", which, Dims4{1, 3, edge, edge}), "the profile's shape");
        need(config->addOptimizationProfile(profile) == 0, "the profile");
        std::unique_ptr<IHostMemory> plan(builder->buildSerializedNetwork(*network, *config));
        need(plan != nullptr, "to build the engine");
        runtime_.reset(createInferRuntime(logger_));
        engine_.reset(runtime_->deserializeCudaEngine(plan->data(), plan->size()));
        need(engine_ != nullptr, "to load the engine");
        context_.reset(engine_->createExecutionContext());
        need(context_ != nullptr && context_->setInputShape("image", Dims4{1, 3, edge, edge}), "the input's shape");
        inputs_ = 3 * input_size * input_size;
        outputs_ = 1;
        const Dims shape = context_->getTensorShape("joints");
        for (int axis = 0; axis < shape.nbDims; ++axis) outputs_ *= static_cast<std::size_t>(shape.d[axis]);
        check(cudaStreamCreate(&stream_), "a stream");
        check(cudaMalloc(&image_, inputs_ * sizeof(float)), "memory for the image");
        check(cudaMalloc(&joints_, outputs_ * sizeof(float)), "memory for the joints");
        need(context_->setTensorAddress("image", image_) && context_->setTensorAddress("joints", joints_), "addresses");
    }

    ~TensorRt() override {
        cudaFree(image_);
        cudaFree(joints_);
        cudaStreamDestroy(stream_);
    }

    std::string describe() const override { return "TensorRT " + std::to_string(getInferLibVersion()); }

    std::vector<float> run(const std::vector<float>& image) override {
        if (image.size() != inputs_) throw std::runtime_error("the network takes images of another size");
        std::vector<float> joints(outputs_);
        const auto bytes = [](std::size_t count) { return count * sizeof(float); };
        check(cudaMemcpyAsync(image_, image.data(), bytes(inputs_), cudaMemcpyHostToDevice, stream_), "the copy there");
        need(context_->enqueueV3(stream_), "the launch");
        check(cudaMemcpyAsync(joints.data(), joints_, bytes(outputs_), cudaMemcpyDeviceToHost, stream_), "the copy back");
        check(cudaStreamSynchronize(stream_), "waiting");
        return joints;
    }

  private:
    Logger logger_;
    std::unique_ptr<nvinfer1::IRuntime> runtime_;
    std::unique_ptr<nvinfer1::ICudaEngine> engine_;
    std::unique_ptr<nvinfer1::IExecutionContext> context_;
    cudaStream_t stream_{};
    void *image_{}, *joints_{};
    std::size_t inputs_{}, outputs_{};
};

}  // namespace

std::unique_ptr<Network> open_tensorrt(const std::string& onnx, std::size_t input_size) {
    return std::make_unique<TensorRt>(onnx, input_size);
}
