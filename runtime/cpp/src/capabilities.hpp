// Capabilities: what a bundle can do, which follows from the inputs of its graphs.
#pragma once

#include "bundle.hpp"

namespace trt_pipeline::internal {

// Whether the denoiser reads a context, which a prompt makes.
bool takes_prompts(const Bundle& bundle);

// Whether the guidance scale joins the time embedding, as in LCM, arXiv:2310.04378.
bool embeds_guidance(const Bundle& bundle);

// Whether a second text encoder reads each text, as in SDXL, arXiv:2307.01952.
bool encodes_texts_twice(const Bundle& bundle);

// Whether a pooled form of the text joins the time embedding, as in SDXL.
bool embeds_texts(const Bundle& bundle);

// Whether the picture's sizes and crop join the time embedding, as in SDXL.
bool embeds_sizes(const Bundle& bundle);

// Whether the denoiser sees a picture of low resolution, which it enlarges.
bool enlarges(const Bundle& bundle);

// Whether the denoiser sees which part of a picture it paints again, and the rest of it.
bool sees_masks(const Bundle& bundle);

// Whether the encoder can leave a part of a picture out.
bool encodes_masked(const Bundle& bundle);

// Whether the denoiser sees a picture that it changes, as in InstructPix2Pix, arXiv:2211.09800.
bool changes_images(const Bundle& bundle);

// Whether an image can be what denoising begins with.
bool begins_with_pictures(const Bundle& bundle);

// BundleError for a graph, or a graph's input or output, that this library does not know or that is
// missing.
void check_graphs(const Bundle& bundle);

}  // namespace trt_pipeline::internal
