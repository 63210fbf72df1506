// What every backend offers, and the check of tensors at its edge.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "../bundle.hpp"
#include "../tensor.hpp"

namespace trt_pipeline::internal {

using Sizes = std::map<std::string, std::size_t>;  // of dimensions, by their names

// One graph, ready to run; safe to share between threads.
class Graph {
 public:
  virtual ~Graph() = default;
  // Begins to compile for inputs of these sizes, if the graph needs that; a run waits for it.
  virtual void prepare(const Sizes&) {}
  // Inputs by name to outputs by name. InvalidInputError for tensors that do not fit, BackendError
  // if running fails.
  virtual Tensors run(const TensorViews& inputs) = 0;
};

constexpr std::size_t remembered = 3;  // earlier m0 in the denoiser's `history`

// What all N steps of the denoiser read, for B samples in M rows.
struct LoopInputs {
  TensorView latents;     // float32 [B, C, h, w]
  TensorViews constants;  // the denoiser's inputs that stay the same
  // Of each of the M rows, [N, E]. One for all of them, unless guidance is embedded.
  std::vector<TensorView> time_embeds;
  TensorView coefficients;          // float32 [N, 8]
  std::optional<TensorView> noise;  // float32 [N, B, C, h, w]; none is zero
  Graph* cached = nullptr;          // takes all but every n-th step, n the interval; null if n is 1
  std::size_t interval = 1;
};

// A graph that can also take all steps without the host.
class LoopGraph : public Graph {
 public:
  using OnObstacle = std::function<void(const std::string& reason)>;
  // Latents [B, C, h, w] after all N steps, the same bits as a run of the graph per step.
  // on_obstacle hears why the loop could not be recorded, once for each loop that could not.
  virtual Tensor denoise(const LoopInputs& inputs, const OnObstacle& on_obstacle) = 0;
};

// Opens the graphs of one bundle.
class Backend {
 public:
  virtual ~Backend() = default;
  // BackendError if the graph can't be opened.
  virtual std::unique_ptr<Graph> open(const std::string& graph) = 0;
  virtual std::string name() const = 0;
  // fp32 or fp16: of the graphs that it runs, of what goes in and comes out.
  virtual std::string precision() const = 0;
  // fp32, fp16, bf16, int8 or fp8: of the denoiser.
  virtual std::string arithmetic() const { return precision(); }
  // What runs the graphs, in words.
  virtual std::string device() const = 0;
};

struct Choice {
  std::unique_ptr<Backend> backend;
  std::string reason;
};

// Open the named backend, or the best that this library was built with if the name is empty.
// threads: for arithmetic on the CPU; 0 is every CPU this process may use.
// InvalidInputError for an unknown name, MissingBackendError for one that was left out.
Choice open_backend(const Bundle& bundle, const std::string& name, std::int32_t threads);

// Names of the backends in this library, separated by spaces; the first is taken by default.
const char* backend_names();

// The bundle outlives the backend.
std::unique_ptr<Backend> open_openvino(const Bundle& bundle, std::int32_t threads);
std::unique_ptr<Backend> open_openvino_bf16(const Bundle& bundle, std::int32_t threads);
std::unique_ptr<Backend> open_openvino_int8(const Bundle& bundle, std::int32_t threads);
std::unique_ptr<Backend> open_onnxruntime(const Bundle& bundle, std::int32_t threads);
std::unique_ptr<Backend> open_tensorrt(const Bundle& bundle, std::int32_t threads);

// Checks a graph's inputs against its signature and the bundle's limits.
class TensorCheck {
 public:
  TensorCheck(std::string graph, const std::vector<TensorSpec>& inputs, const Bundle& bundle);
  // InvalidInputError naming the tensor, what it is and what was expected.
  void operator()(const TensorViews& inputs) const;

 private:
  void check(const TensorSpec& spec, const TensorView& tensor, Sizes& sizes) const;
  void check_range(const std::string& where, const Dim& dim, std::size_t size) const;

  std::string graph_;
  std::vector<TensorSpec> inputs_;
  std::map<std::string, Range> ranges_;  // dimension name → lowest and highest size
};

}  // namespace trt_pipeline::internal
