// Previews: latents as small pictures, without the decoder.
#pragma once

#include <vector>

#include "tensor.hpp"

namespace trt_pipeline::internal {

// For red, green and blue: a weight for each latent channel and an offset, which give -1..1.
using PreviewMap = std::vector<std::vector<double>>;

// uint8 [B, h, w, 3] of latents float32 [B, C, h, w], one pixel a latent. The map is not empty.
Tensor preview_pixels(const Tensor& latents, const PreviewMap& map);

}  // namespace trt_pipeline::internal
