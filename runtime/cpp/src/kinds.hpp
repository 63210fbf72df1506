// Kinds: the diffusers pipelines whose bundles this library runs.
#pragma once

#include <cstdint>

#include "bundle.hpp"

namespace trt_pipeline::internal {

enum class Kind {
  text_to_image,     // LDMTextToImagePipeline
  unconditional,     // LDMPipeline
  super_resolution,  // LDMSuperResolutionPipeline
};

// Steps of a call that does not say how many, as in diffusers.
std::int32_t default_steps(Kind kind);

// BundleError for a kind that this library does not know.
Kind kind_of(const Bundle& bundle);

}  // namespace trt_pipeline::internal
