// Makes the pictures that a command line asks for, and prints their files' paths.
#pragma once

#include "options.hpp"

namespace trt_pipeline::cli {

void generate(const Arguments& arguments);

}  // namespace trt_pipeline::cli
