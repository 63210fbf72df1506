// Settings: the table of trt_pipeline_settings.inc, its defaults and its checks.
#pragma once

#include <string>

#include "manifest.hpp"
#include "trt_pipeline.h"

namespace trt_pipeline::internal {

trt_pipeline_settings default_settings();

// InvalidInputError for a setting outside its bounds or choices.
void check_settings(const trt_pipeline_settings& settings);

// The value of a setting of that name as errors quote it; empty if it was left out, or says no more
// than leaving it out. Of image and mask_image, "given".
std::string quoted(const trt_pipeline_settings& settings, const std::string& name);

// Settings with what they leave to the bundle. Height and width stay 0 where they follow from an
// image.
trt_pipeline_settings completed(trt_pipeline_settings settings, const Defaults& defaults);

}  // namespace trt_pipeline::internal
