// The denoising loop on the GPU, without a word from the host between its steps.
#pragma once

#include <memory>
#include <string>

#include "cuda.hpp"
#include "loop_plan.hpp"
#include "tensorrt_types.hpp"

namespace trt_pipeline::internal {

// All steps of one plan, on contexts, a stream and a block of its own. Each step is bound to its
// own rows, and all become one CUDA graph after the first run, in which TensorRT may allocate.
class TensorRtLoop {
 public:
  // BackendError for shapes outside the engine's profile, or without memory on the GPU.
  // cached: the engine of the steps between, if the inputs have an interval.
  TensorRtLoop(nvinfer1::ICudaEngine& engine, nvinfer1::ICudaEngine* cached, Logger& logger,
               std::string name, const LoopInputs& inputs,
               const std::optional<TensorView>& features);

  // Whether it is of these steps and shapes.
  bool fits(const LoopInputs& inputs) const;
  // Latents [B, C, h, w] after all steps. The loop is of no further use if this throws.
  Tensor run(const LoopInputs& inputs, const LoopGraph::OnObstacle& on_obstacle);

 private:
  using Context = std::unique_ptr<nvinfer1::IExecutionContext>;
  using Shapes = std::map<std::string, Shape, std::less<>>;

  Context make_context(nvinfer1::ICudaEngine& engine, const Shapes& shapes) const;
  void require(bool fine, const std::string& what) const;
  void check(cudaError_t status) const { check_cuda(status, name_); }
  std::byte* at(std::size_t offset) const;
  void upload(const LoopInputs& inputs);
  void enqueue_steps();
  void record_steps(const LoopGraph::OnObstacle& on_obstacle);

  Logger& logger_;
  std::string name_;
  LoopPlan plan_;
  bool draws_noise_;
  std::size_t interval_;
  Shapes shapes_;
  CudaStream stream_;
  CudaMemory block_;
  Context whole_, cached_;
  bool tried_ = false;  // to record
  CudaGraphExec recording_;
};

}  // namespace trt_pipeline::internal
