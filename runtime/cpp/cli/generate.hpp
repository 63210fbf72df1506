// Makes the pictures that a command line asks for.
#pragma once

#include "arguments.hpp"
#include "jobs.hpp"

namespace trt_pipeline::cli {

void generate(const Arguments& arguments, const Progress& progress);

}  // namespace trt_pipeline::cli
