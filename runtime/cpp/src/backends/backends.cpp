#include <sched.h>

#include "../arguments.hpp"
#include "../errors.hpp"
#include "backend.hpp"

namespace trt_pipeline::internal {
namespace {

struct Known {
  const char* name;
  std::unique_ptr<Backend> (*open)(const Bundle&, std::int32_t);  // null if it was left out
  const char* option;
};

// In the order in which they are chosen, the Python package's. The last has to be asked for.
constexpr Known backends[] = {
#ifdef TRT_PIPELINE_TENSORRT
    {"tensorrt", open_tensorrt, "TRT_PIPELINE_TENSORRT"},
#else
    {"tensorrt", nullptr, "TRT_PIPELINE_TENSORRT"},
#endif
#ifdef TRT_PIPELINE_TENSORRT_RTX
    {"tensorrt_rtx", open_tensorrt, "TRT_PIPELINE_TENSORRT_RTX"},
#else
    {"tensorrt_rtx", nullptr, "TRT_PIPELINE_TENSORRT_RTX"},
#endif
#ifdef TRT_PIPELINE_OPENVINO
    {"openvino", open_openvino, "TRT_PIPELINE_OPENVINO"},
#else
    {"openvino", nullptr, "TRT_PIPELINE_OPENVINO"},
#endif
#ifdef TRT_PIPELINE_ONNXRUNTIME
    {"onnxruntime", open_onnxruntime, "TRT_PIPELINE_ONNXRUNTIME"},
#else
    {"onnxruntime", nullptr, "TRT_PIPELINE_ONNXRUNTIME"},
#endif
#ifdef TRT_PIPELINE_OPENVINO
    {"openvino_bf16", open_openvino_bf16, "TRT_PIPELINE_OPENVINO"},
    {"openvino_int8", open_openvino_int8, "TRT_PIPELINE_OPENVINO"},
#else
    {"openvino_bf16", nullptr, "TRT_PIPELINE_OPENVINO"},
    {"openvino_int8", nullptr, "TRT_PIPELINE_OPENVINO"},
#endif
};

std::int32_t usable_cpus() {
  cpu_set_t set;
  return sched_getaffinity(0, sizeof(set), &set) == 0 ? CPU_COUNT(&set) : 1;
}

std::string names(bool built_in_only, const char* separator) {
  std::string text;
  for (const Known& known : backends) {
    if (known.open || !built_in_only) enlist(text, known.name, separator);
  }
  return text;
}

const Known& choose(const std::string& name) {
  for (const Known& known : backends) {
    if (!name.empty() && name != known.name) continue;
    if (known.open) return known;
    if (!name.empty()) {
      throw MissingBackendError(concat("backend ", name, " was left out of this library. Build it ",
                                       "with -D", known.option, "=ON."));
    }
  }
  if (name.empty()) throw MissingBackendError("this library was built without any backend.");
  throw InvalidInputError(
      concat("backend '", name, "' is unknown; choose one of ", names(false, ", "), "."));
}

}  // namespace

const char* backend_names() {
  static const std::string text = names(true, " ");
  return text.c_str();
}

Choice open_backend(const Bundle& bundle, const std::string& name, std::int32_t threads) {
  const Known& known = choose(name);
  if (threads) checked_integer("threads", threads, 1, 1024);
  return {known.open(bundle, threads ? threads : usable_cpus()),
          name.empty() ? "the best that this library was built with" : "as asked for"};
}

}  // namespace trt_pipeline::internal
