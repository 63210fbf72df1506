// Plan: one call's settings, checked against a bundle, before any graph runs.
#pragma once

#include <array>
#include <memory>
#include <optional>
#include <vector>

#include "capabilities.hpp"
#include "denoising.hpp"
#include "image_input.hpp"
#include "prompts.hpp"

namespace trt_pipeline::internal {

// What joins the time embedding where sizes do: of the original, of the crop's corner and of the
// target, each its height or top and then its width or left.
using TimeIds = std::array<float, 6>;

// B pictures, ready to be made.
struct Plan {
  trt_pipeline_settings settings;  // complete; its pointers are the caller's
  Shape shape;                     // of the latents, [B, C, h, w]
  SamplerTable table;
  std::vector<bool> guided;            // whether each step is
  Prompts prompts;                     // empty for a model without prompts
  std::vector<GuidanceScales> scales;  // one a picture
  std::unique_ptr<NoiseStream> noise;
  std::vector<std::uint64_t> seeds;      // empty if torch's generator gives the noise
  std::optional<ImageInput> image;       // to begin with, or to change
  std::optional<Tensor> low_resolution;  // float32 [K, 3, h, w], to enlarge
  bool from_noise;                       // whether denoising begins with nothing but noise
  bool shares_draws;              // whether the pictures of an image share the noise of its latents
  bool seamless;                  // whether given pixels are pasted over the painted ones
  std::optional<Tensor> latents;  // the starting noise, if it was given
  std::size_t tile;               // side of the decoder's tiles in latents; 0 decodes at once
  TimeIds time_ids;
  bool tiny;  // whether the tiny decoder makes the pixels

  std::size_t count() const { return shape[0]; }
  bool masked() const { return image && !image->repainted.empty(); }
  bool decodes() const { return settings.output == TRT_PIPELINE_OUTPUT_PIXELS; }
};

// InvalidInputError names the setting, its value and what is allowed. The plan lasts no longer than
// the bundle and what the settings point to.
// warn: hears of texts that are cut.
Plan checked(const Bundle& bundle, const Tokenizers& tokenizers, const trt_pipeline_settings& given,
             const Warn& warn);

}  // namespace trt_pipeline::internal
