// Settings: the table of trt_pipeline_settings.inc, its defaults and its checks.
#pragma once

#include "manifest.hpp"
#include "trt_pipeline.h"

namespace trt_pipeline::internal {

trt_pipeline_settings default_settings();

// InvalidInputError for a setting outside its bounds or choices.
void check_settings(const trt_pipeline_settings& settings);

// Settings with what they leave to the bundle. Height and width stay 0 where they follow from an
// image.
trt_pipeline_settings completed(trt_pipeline_settings settings, const Defaults& defaults);

}  // namespace trt_pipeline::internal
