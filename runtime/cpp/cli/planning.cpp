#include "planning.hpp"

#include <iostream>

#include "errors.hpp"
#include "picture_reader.hpp"

namespace trt_pipeline::cli {
namespace {

using internal::concat;
using internal::InvalidInputError;
using Hash = std::optional<std::string> PictureSettings::*;

void warn(const std::string& text) {
  std::cerr << "warning: " << text << '\n';
}

// By which a picture is larger than its image.
std::int32_t scale_of(const trt_pipeline_info& info) {
  return info.max_length ? 1 : static_cast<std::int32_t>(info.vae_scale_factor);
}

// Warns of what makes another picture; InvalidInputError if a file it began with is missing.
void compare(const std::string& picture, const PictureSettings& old, const PictureSettings& now) {
  if (old.model != now.model) {
    warn(concat(picture, " was made with ", shown(old.model), "; ", now.model,
                " makes another picture."));
  }
  const std::pair<const char*, Hash> files[] = {{"--image", &PictureSettings::image},
                                                {"--mask-image", &PictureSettings::mask_image}};
  for (const auto& [option, hash] : files) {
    if (old.*hash && !(now.*hash)) {
      throw InvalidInputError(concat(picture, " was made from a picture with the sha256 ",
                                     (old.*hash)->substr(0, 12), "…; give its file with ", option,
                                     "."));
    }
    if (now.*hash && now.*hash != old.*hash) {
      warn(concat(picture, " was not made with this ", option, ", which makes another picture."));
    }
  }
}

// The settings that the command line asks for, and with --from the picture's own.
PictureSettings base_of(const Arguments& arguments, const Inputs& inputs,
                        const trt_pipeline_info& info) {
  if (inputs.picture) {
    PictureSettings base = replaced(*inputs.picture, arguments.given);
    base.model = info.model;
    base = traced(base, arguments.sources);
    compare(arguments.picture->string(), *inputs.picture, base);
    return base;
  }
  PictureSettings own;
  own.model = info.model;
  own.num_inference_steps = info.num_inference_steps;
  own.height = static_cast<std::int32_t>(info.height);
  own.width = static_cast<std::int32_t>(info.width);
  own.sampler = info.sampler;
  const PictureSettings base = replaced(own, arguments.given);
  return traced(sized(base, arguments.sources, arguments.given, scale_of(info)), arguments.sources);
}

}  // namespace

Inputs read_inputs(const Arguments& arguments) {
  Inputs inputs;
  if (arguments.picture) inputs.picture = read_settings(*arguments.picture);
  if (arguments.prompt_file) inputs.lines = read_prompt_file(*arguments.prompt_file);
  return inputs;
}

std::vector<Job> jobs_of(const Arguments& arguments, const Inputs& inputs,
                         const trt_pipeline_info& info, Caller& caller) {
  if (info.max_length && arguments.prompts.empty() && !inputs.picture && inputs.lines.empty()) {
    throw InvalidInputError("Missing argument PROMPT, or --prompts FILE or --from PICTURE.");
  }
  const PictureSettings base = base_of(arguments, inputs, info);
  caller.check({base, arguments.sources});
  std::vector<Job> jobs;
  if (arguments.prompt_file) {
    jobs = file_jobs(inputs.lines, arguments.prompt_file->parent_path(),
                     {base, arguments.sources, arguments.count, arguments.seed, scale_of(info)});
  } else {
    const bool repeated = inputs.picture && !arguments.seed;
    auto prompts = arguments.prompts;
    if (prompts.empty()) prompts.push_back(base.prompt);
    jobs = prompt_jobs(prompts, base, arguments.count,
                       repeated ? std::optional(base.seed) : arguments.seed, arguments.sources);
  }
  for (const Job& job : jobs) caller.check(job);
  return jobs;
}

}  // namespace trt_pipeline::cli
