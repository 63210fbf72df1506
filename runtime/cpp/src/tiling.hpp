// Tiling: a function of latents applied piece by piece, so that memory does not grow with size.
#pragma once

#include <functional>

#include "tensor.hpp"

namespace trt_pipeline::internal {

// Latents float32 [B, C, h, w] to pixels uint8 [B, H, W, 3].
using Decode = std::function<Tensor(const Tensor& latents)>;

// Decode latents in tiles of at most tile × tile latents, which fade into each other. A tile's
// pixels depend on its own latents only, so the picture differs slightly from one decoded at once.
// factor: pixels per latent.
Tensor decode_in_tiles(const Decode& decode, const Tensor& latents, std::size_t tile,
                       std::size_t factor);

}  // namespace trt_pipeline::internal
