// Planning: what the options, a picture's own settings or a prompt file ask for, as jobs.
#pragma once

#include <optional>
#include <vector>

#include "arguments.hpp"
#include "jobs.hpp"
#include "prompt_files.hpp"

namespace trt_pipeline::cli {

// The files that say what to make, read before any bundle is opened.
struct Inputs {
  std::optional<PictureSettings> picture = {};  // of --from
  std::vector<PromptLine> lines = {};           // of --prompts
};

// InvalidInputError for a file that says nothing.
Inputs read_inputs(const Arguments& arguments);

// The pictures to make, which the bundle can do. Warns of what makes another picture than --from.
std::vector<Job> jobs_of(const Arguments& arguments, const Inputs& inputs,
                         const trt_pipeline_info& info, Caller& caller);

}  // namespace trt_pipeline::cli
