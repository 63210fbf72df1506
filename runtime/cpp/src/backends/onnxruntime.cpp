// ONNX Runtime on the CPU, in float32 arithmetic whatever the precision of the weights.
#include <onnxruntime_c_api.h>
#include <unistd.h>

#include <algorithm>
#include <future>
#include <iterator>
#include <list>

#include "../errors.hpp"
#include "../onnx_files.hpp"
#include "backend.hpp"
#include "row_parts.hpp"

namespace trt_pipeline::internal {
namespace {

// Weights of a graph above which a step runs as a whole, and half-precision ones stay as they are
// stored: the file's own pages, which every run widens again. Folding constants would widen them
// when the graph is opened, and the arena would keep what was widened.
constexpr std::int64_t max_small_bytes = 256 << 20;

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

std::string failed(const std::string& graph) {
  return graph + ": ONNX Runtime failed";
}

// One run of a session. What goes in stays the caller's, who keeps it until the run has ended.
class Run {
 public:
  Run(const std::string& graph, const TensorViews& inputs, const std::vector<TensorSpec>& outputs,
      const OrtMemoryInfo* memory)
      : graph_(graph), specs_(outputs), made_(outputs.size()) {
    for (const auto& [name, view] : inputs) {
      input_names_.push_back(name.c_str());
      inputs_.push_back(wrapped(view, memory));
      given_.push_back(inputs_.back().get());
    }
    for (const TensorSpec& spec : outputs) output_names_.push_back(spec.name.c_str());
  }
  Run(const Run&) = delete;
  Run& operator=(const Run&) = delete;
  ~Run() {
    if (ended_.valid()) api().ReleaseStatus(ended_.get());
    for (OrtValue* value : made_) api().ReleaseValue(value);
  }

  void here(OrtSession* session) {
    check(api().Run(session, nullptr, input_names_.data(), given_.data(), given_.size(),
                    output_names_.data(), made_.size(), made_.data()),
          failed(graph_));
  }

  // On one of the session's own threads, of which it must have some.
  void start(OrtSession* session) {
    auto end = std::make_unique<End>();
    auto ended = end->get_future();
    check(api().RunAsync(session, nullptr, input_names_.data(), given_.data(), given_.size(),
                         output_names_.data(), made_.size(), made_.data(), at_end, end.get()),
          failed(graph_));
    end.release();  // at_end's now
    ended_ = std::move(ended);
  }

  // Waits for the run, if it was started.
  Tensors outputs() {
    if (ended_.valid()) check(ended_.get(), failed(graph_));
    Tensors outputs;
    for (std::size_t i = 0; i < made_.size(); ++i) {
      outputs.emplace(specs_[i].name, tensor_of(made_[i], specs_[i]));
    }
    return outputs;
  }

 private:
  using End = std::promise<OrtStatus*>;

  static void at_end(void* end, OrtValue**, std::size_t, OrtStatus* status) {
    std::unique_ptr<End>(static_cast<End*>(end))->set_value(status);
  }

  // ONNX Runtime only reads inputs, though it takes them as mutable.
  Value wrapped(const TensorView& view, const OrtMemoryInfo* memory) const {
    const std::vector<std::int64_t> shape(view.shape.begin(), view.shape.end());
    OrtValue* value = nullptr;
    check(api().CreateTensorWithDataAsOrtValue(memory, const_cast<void*>(view.data), view.bytes(),
                                               shape.data(), shape.size(), onnx_type(view.dtype),
                                               &value),
          failed(graph_));
    return Value(value);
  }

  Tensor tensor_of(OrtValue* value, const TensorSpec& spec) const {
    OrtTensorTypeAndShapeInfo* raw = nullptr;
    check(api().GetTensorTypeAndShape(value, &raw), failed(graph_));
    const TypeInfo info(raw);
    ONNXTensorElementDataType type{};
    check(api().GetTensorElementType(info.get(), &type), failed(graph_));
    if (type != onnx_type(spec.dtype)) {
      throw BackendError(concat(graph_, ": ", spec.name, " is not ", name_of(spec.dtype),
                                " as the manifest says. Export the checkpoint again."));
    }
    std::size_t rank = 0;
    check(api().GetDimensionsCount(info.get(), &rank), failed(graph_));
    std::vector<std::int64_t> shape(rank);
    check(api().GetDimensions(info.get(), shape.data(), rank), failed(graph_));
    void* data = nullptr;
    check(api().GetTensorMutableData(value, &data), failed(graph_));
    return copied(TensorView(spec.dtype, Shape(shape.begin(), shape.end()), data));
  }

  const std::string& graph_;
  const std::vector<TensorSpec>& specs_;
  std::vector<const char*> input_names_, output_names_;
  std::vector<Value> inputs_;
  std::vector<const OrtValue*> given_;
  std::vector<OrtValue*> made_;
  std::future<OrtStatus*> ended_;  // not valid if the run was not started, or was waited for
};

class OnnxRuntimeGraph : public Graph {
 public:
  // threads: that share a step in parts; 0 if it runs as a whole.
  OnnxRuntimeGraph(OrtEnv* environment, const OrtSessionOptions* options,
                   const std::filesystem::path& path, std::string name, const Bundle& bundle,
                   const GraphSpec& spec, std::size_t threads)
      : name_(std::move(name)),
        spec_(spec),
        threads_(threads),
        check_inputs_(name_, spec.inputs, bundle) {
    OrtSession* session = nullptr;
    check(api().CreateSession(environment, path.c_str(), options, &session),
          path.string() + " could not be opened");
    session_.reset(session);
    OrtMemoryInfo* memory = nullptr;
    check(api().CreateCpuMemoryInfo(OrtArenaAllocator, OrtMemTypeDefault, &memory), failed(name_));
    memory_.reset(memory);
  }

  Tensors run(const TensorViews& inputs) override {
    check_inputs_(inputs);
    const auto rows = inputs.find("rows");
    if (!threads_ || rows == inputs.end()) return run_parts({inputs}).front();
    // The session's threads are not in a process that forked since; its own does all.
    const std::size_t threads = getpid() == process_ ? threads_ : 1;
    const auto parts = row_parts(inputs, part_count(rows->second.shape[0], threads));
    const Tensors constants = prediction_inputs(parts.front().inputs().at("latents").shape);
    std::vector<TensorViews> given;
    for (const RowPart& part : parts) {
      given.emplace_back(constants.begin(), constants.end())
          .insert(part.inputs().begin(), part.inputs().end());
    }
    const std::vector<Tensors> made = run_parts(given);
    std::vector<TensorViews> predictions;
    for (const Tensors& part : made) predictions.emplace_back(part.begin(), part.end());
    return step_of(inputs, predictions);
  }

 private:
  // The outputs of each, run at the same time: the first here, others on the session's threads.
  std::vector<Tensors> run_parts(const std::vector<TensorViews>& parts) {
    std::list<Run> runs;
    for (const TensorViews& part : parts) {
      runs.emplace_back(name_, part, spec_.outputs, memory_.get());
    }
    for (auto run = std::next(runs.begin()); run != runs.end(); ++run) run->start(session_.get());
    runs.front().here(session_.get());
    std::vector<Tensors> outputs;
    for (Run& run : runs) outputs.push_back(run.outputs());
    return outputs;
  }

  std::string name_;
  GraphSpec spec_;
  std::size_t threads_;
  pid_t process_ = getpid();
  TensorCheck check_inputs_;
  Session session_;
  MemoryInfo memory_;
};

class OnnxRuntimeBackend : public Backend {
 public:
  OnnxRuntimeBackend(const Bundle& bundle, std::int32_t threads)
      : bundle_(bundle), threads_(threads) {
    const std::string refusal = "ONNX Runtime could not be started";
    OrtEnv* environment = nullptr;
    // Errors only; warnings are about the exporter's graph.
    check(api().CreateEnv(ORT_LOGGING_LEVEL_ERROR, "trt_pipeline", &environment), refusal);
    environment_.reset(environment);
  }

  std::unique_ptr<Graph> open(const std::string& graph) override {
    const GraphSpec& spec = bundle_.graph(graph, precision());
    const SessionOptions options = options_for(graph);
    // Each part of a step would read all weights.
    const std::size_t threads = is_large(spec) ? 0 : static_cast<std::size_t>(threads_);
    return std::make_unique<OnnxRuntimeGraph>(environment_.get(), options.get(),
                                              onnx_file(bundle_, graph, precision()), graph,
                                              bundle_, spec, threads);
  }

  std::string name() const override { return "onnxruntime"; }
  std::string precision() const override { return "fp32"; }
  std::string device() const override { return concat("CPU, ", counted(threads_, "thread")); }

 private:
  SessionOptions options_for(const std::string& graph) const {
    const std::string refusal = "ONNX Runtime took no options";
    OrtSessionOptions* raw = nullptr;
    check(api().CreateSessionOptions(&raw), refusal);
    SessionOptions options(raw);
    check(api().SetIntraOpNumThreads(raw, threads_), refusal);
    // A session's idle threads would keep the CPUs busy for some 30 ms, while the next one runs.
    check(api().AddSessionConfigEntry(raw, "session.force_spinning_stop", "1"), refusal);
    if (stays_half(graph)) {
      check(api().SetSessionGraphOptimizationLevel(raw, ORT_DISABLE_ALL), refusal);
    }
    const bool large = std::ranges::any_of(
        bundle_.manifest.graphs, [&](const auto& one) { return stays_half(one.first); });
    if (large) check(api().DisableCpuMemArena(raw), refusal);
    return options;
  }

  bool stays_half(const std::string& graph) const {
    return bundle_.manifest.graphs.at(graph).contains("fp16") &&
           is_large(bundle_.graph(graph, precision()));
  }

  bool is_large(const GraphSpec& spec) const {
    return bundle_.manifest.files.at(spec.weights).size > max_small_bytes;
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
