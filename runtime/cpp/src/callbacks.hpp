// Callbacks: the caller's functions that hear of the steps.
#pragma once

#include "denoising.hpp"
#include "previews.hpp"
#include "trt_pipeline.h"

namespace trt_pipeline::internal {

// They throw CancelledError where the caller asks to stop. map: of the previews; it outlives them.
Listeners listeners_of(const trt_pipeline_settings& settings, const PreviewMap& map);

}  // namespace trt_pipeline::internal
