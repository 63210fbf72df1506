// Numbers of the command line, read as Python reads them.
#pragma once

#include <CLI/CLI.hpp>

namespace trt_pipeline::cli {

// For integers: CLI11 takes 010 for 8, and what is too large for the largest there is.
CLI::Validator decimal();
// For other numbers: CLI11 takes 0x1p-2.
CLI::Validator no_hexadecimal();

}  // namespace trt_pipeline::cli
