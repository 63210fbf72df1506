// The loop over the sampler's steps: noise to latents.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "backends/backend.hpp"
#include "inpainting.hpp"
#include "noise.hpp"
#include "samplers/table.hpp"

namespace trt_pipeline::internal {

// The samples that share one call of the denoiser, and what its M rows see.
struct Part {
  std::size_t start;  // their place in the whole batch
  std::size_t count;
  Tensors constants;  // inputs that stay the same over the steps, such as context_kv [M, K]
  std::vector<std::shared_ptr<const Tensor>> time_embeds;  // of each row, [N, E]
};
// What covers the batch. Steps in which a part sees the same rows share it.
using Parts = std::vector<std::shared_ptr<const Part>>;

// Called before each step with its number, and once after the last with the number of steps.
using OnStep = std::function<void(std::size_t step, std::size_t steps)>;

// One finished step, whose latents [B, C, h, w] may be changed.
struct Step {
  std::size_t index, steps;
  float timestep;
  Tensor& latents;
};
using OnStepEnd = std::function<void(const Step&)>;

// What a caller hears and changes while the steps run.
struct Listeners {
  OnStep before;
  OnStepEnd after;  // empty if nobody looks at the latents
};

// InvalidInputError unless all latents are finite.
void check_finite(const Tensor& latents);

// The graphs that take a step. The whole denoiser runs in every n-th step, n the interval, and
// where other rows begin; the steps between take the features that it gave, and run the ends of the
// network only: DeepCache, arXiv:2312.00858.
struct Denoisers {
  Graph& whole;
  Graph* cached = nullptr;  // null where the interval is 1
  std::size_t interval = 1;
};

// Take latents [B, C, h, w] through the steps of a table. Noise is drawn for the whole batch at
// once, so splitting it into parts changes no sample.
// parts: for each step, what covers the batch, split alike. known: what every step puts back, if
// any.
Tensor denoise(const Denoisers& denoisers, Tensor latents, const std::vector<const Parts*>& parts,
               const SamplerTable& table, NoiseStream& noise,
               const std::optional<KnownLatents>& known, const Listeners& listeners);

// The same latents, without looking at any in between. parts: what covers the batch, in every step.
// before: hears of the first step, and of the others once all are done. denoisers.whole is a
// LoopGraph.
Tensor denoise_at_once(const Denoisers& denoisers, Tensor latents, const Parts& parts,
                       const SamplerTable& table, NoiseStream& noise, const OnStep& before,
                       const LoopGraph::OnObstacle& on_obstacle);

}  // namespace trt_pipeline::internal
