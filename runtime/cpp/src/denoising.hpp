// The loop over the sampler's steps: noise to latents.
#pragma once

#include <functional>
#include <vector>

#include "backends/backend.hpp"
#include "guidance.hpp"
#include "noise.hpp"
#include "samplers/table.hpp"

namespace trt_pipeline::internal {

// The samples that share one call of the denoiser, and what they are denoised towards.
struct Part {
  std::size_t start;  // their place in the whole batch
  std::size_t count;
  Tensor text_kv;  // [M, 77, K], the text that each row sees
  Guidance guidance;
};
using Parts = std::vector<Part>;

// Called before each step with its number, and once after the last with the number of steps.
using OnStep = std::function<void(std::size_t step, std::size_t steps)>;

// Take latents [B, C, h, w] through the steps of a table. Noise is drawn for the whole batch at
// once, so splitting it into parts changes no sample.
// parts: for each step, what covers the batch. time_embeds: [N, E], a row for each step.
Tensor denoise(Graph& denoiser, Tensor latents, const std::vector<const Parts*>& parts,
               const SamplerTable& table, const Tensor& time_embeds, NoiseStream& noise,
               const OnStep& on_step);

}  // namespace trt_pipeline::internal
