// First stage: pictures to latents and back.
#pragma once

#include <memory>

#include "later_graph.hpp"

namespace trt_pipeline::internal {

// Safe to share between threads. The bundle and the backend outlive it.
class FirstStage {
 public:
  FirstStage(const Bundle& bundle, Backend& backend);

  // Lets the decoder be compiled for latents of these sizes while other graphs are, or run.
  void prepare(const Sizes& sizes) { decoder_->prepare(sizes); }

  // Latents [B, C, h, w] of pictures [B, H, W, 3]: the mean of each one's distribution.
  Tensor encode(const Tensor& pixels);

  // Pictures uint8 [B, H, W, 3] of latents. tile: the side of tiles in latents; 0 decodes at once.
  Tensor decode(const Tensor& latents, std::size_t tile);

 private:
  const Bundle& bundle_;
  const std::unique_ptr<Graph> decoder_;
  LaterGraph encoder_;
};

}  // namespace trt_pipeline::internal
