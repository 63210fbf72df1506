#include "tensorrt_loop.hpp"

namespace trt_pipeline::internal {

TensorRtLoop::TensorRtLoop(nvinfer1::ICudaEngine& engine, nvinfer1::ICudaEngine* cached,
                           Logger& logger, std::string name, const LoopInputs& inputs,
                           const std::optional<TensorView>& features)
    : logger_(logger),
      name_(std::move(name)),
      plan_(inputs, features),
      draws_noise_(inputs.noise.has_value()),
      interval_(inputs.interval),
      shapes_(step_shapes(inputs)),
      stream_(make_stream()),
      block_(allocate(plan_.size())),
      whole_(make_context(engine, shapes_)) {
  if (!cached) return;
  Shapes shapes = shapes_;
  if (features) shapes["features"] = features->shape;
  cached_ = make_context(*cached, shapes);
}

TensorRtLoop::Context TensorRtLoop::make_context(nvinfer1::ICudaEngine& engine,
                                                 const Shapes& shapes) const {
  Context context(engine.createExecutionContext());
  require(context != nullptr, "no execution context");
  for (const auto& [input, shape] : shapes) {
    require(context->setInputShape(input.c_str(), dims_of(shape)),
            concat(input, " of shape ", describe(shape), " is outside the engine's profile"));
  }
  return context;
}

bool TensorRtLoop::fits(const LoopInputs& inputs) const {
  return plan_.steps() == inputs.coefficients.shape[0] &&
         draws_noise_ == inputs.noise.has_value() && interval_ == inputs.interval &&
         shapes_ == step_shapes(inputs);
}

Tensor TensorRtLoop::run(const LoopInputs& inputs, const LoopGraph::OnObstacle& on_obstacle) {
  const std::vector<std::byte> rows = plan_.pack_rows(inputs);
  check(cudaMemcpyAsync(at(plan_.rows_offset()), rows.data(), rows.size(), cudaMemcpyHostToDevice,
                        stream_.get()));
  upload(inputs);
  if (recording_) {
    check(cudaGraphLaunch(recording_.get(), stream_.get()));
  } else {
    enqueue_steps();
  }
  Tensor latents(DType::float32, inputs.latents.shape);
  check(cudaMemcpyAsync(latents.bytes.data(), at(plan_.latents_offset(plan_.steps())),
                        latents.bytes.size(), cudaMemcpyDeviceToHost, stream_.get()));
  check(cudaStreamSynchronize(stream_.get()));
  if (!tried_) record_steps(on_obstacle);
  return latents;
}

void TensorRtLoop::require(bool fine, const std::string& what) const {
  if (!fine) throw BackendError(concat(name_, ": ", what, " (", logger_.last(), ")."));
}

std::byte* TensorRtLoop::at(std::size_t offset) const {
  return static_cast<std::byte*>(block_.get()) + offset;
}

// Constants, and a first state whose history is zero.
void TensorRtLoop::upload(const LoopInputs& inputs) {
  const Offsets& offsets = plan_.constants().offsets;
  if (!draws_noise_) {
    check(cudaMemsetAsync(at(offsets.at("noise")), 0, inputs.latents.bytes(), stream_.get()));
  }
  for (const auto& [name, view] : inputs.constants) {
    check(cudaMemcpyAsync(at(offsets.at(name)), view.data, view.bytes(), cudaMemcpyHostToDevice,
                          stream_.get()));
  }
  check(cudaMemsetAsync(at(plan_.start_offset()), 0, plan_.state_size(), stream_.get()));
  check(cudaMemcpyAsync(at(plan_.latents_offset(0)), inputs.latents.data, inputs.latents.bytes(),
                        cudaMemcpyHostToDevice, stream_.get()));
}

void TensorRtLoop::enqueue_steps() {
  for (std::size_t step = 0; step < plan_.steps(); ++step) {
    auto& context = step % interval_ ? *cached_ : *whole_;
    for (const auto& [tensor, offset] : plan_.bindings(step)) {
      require(context.setTensorAddress(tensor.c_str(), at(offset)), tensor + " could not be bound");
    }
    require(context.enqueueV3(stream_.get()), "TensorRT failed");
  }
}

// Once; a loop that cannot be recorded goes on being enqueued step by step.
void TensorRtLoop::record_steps(const LoopGraph::OnObstacle& on_obstacle) {
  tried_ = true;
  try {
    recording_ = record(stream_.get(), name_, [&] { enqueue_steps(); });
  } catch (const BackendError& error) {
    on_obstacle(error.what());
  }
}

}  // namespace trt_pipeline::internal
