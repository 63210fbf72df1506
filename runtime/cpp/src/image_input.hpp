// The pictures that a call begins with, as its caller gives them.
#pragma once

#include <cstdint>
#include <optional>

#include "inpainting.hpp"

namespace trt_pipeline::internal {

// Pictures that the caller owns, all of one size.
struct GivenImage {
  const std::uint8_t* pixels = nullptr;  // RGB [count, height, width, 3]; null if there is none
  std::size_t count = 0;                 // one for all pictures of the call, or one a picture
  std::int32_t height = 0, width = 0;
  const std::uint8_t* mask = nullptr;  // [mask_count, height, width]; null if there is none
  std::size_t mask_count = 0;
  std::optional<double> strength;
};

// InvalidInputError unless an argument has one entry for all pictures, or one for each.
void check_entries(const char* name, std::size_t entries, std::size_t pictures);

// InvalidInputError unless the given pictures and masks are enough for `pictures`, and nothing is
// given without an image.
void check_image(const GivenImage& given, std::size_t pictures);

// How many of the steps the image makes superfluous, as diffusers counts them; 0 without one.
// InvalidInputError for a strength outside 0..1 or one that leaves no step.
std::size_t first_step(const GivenImage& given, std::int64_t num_inference_steps);

// One of the given pictures for each of the call's; none without an image.
std::optional<ImageInput> image_input(const GivenImage& given, std::size_t pictures);

}  // namespace trt_pipeline::internal
