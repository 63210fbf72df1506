// Inpainting: what stays of a picture while the rest is repainted, and the seam between them.
#pragma once

#include <cstdint>
#include <vector>

#include "tensor.hpp"

namespace trt_pipeline::internal {

// The pictures that a call begins with; each stands for as many of the call's B.
struct ImageInput {
  Tensor pixels;                        // uint8 [K, H, W, 3]
  std::vector<std::uint8_t> repainted;  // [M, H, W], 1 where repainted; empty is everywhere

  std::size_t images() const { return pixels.shape[0]; }
  std::size_t area() const { return pixels.shape[1] * pixels.shape[2]; }
  std::size_t masks() const { return repainted.size() / area(); }
};

// The part of the latents that a step must not change.
struct KnownLatents {
  Tensor latents;    // float32 [B, C, h, w], of the given pictures, without noise
  Tensor noise;      // float32 [B, C, h, w], the noise that denoising began with
  Tensor repainted;  // uint8 [B, h, w], 0 where the given picture stays

  // Puts the known part back into latents [B, C, h, w], at their noise level ᾱ; 1 is without noise.
  // RePaint, arXiv:2201.09865, eq. 8, with one noise for all steps, as diffusers has it.
  void restore(Tensor& latents, float alpha) const;
};

// √ᾱ·latents + √(1-ᾱ)·noise.
Tensor noised(const Tensor& latents, const Tensor& noise, float alpha);

// uint8 [M, h, w], 1 where latents are painted again: where the first of their factor × factor
// pixels is, as diffusers has it, or where any of them is.
Tensor repainted_latents(const ImageInput& image, std::size_t factor, bool any);

// Painted pictures [B, H, W, 3] and given ones as one: given pixels stay exactly, painted ones meet
// them. The difference of the two along the border is spread smoothly over the painted part and
// taken off it, as in seamless cloning (Pérez et al. 2003).
Tensor paste(const Tensor& painted, const ImageInput& given);

}  // namespace trt_pipeline::internal
