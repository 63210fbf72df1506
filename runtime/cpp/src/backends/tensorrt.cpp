// TensorRT and TensorRT for RTX, whose C++ API is the same: plans of the bundle on one GPU.
//
// A lane holds what one call at a time needs for one set of input shapes: a context, buffers on the
// GPU, and a CUDA graph of the enqueue, captured at its second run and replayed from then on. The
// denoising loop has a recording of all its steps instead.
#include <NvInfer.h>
#include <sys/utsname.h>

#include <algorithm>
#include <cctype>
#include <list>
#include <mutex>

#include "../errors.hpp"
#include "backend.hpp"
#include "cuda.hpp"
#include "engine_choice.hpp"
#include "tensorrt_loop.hpp"

namespace trt_pipeline::internal {
namespace {

constexpr const char* flavour = TRT_PIPELINE_TENSORRT_FLAVOUR;
// Lanes, and loops, kept for each graph; each holds activations on the GPU.
constexpr std::size_t max_idle = 4;

// What one call at a time uses, kept for the next call that it fits.
template <class T>
class Idle {
 public:
  // Null if none fits.
  template <class Fits>
  std::unique_ptr<T> take(Fits fits) {
    const std::lock_guard lock(mutex_);
    const auto found =
        std::ranges::find_if(idle_, [&](const std::unique_ptr<T>& one) { return fits(*one); });
    if (found == idle_.end()) return nullptr;
    auto taken = std::move(*found);
    idle_.erase(found);
    return taken;
  }

  void give_back(std::unique_ptr<T> one) {
    const std::lock_guard lock(mutex_);
    idle_.push_front(std::move(one));
    if (idle_.size() > max_idle) idle_.pop_back();
  }

 private:
  std::list<std::unique_ptr<T>> idle_;  // last used first
  std::mutex mutex_;
};

class Lane {
 public:
  Lane(nvinfer1::ICudaEngine& engine, Logger& logger, std::string name, const GraphSpec& spec,
       const TensorViews& inputs)
      : logger_(logger), name_(std::move(name)), stream_(make_stream()) {
    context_.reset(engine.createExecutionContext());
    require(context_ != nullptr, "no execution context");
    for (const auto& [input, view] : inputs) {
      shapes_[input] = view.shape;
      require(
          context_->setInputShape(input.c_str(), dims_of(view.shape)),
          concat(input, " of shape ", describe(view.shape), " is outside the engine's profile"));
      bind(input, view.bytes());
    }
    for (const TensorSpec& output : spec.outputs) {
      const nvinfer1::Dims dims = context_->getTensorShape(output.name.c_str());
      require(dims.nbDims >= 0 &&
                  std::all_of(dims.d, dims.d + dims.nbDims, [](auto size) { return size >= 0; }),
              output.name + " has no shape");
      Tensor tensor(output.dtype, Shape(dims.d, dims.d + dims.nbDims));
      bind(output.name, tensor.bytes.size());
      outputs_.emplace(output.name, std::move(tensor));
    }
  }

  bool fits(const TensorViews& inputs) const {
    return std::ranges::equal(inputs, shapes_, [](const auto& one, const auto& other) {
      return one.first == other.first && one.second.shape == other.second;
    });
  }

  // The lane is of no further use if this throws.
  Tensors run(const TensorViews& inputs) {
    for (const auto& [input, view] : inputs) {
      check(cudaMemcpyAsync(buffers_.at(input).get(), view.data, view.bytes(),
                            cudaMemcpyHostToDevice, stream_.get()));
    }
    enqueue();
    Tensors outputs = outputs_;
    for (auto& [output, tensor] : outputs) {
      check(cudaMemcpyAsync(tensor.bytes.data(), buffers_.at(output).get(), tensor.bytes.size(),
                            cudaMemcpyDeviceToHost, stream_.get()));
    }
    check(cudaStreamSynchronize(stream_.get()));
    return outputs;
  }

 private:
  void require(bool fine, const std::string& what) const {
    if (!fine) throw BackendError(concat(name_, ": ", what, " (", logger_.last(), ")."));
  }
  void check(cudaError_t status) const { check_cuda(status, name_); }

  void bind(const std::string& tensor, std::size_t bytes) {
    const auto& buffer = buffers_.emplace(tensor, allocate(std::max<std::size_t>(bytes, 1)));
    require(context_->setTensorAddress(tensor.c_str(), buffer.first->second.get()),
            tensor + " could not be bound");
  }

  // The first run lets TensorRT allocate, which cannot be captured.
  void enqueue() {
    if (runs_++ == 1) capture();
    if (graph_) return check(cudaGraphLaunch(graph_.get(), stream_.get()));
    require(context_->enqueueV3(stream_.get()), "TensorRT failed");
  }

  void capture() {
    graph_ = record(stream_.get(), name_,
                    [&] { require(context_->enqueueV3(stream_.get()), "TensorRT failed"); });
  }

  Logger& logger_;
  std::string name_;
  CudaStream stream_;
  std::map<std::string, CudaMemory> buffers_;
  std::unique_ptr<nvinfer1::IExecutionContext> context_;
  std::map<std::string, Shape, std::less<>> shapes_;
  Tensors outputs_;  // of the right shapes; their bytes are not used
  int runs_ = 0;
  CudaGraphExec graph_;
};

class TensorRtGraph : public LoopGraph {
 public:
  TensorRtGraph(nvinfer1::IRuntime& runtime, Logger& logger, std::string name, const Bundle& bundle,
                const EngineSpec& engine)
      : logger_(logger),
        name_(std::move(name)),
        spec_(bundle.graph(name_, "fp16")),
        check_inputs_(name_, spec_.inputs, bundle) {
    const std::vector<char> plan = read_plan(bundle, engine);
    // Such a plan brings the code that reads it, and its hash was checked.
    if (engine.version_compatible) runtime.setEngineHostCodeAllowed(true);
    engine_.reset(runtime.deserializeCudaEngine(plan.data(), plan.size()));
    if (!engine_) {
      throw BackendError(concat(engine.path, " could not be opened: ", logger_.last(), "."));
    }
    for (const auto* tensors : {&spec_.inputs, &spec_.outputs}) {
      for (const TensorSpec& tensor : *tensors) check_type(tensor);
    }
  }

  Tensors run(const TensorViews& inputs) override {
    check_inputs_(inputs);
    auto lane = lanes_.take([&](const Lane& one) { return one.fits(inputs); });
    if (!lane) lane = std::make_unique<Lane>(*engine_, logger_, name_, spec_, inputs);
    Tensors outputs = lane->run(inputs);
    lanes_.give_back(std::move(lane));
    return outputs;
  }

  Tensor denoise(const LoopInputs& inputs, const OnObstacle& on_obstacle) override {
    check_first_step(inputs);
    auto loop = loops_.take([&](const TensorRtLoop& one) { return one.fits(inputs); });
    if (!loop) {
      auto* const cached = dynamic_cast<TensorRtGraph*>(inputs.cached);
      loop = std::make_unique<TensorRtLoop>(*engine_, cached ? cached->engine_.get() : nullptr,
                                            logger_, name_, inputs, features_of(spec_, inputs));
    }
    Tensor latents = loop->run(inputs, on_obstacle);
    loops_.give_back(std::move(loop));
    return latents;
  }

 private:
  void check_type(const TensorSpec& tensor) const {
    if (engine_->getTensorDataType(tensor.name.c_str()) != data_type(tensor.dtype)) {
      throw BackendError(concat(name_, ": the engine's ", tensor.name, " is not ",
                                name_of(tensor.dtype), ". Export the checkpoint again."));
    }
  }

  // The check looks at types and shapes only; those of all steps are the same.
  void check_first_step(const LoopInputs& inputs) const {
    TensorViews first;
    for (const auto& [input, shape] : step_shapes(inputs)) {
      const DType dtype = input == "time_embeds" ? inputs.time_embeds[0].dtype : DType::float32;
      first.emplace(input, TensorView(dtype, shape, nullptr));
    }
    for (const auto& [input, view] : inputs.constants) first.at(input).dtype = view.dtype;
    check_inputs_(first);
  }

  Logger& logger_;
  std::string name_;
  GraphSpec spec_;
  TensorCheck check_inputs_;
  std::unique_ptr<nvinfer1::ICudaEngine> engine_;
  Idle<Lane> lanes_;
  Idle<TensorRtLoop> loops_;
};

std::string library_version() {
  return concat(getInferLibMajorVersion(), ".", getInferLibMinorVersion(), ".",
                getInferLibPatchVersion(), ".", getInferLibBuildVersion());
}

std::string compute_capability() {
  int major = 0, minor = 0;
  check_cuda(cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, 0), "no GPU");
  check_cuda(cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, 0), "no GPU");
  return concat(major, ".", minor);
}

// As Python's platform module writes it, in lower case.
std::string platform() {
  utsname system{};
  uname(&system);
  std::string text = concat(system.sysname, "-", system.machine);
  std::ranges::transform(text, text.begin(), [](unsigned char c) { return std::tolower(c); });
  return text;
}

class TensorRtBackend : public Backend {
 public:
  explicit TensorRtBackend(const Bundle& bundle)
      : bundle_(bundle), target_{flavour, library_version(), compute_capability(), platform()} {
    cudaDeviceProp properties{};
    check_cuda(cudaGetDeviceProperties(&properties, 0), "no GPU");
    device_ = properties.name;
    runtime_.reset(nvinfer1::createInferRuntime(logger_));
    if (!runtime_) throw BackendError(concat(flavour, " could not be started: ", logger_.last()));
  }

  std::unique_ptr<Graph> open(const std::string& graph) override {
    const EngineSpec& engine = choose_engine(bundle_, graph, target_);
    return std::make_unique<TensorRtGraph>(*runtime_, logger_, graph, bundle_, engine);
  }

  std::string name() const override { return flavour; }
  std::string precision() const override { return "fp16"; }
  std::string arithmetic() const override {
    return choose_engine(bundle_, "denoiser", target_).precision;
  }
  std::string device() const override { return device_; }

 private:
  const Bundle& bundle_;
  EngineTarget target_;
  std::string device_;
  Logger logger_;
  std::unique_ptr<nvinfer1::IRuntime> runtime_;
};

}  // namespace

std::unique_ptr<Backend> open_tensorrt(const Bundle& bundle, std::int32_t) {
  return std::make_unique<TensorRtBackend>(bundle);
}

}  // namespace trt_pipeline::internal
