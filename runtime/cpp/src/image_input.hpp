// The pictures that a call begins with or enlarges, as its caller gives them.
#pragma once

#include <cstdint>

#include "inpainting.hpp"
#include "trt_pipeline.h"

namespace trt_pipeline::internal {

// InvalidInputError unless the given pictures and masks have a size and are one for all, one a
// prompt or one a picture, and nothing is given without an image.
// condition: of the model, which may need them. The sides of a picture to enlarge must be multiples
// of 32, to which diffusers would resize them.
void check_image(const trt_pipeline_settings& settings, std::size_t pictures,
                 const std::string& condition);

// How many of the steps the image makes superfluous, as diffusers counts them.
// InvalidInputError for a strength that leaves no step.
std::size_t first_step(const trt_pipeline_settings& settings);

// The given pictures and masks.
ImageInput image_input(const trt_pipeline_settings& settings);

// float32 [K, 3, h, w] in -1..1: the pictures to enlarge.
Tensor low_resolution(const trt_pipeline_settings& settings);

}  // namespace trt_pipeline::internal
