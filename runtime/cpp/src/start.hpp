// Start: what denoising begins with, and what its rows see of the pictures that were given.
#pragma once

#include <optional>

#include "first_stage.hpp"
#include "plan.hpp"

namespace trt_pipeline::internal {

struct Start {
  Tensor latents;                     // float32 [B, C, h, w]
  std::optional<KnownLatents> known;  // what denoising must not change
  std::optional<Tensor> condition;    // float32 [B, Cc, h, w], which the denoiser sees
};

// Encodes the pictures of a plan and draws its first noise, in diffusers' order: for what the
// encoder gives of the pictures, then for the latents, then for the pictures without their masks.
Start start_of(const Plan& plan, const ModelSpec& model, FirstStage& first_stage);

}  // namespace trt_pipeline::internal
