// ONNX Runtime on the CPU, in float32 arithmetic whatever the precision of the weights.
#include <onnxruntime_c_api.h>

#include <algorithm>

#include "../errors.hpp"
#include "../onnx_files.hpp"
#include "backend.hpp"

namespace trt_pipeline::internal {
namespace {

// Half-precision weights of a graph above which they stay as they are stored: the file's own pages,
// which every run widens anew. Folding constants would widen them when the graph is opened, and the
// arena would keep what was widened.
constexpr std::int64_t max_widened_bytes = 256 << 20;

const OrtApi& api() {
  static const OrtApi* const functions = OrtGetApiBase()->GetApi(ORT_API_VERSION);
  if (!functions) {
    throw BackendError(concat("ONNX Runtime ", OrtGetApiBase()->GetVersionString(),
                              " is older than the headers this library was built with, API ",
                              ORT_API_VERSION, ". Install a newer one."));
  }
  return *functions;
}

// BackendError with ONNX Runtime's message, unless the status is fine.
void check(OrtStatus* status, const std::string& what) {
  if (!status) return;
  const std::string message = api().GetErrorMessage(status);
  api().ReleaseStatus(status);
  throw BackendError(concat(what, ": ", message));
}

// Owns a handle of ONNX Runtime.
template <class T, void (ORT_API_CALL* OrtApi::*Release)(T*)>
struct Releaser {
  void operator()(T* handle) const { (api().*Release)(handle); }
};
using Environment = std::unique_ptr<OrtEnv, Releaser<OrtEnv, &OrtApi::ReleaseEnv>>;
using SessionOptions =
    std::unique_ptr<OrtSessionOptions, Releaser<OrtSessionOptions, &OrtApi::ReleaseSessionOptions>>;
using Session = std::unique_ptr<OrtSession, Releaser<OrtSession, &OrtApi::ReleaseSession>>;
using MemoryInfo =
    std::unique_ptr<OrtMemoryInfo, Releaser<OrtMemoryInfo, &OrtApi::ReleaseMemoryInfo>>;
using Value = std::unique_ptr<OrtValue, Releaser<OrtValue, &OrtApi::ReleaseValue>>;
using TypeInfo =
    std::unique_ptr<OrtTensorTypeAndShapeInfo,
                    Releaser<OrtTensorTypeAndShapeInfo, &OrtApi::ReleaseTensorTypeAndShapeInfo>>;

ONNXTensorElementDataType onnx_type(DType dtype) {
  switch (dtype) {
    case DType::float32:
      return ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT;
    case DType::float16:
      return ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT16;
    case DType::int32:
      return ONNX_TENSOR_ELEMENT_DATA_TYPE_INT32;
    case DType::uint8:
      return ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT8;
  }
  return ONNX_TENSOR_ELEMENT_DATA_TYPE_UNDEFINED;
}

class OnnxRuntimeGraph : public Graph {
 public:
  OnnxRuntimeGraph(OrtEnv* environment, const OrtSessionOptions* options,
                   const std::filesystem::path& path, std::string name, const Bundle& bundle,
                   const GraphSpec& spec)
      : name_(std::move(name)), spec_(spec), check_inputs_(name_, spec.inputs, bundle) {
    OrtSession* session = nullptr;
    check(api().CreateSession(environment, path.c_str(), options, &session),
          path.string() + " could not be opened");
    session_.reset(session);
    OrtMemoryInfo* memory = nullptr;
    check(api().CreateCpuMemoryInfo(OrtArenaAllocator, OrtMemTypeDefault, &memory), failed());
    memory_.reset(memory);
  }

  Tensors run(const TensorViews& inputs) override {
    check_inputs_(inputs);
    std::vector<const char*> input_names, output_names;
    std::vector<Value> values;
    std::vector<const OrtValue*> given;
    for (const auto& [name, view] : inputs) {
      input_names.push_back(name.c_str());
      values.push_back(wrapped(view));
      given.push_back(values.back().get());
    }
    for (const TensorSpec& spec : spec_.outputs) output_names.push_back(spec.name.c_str());
    std::vector<OrtValue*> made(output_names.size());
    OrtStatus* const status =
        api().Run(session_.get(), nullptr, input_names.data(), given.data(), given.size(),
                  output_names.data(), made.size(), made.data());
    std::vector<Value> owned;
    for (OrtValue* value : made) owned.emplace_back(value);
    check(status, failed());
    Tensors outputs;
    for (std::size_t i = 0; i < owned.size(); ++i) {
      outputs.emplace(spec_.outputs[i].name, copied(owned[i].get(), spec_.outputs[i]));
    }
    return outputs;
  }

 private:
  std::string failed() const { return name_ + ": ONNX Runtime failed"; }

  // ONNX Runtime only reads inputs, though it takes them as mutable.
  Value wrapped(const TensorView& view) const {
    const std::vector<std::int64_t> shape(view.shape.begin(), view.shape.end());
    OrtValue* value = nullptr;
    check(api().CreateTensorWithDataAsOrtValue(memory_.get(), const_cast<void*>(view.data),
                                               view.bytes(), shape.data(), shape.size(),
                                               onnx_type(view.dtype), &value),
          failed());
    return Value(value);
  }

  Tensor copied(OrtValue* value, const TensorSpec& spec) const {
    OrtTensorTypeAndShapeInfo* raw = nullptr;
    check(api().GetTensorTypeAndShape(value, &raw), failed());
    const TypeInfo info(raw);
    ONNXTensorElementDataType type{};
    check(api().GetTensorElementType(info.get(), &type), failed());
    if (type != onnx_type(spec.dtype)) {
      throw BackendError(concat(name_, ": ", spec.name, " is not ", name_of(spec.dtype),
                                " as the manifest says. Export the checkpoint again."));
    }
    std::size_t rank = 0;
    check(api().GetDimensionsCount(info.get(), &rank), failed());
    std::vector<std::int64_t> shape(rank);
    check(api().GetDimensions(info.get(), shape.data(), rank), failed());
    Tensor tensor(spec.dtype, Shape(shape.begin(), shape.end()));
    void* data = nullptr;
    check(api().GetTensorMutableData(value, &data), failed());
    std::copy_n(static_cast<const std::byte*>(data), tensor.bytes.size(), tensor.bytes.data());
    return tensor;
  }

  std::string name_;
  GraphSpec spec_;
  TensorCheck check_inputs_;
  Session session_;
  MemoryInfo memory_;
};

class OnnxRuntimeBackend : public Backend {
 public:
  OnnxRuntimeBackend(const Bundle& bundle, std::int32_t threads)
      : bundle_(bundle), threads_(threads) {
    const std::string failed = "ONNX Runtime could not be started";
    OrtEnv* environment = nullptr;
    // Errors only; warnings are about the exporter's graph.
    check(api().CreateEnv(ORT_LOGGING_LEVEL_ERROR, "trt_pipeline", &environment), failed);
    environment_.reset(environment);
  }

  std::unique_ptr<Graph> open(const std::string& graph) override {
    const GraphSpec& spec = bundle_.graph(graph, precision());
    return std::make_unique<OnnxRuntimeGraph>(environment_.get(), options_for(spec).get(),
                                              onnx_file(bundle_, graph, precision()), graph,
                                              bundle_, spec);
  }

  std::string name() const override { return "onnxruntime"; }
  std::string precision() const override { return "fp32"; }
  std::string device() const override { return concat("CPU, ", threads_, " threads"); }

 private:
  SessionOptions options_for(const GraphSpec& spec) const {
    const std::string failed = "ONNX Runtime took no options";
    OrtSessionOptions* raw = nullptr;
    check(api().CreateSessionOptions(&raw), failed);
    SessionOptions options(raw);
    check(api().SetIntraOpNumThreads(raw, threads_), failed);
    if (stays_half(spec)) {
      check(api().SetSessionGraphOptimizationLevel(raw, ORT_DISABLE_ALL), failed);
    }
    const bool large = std::ranges::any_of(bundle_.manifest.graphs, [&](const auto& graph) {
      return stays_half(bundle_.graph(graph.first, precision()));
    });
    if (large) check(api().DisableCpuMemArena(raw), failed);
    return options;
  }

  bool stays_half(const GraphSpec& spec) const {
    const Manifest& manifest = bundle_.manifest;
    return manifest.precision == "fp16" && manifest.files.at(spec.weights).size > max_widened_bytes;
  }

  const Bundle& bundle_;
  std::int32_t threads_;
  Environment environment_;
};

}  // namespace

std::unique_ptr<Backend> open_onnxruntime(const Bundle& bundle, std::int32_t threads) {
  return std::make_unique<OnnxRuntimeBackend>(bundle, threads);
}

}  // namespace trt_pipeline::internal
