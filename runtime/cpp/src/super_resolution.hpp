// Larger pictures from small ones, as models of LDMSuperResolutionPipeline make them.
#pragma once

#include "image_input.hpp"

namespace trt_pipeline::internal {

// InvalidInputError unless small pictures are given, one for all or one for each of the call's,
// whose sides are multiples of 32, to which diffusers would resize them.
void check_low_resolution(const GivenImage& given, std::size_t pictures);

// float32 [count, 3, h, w] in -1..1: the small pictures of `count` samples from `start` on.
Tensor low_resolution(const GivenImage& given, std::size_t start, std::size_t count);

}  // namespace trt_pipeline::internal
