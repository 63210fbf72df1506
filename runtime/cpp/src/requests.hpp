// Requests: what the structs of trt_pipeline.h ask for.
#pragma once

#include "pipeline.hpp"
#include "trt_pipeline.h"

namespace trt_pipeline::internal {

// InvalidInputError naming the argument if it is NULL.
void require(const void* pointer, const char* name);

// The caller's settings; the request points into what they point to. InvalidInputError for what no
// pipeline could do.
Request request_of(const Pipeline& pipeline, const trt_pipeline_settings& settings);

// The token ids of a text; InvalidInputError if the model takes none.
InputIds tokenized(const Pipeline& pipeline, const char* text);

}  // namespace trt_pipeline::internal
