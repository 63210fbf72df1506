// The pictures that a call begins with or enlarges, as its caller gives them.
#pragma once

#include <cstdint>

#include "inpainting.hpp"
#include "trt_pipeline.h"

namespace trt_pipeline::internal {

// InvalidInputError unless the given pictures and masks have a size and are one for all, one a
// prompt or one a picture, and nothing is given without an image.
// enlarged: whether the model enlarges the pictures, whose sides must then be multiples of 32, to
// which diffusers would resize them.
void check_image(const trt_pipeline_settings& settings, std::size_t pictures, bool enlarged);

// How many of the steps the image makes superfluous, as diffusers counts them; 0 without one.
// InvalidInputError for a strength that leaves no step.
std::size_t first_step(const trt_pipeline_settings& settings);

// One of the given pictures for each of the call's.
ImageInput image_input(const trt_pipeline_settings& settings, std::size_t pictures);

// float32 [B, 3, h, w] in -1..1: the picture that each of the call's enlarges.
Tensor low_resolution(const trt_pipeline_settings& settings, std::size_t pictures);

}  // namespace trt_pipeline::internal
