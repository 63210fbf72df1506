// Inpainting: what stays of a picture while the rest is repainted, and the seam between them.
#pragma once

#include <cstdint>
#include <vector>

#include "tensor.hpp"

namespace trt_pipeline::internal {

// The pictures that a call begins with.
struct ImageInput {
  Tensor pixels;                        // uint8 [B, H, W, 3]
  std::vector<std::uint8_t> repainted;  // [B, H, W], 1 where repainted; empty is everywhere
};

// The part of the latents that a step must not change.
struct KnownLatents {
  Tensor latents;                  // float32 [B, C, h, w], of the given pictures, without noise
  Tensor noise;                    // float32 [B, C, h, w], the noise that denoising began with
  std::vector<std::uint8_t> kept;  // [B, h, w], 1 where the given picture stays

  // Puts the known part back into latents [B, C, h, w], at their noise level. RePaint,
  // arXiv:2201.09865, eq. 8, with one noise for all steps, as diffusers has it.
  void restore(Tensor& latents, float alpha) const;
};

// √ᾱ·latents + √(1-ᾱ)·noise.
Tensor noised(const Tensor& latents, const Tensor& noise, float alpha);

// [B, h, w]: latents stay only where none of their factor × factor pixels is repainted.
std::vector<std::uint8_t> kept_latents(const ImageInput& image, std::size_t factor);

// Both pictures [B, H, W, 3] as one: given pixels stay exactly, painted ones meet them. The
// difference of the two along the border is spread smoothly over the painted part and taken off it,
// as in seamless cloning (Pérez et al. 2003).
Tensor paste(const Tensor& painted, const ImageInput& given);

}  // namespace trt_pipeline::internal
