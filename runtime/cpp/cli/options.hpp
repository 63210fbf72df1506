// The options of the command line.
#pragma once

#include <CLI/CLI.hpp>

#include "arguments.hpp"

namespace trt_pipeline::cli {

// Declares them; parsing fills the arguments in.
void declare(CLI::App& app, Arguments& arguments);

// InvalidInputError for options that do not go together.
void check_options(const Arguments& arguments);

}  // namespace trt_pipeline::cli
