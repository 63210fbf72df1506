// Plan: one call's settings, checked against a bundle, before any graph runs.
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "capabilities.hpp"
#include "denoising.hpp"
#include "image_input.hpp"
#include "prompts.hpp"

namespace trt_pipeline::internal {

// B pictures, ready to be made.
struct Plan {
  trt_pipeline_settings settings;  // complete; its pointers are the caller's
  Shape shape;                     // of the latents, [B, C, h, w]
  SamplerTable table;
  std::vector<bool> guided;    // whether each step is
  Prompts prompts;             // empty for a model without prompts
  std::vector<double> scales;  // of guidance, one a picture
  std::unique_ptr<NoiseStream> noise;
  std::vector<std::uint64_t> seeds;  // empty if torch's generator gives the noise
  std::optional<ImageInput> image;   // to begin with
  bool from_noise;                   // whether denoising begins with nothing but noise
  std::optional<Tensor> latents;     // the starting noise, if it was given
  std::optional<Tensor> condition;   // float32 [B, Cc, h, w], which the denoiser sees
  std::size_t tile;                  // side of the decoder's tiles in latents; 0 decodes at once
  Listeners listeners;

  std::size_t count() const { return shape[0]; }
  bool decodes() const { return settings.output == TRT_PIPELINE_OUTPUT_PIXELS; }
};

// InvalidInputError names the setting, its value and what is allowed. The plan lasts no longer than
// the bundle and what the settings point to.
// tokenizer: null for a model without prompts. warn: hears of texts that are cut.
Plan checked(const Bundle& bundle, const Tokenizer* tokenizer, const trt_pipeline_settings& given,
             const Warn& warn);

}  // namespace trt_pipeline::internal
