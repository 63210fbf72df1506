// Kinds: the diffusers pipelines whose bundles this library runs.
#pragma once

#include "bundle.hpp"

namespace trt_pipeline::internal {

enum class Kind {
  text_to_image,     // LDMTextToImagePipeline
  unconditional,     // LDMPipeline
  super_resolution,  // LDMSuperResolutionPipeline
};

// BundleError for a kind that this library does not know.
Kind kind_of(const Bundle& bundle);

}  // namespace trt_pipeline::internal
