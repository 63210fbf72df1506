// Figures of one batch: start, first picture, step, memory.
#pragma once

#include "arguments.hpp"

namespace trt_pipeline::cli {

// Opens the bundle, makes the first batch once and then as often as the arguments say, and prints
// one JSON document. The first run is apart from the others, as it compiles the graphs.
void print_timing(const Arguments& arguments);

}  // namespace trt_pipeline::cli
