// Capabilities: what a bundle can do, which follows from the inputs of its graphs.
#pragma once

#include "bundle.hpp"

namespace trt_pipeline::internal {

// Whether the denoiser reads a context, which a prompt makes.
bool takes_prompts(const Bundle& bundle);

// Whether the guidance scale joins the time embedding, as in LCM, arXiv:2310.04378.
bool embeds_guidance(const Bundle& bundle);

// Whether the denoiser sees a picture of low resolution, which it enlarges.
bool enlarges(const Bundle& bundle);

// Whether an image can be what denoising begins with.
bool begins_with_pictures(const Bundle& bundle);

// BundleError for a graph, or a graph's input or output, that this library does not know or that is
// missing.
void check_graphs(const Bundle& bundle);

}  // namespace trt_pipeline::internal
