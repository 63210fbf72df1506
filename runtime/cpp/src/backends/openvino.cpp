// OpenVINO on the CPU, in float32 arithmetic whatever the precision of the weights, in bfloat16, or
// with 8-bit layers.
#include <algorithm>
#include <openvino/openvino.hpp>

#include "../errors.hpp"
#include "../onnx_files.hpp"
#include "backend.hpp"
#include "openvino_graph.hpp"

namespace trt_pipeline::internal {
namespace {

// One of the backends that OpenVINO gives.
struct Variant {
  std::string name;
  std::string arithmetic;
  // Arithmetic outside the 8-bit layers; without a hint, some CPUs would take bfloat16.
  std::string hint;
};

class OpenVinoBackend : public Backend {
 public:
  OpenVinoBackend(const Bundle& bundle, std::int32_t threads, Variant variant)
      : bundle_(bundle), threads_(threads), variant_(std::move(variant)) {
    core_.set_property("CPU", {ov::hint::performance_mode(ov::hint::PerformanceMode::LATENCY),
                               ov::inference_num_threads(threads)});
  }

  std::unique_ptr<Graph> open(const std::string& graph) override {
    const bool quantized = variant_.arithmetic == "int8" && graph == quantized_graph;
    const std::string source = quantized ? "int8" : precision();
    const GraphSpec& spec = bundle_.graph(graph, source);
    // bfloat16 could not tell the timestep 981 from 980.
    const bool exact = graph == "time_embedding";
    const Options options{{"INFERENCE_PRECISION_HINT", exact ? "f32" : variant_.hint}};
    return open_openvino_graph(core_, onnx_file(bundle_, graph, source), graph, bundle_, spec,
                               options, threads_);
  }

  std::string name() const override { return variant_.name; }
  std::string precision() const override { return "fp32"; }
  std::string arithmetic() const override { return variant_.arithmetic; }
  std::string device() const override { return concat("CPU, ", counted(threads_, "thread")); }

 private:
  const Bundle& bundle_;
  std::int32_t threads_;
  Variant variant_;
  ov::Core core_;
};

bool has_bf16() {
  const auto able = ov::Core().get_property("CPU", ov::device::capabilities);
  return std::find(able.begin(), able.end(), ov::device::capability::BF16) != able.end();
}

bool is_quantized(const Bundle& bundle) {
  const auto found = bundle.manifest.graphs.find(quantized_graph);
  return found != bundle.manifest.graphs.end() && found->second.contains("int8");
}

std::unique_ptr<Backend> open_with(const std::string& name, const std::string& arithmetic,
                                   const Bundle& bundle, std::int32_t threads) {
  try {
    const bool bf16 = arithmetic != "fp32" && has_bf16();
    if (arithmetic == "bf16" && !bf16) {
      throw BackendError(concat("backend ", name,
                                ": this CPU has no bfloat16 arithmetic, as AVX512_BF16 or AMX; "
                                "take backend openvino."));
    }
    if (arithmetic == "int8" && !is_quantized(bundle)) {
      throw BackendError(concat("backend ", name, ": ", bundle.path.string(),
                                " is not quantized: export-all MODEL --out ", bundle.path.string(),
                                " --quantize does it."));
    }
    const Variant variant{name, arithmetic, bf16 ? "bf16" : "f32"};
    return std::make_unique<OpenVinoBackend>(bundle, threads, variant);
  } catch (const ov::Exception& error) {
    throw BackendError(concat("OpenVINO could not be started: ", error.what()));
  }
}

}  // namespace

std::unique_ptr<Backend> open_openvino(const Bundle& bundle, std::int32_t threads) {
  return open_with("openvino", "fp32", bundle, threads);
}

std::unique_ptr<Backend> open_openvino_bf16(const Bundle& bundle, std::int32_t threads) {
  return open_with("openvino_bf16", "bf16", bundle, threads);
}

std::unique_ptr<Backend> open_openvino_int8(const Bundle& bundle, std::int32_t threads) {
  return open_with("openvino_int8", "int8", bundle, threads);
}

}  // namespace trt_pipeline::internal
