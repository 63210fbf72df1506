// Callbacks: the caller's functions that hear of the steps.
#pragma once

#include "denoising.hpp"
#include "trt_pipeline.h"

namespace trt_pipeline::internal {

// Pictures uint8 [B, H, W, 3] of what latents will become.
using Preview = std::function<Tensor(const Tensor& latents)>;

// A step as its callback hears of it, with a preview that is made when it is asked for.
struct ToldStep : trt_pipeline_step {
  ToldStep(const Step& step, const Preview& preview);

  const Tensor& previewed() const;

 private:
  const Tensor& source_;
  const Preview& preview_;
  mutable Tensor made_;
};

// They throw CancelledError where the caller asks to stop.
Listeners listeners_of(const trt_pipeline_settings& settings, const Preview& preview);

}  // namespace trt_pipeline::internal
