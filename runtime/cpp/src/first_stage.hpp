// First stage: pictures to latents and back.
#pragma once

#include <memory>
#include <optional>

#include "later_graph.hpp"

namespace trt_pipeline::internal {

// What an encoder says of pictures: normal distributions of their latents, both [B, C, h, w].
struct Posterior {
  Tensor mean, std;
};

// Safe to share between threads. The bundle and the backend outlive it.
class FirstStage {
 public:
  FirstStage(const Bundle& bundle, Backend& backend);

  // Lets the decoder be compiled for latents of these sizes while other graphs are, or run.
  void prepare(const Sizes& sizes) { decoder_->prepare(sizes); }

  // Of pictures uint8 [B, H, W, 3]. masks: uint8 [B, H, W], 1 where a picture is left out, for an
  // encoder that takes them; none leaves nothing out.
  Posterior encode(const Tensor& pixels, const std::optional<Tensor>& masks = std::nullopt);

  // Pictures uint8 [B, H, W, 3] of latents. tile: the side of tiles in latents; 0 decodes at once.
  // tiny: whether by the tiny decoder.
  Tensor decode(const Tensor& latents, std::size_t tile, bool tiny);

  // What latents will become: pictures by the tiny decoder, or by the bundle's linear map, which
  // gives a pixel a latent. BundleError for a bundle without either.
  Tensor preview(const Tensor& latents);

 private:
  const Bundle& bundle_;
  const std::unique_ptr<Graph> decoder_;
  LaterGraph tiny_decoder_, encoder_;
};

}  // namespace trt_pipeline::internal
