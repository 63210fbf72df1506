// Figures of one batch: start, first picture, step, memory.
#pragma once

#include "jobs.hpp"

namespace trt_pipeline::cli {

// Opens the bundle, makes the first batch `runs` + 1 times, and prints one JSON document. The first
// run is apart from the others, as it compiles the graphs.
void print_timing(const Arguments& arguments, int runs);

}  // namespace trt_pipeline::cli
