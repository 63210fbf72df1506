#include "options.hpp"

#include <type_traits>

#include "errors.hpp"
#include "numbers.hpp"

namespace trt_pipeline::cli {
namespace {

using internal::InvalidInputError;

template <class T>
CLI::Option* read_as_python(CLI::Option* option) {
  if constexpr (std::is_integral_v<T>) return option->transform(decimal());
  if constexpr (std::is_floating_point_v<T>) return option->transform(no_hexadecimal());
  return option;
}

// An option that is an entry of PictureSettings; what is not given leaves no entry.
template <class T>
CLI::Option* setting(CLI::App& app, Arguments& arguments, const std::string& flags,
                     const char* name, const std::string& help) {
  return read_as_python<T>(app.add_option_function<T>(
      flags, [&given = arguments.given, name](const T& value) { given[name] = value; }, help));
}

void declare_settings(CLI::App& app, Arguments& arguments) {
  setting<std::int32_t>(app, arguments, "--steps,--num-inference-steps", "num_inference_steps",
                        "50 by default, or 100 to enlarge a picture.");
  setting<double>(app, arguments, "--guidance-scale", "guidance_scale", "")->default_str("1");
  setting<std::array<double, 2>>(app, arguments, "--guidance-interval", "guidance_interval",
                                 "The part of the steps that is guided.")
      ->default_str("0 1");
  setting<std::string>(app, arguments, "--sampler", "sampler", "The checkpoint's own by default.")
      ->check(CLI::IsMember({"ddim", "euler", "euler_ancestral", "pndm", "lms", "dpmsolver++",
                             "dpmsolver++_karras", "unipc"}));
  setting<std::string>(app, arguments, "--schedule", "schedule", "")
      ->check(CLI::IsMember({"published", "trained"}))
      ->default_str("published");
  setting<std::string>(app, arguments, "--timestep-spacing", "timestep_spacing",
                       "The checkpoint's own by default.")
      ->check(CLI::IsMember({"leading", "linspace", "trailing"}));
  setting<std::string>(app, arguments, "--negative-prompt", "negative_prompt",
                       "What guidance leads away from.");
  setting<double>(app, arguments, "--eta", "eta", "0 is deterministic DDIM, 1 is DDPM.")
      ->default_str("0");
  setting<std::int32_t>(app, arguments, "--height", "height",
                        "Pixels; the model's own, or the image's, by default.");
  setting<std::int32_t>(app, arguments, "--width", "width",
                        "Pixels; the model's own, or the image's, by default.");
  setting<double>(app, arguments, "--strength", "strength",
                  "0 to 1, the part of the steps that the image goes through: 0.8, or 1 with a "
                  "mask.");
  setting<std::int32_t>(app, arguments, "--cache-interval", "cache_interval",
                        "Run the whole denoiser in every so-manyth step only: faster, less exact.")
      ->default_str("1");
  setting<std::int32_t>(app, arguments, "--vae-tile-size", "vae_tile_size",
                        "Decode in tiles of so many pixels.");
}

void declare_inputs(CLI::App& app, Arguments& arguments) {
  app.add_option("BUNDLE", arguments.bundle, "Folder that export-all wrote.")->required();
  app.add_option("PROMPT", arguments.prompts,
                 "What the pictures show; none for a model without prompts.")
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  app.add_option("--from", arguments.picture,
                 "Repeat this picture with its own settings; other options and a PROMPT override "
                 "them.");
  app.add_option("--prompts", arguments.prompt_file,
                 "A .txt file with a prompt a line, or a .jsonl file with an object of settings a "
                 "line.");
  app.add_option("--seed", arguments.seed,
                 "Of the first picture; the next take the numbers after it.")
      ->transform(decimal())
      ->check(CLI::NonNegativeNumber);  // else CLI11 takes -1 for 2^64 - 1
  app.add_option("--count", arguments.count, "Pictures for each prompt.")
      ->transform(decimal())
      ->check(CLI::Range(1, max_count))
      ->capture_default_str();
  app.add_option("--image", arguments.sources.image,
                 "A picture to begin with instead of noise, or to enlarge; not resized.");
  app.add_option("--mask-image", arguments.sources.mask_image,
                 "A picture of the image's size, white where it is painted anew.");
}

void declare_outputs(CLI::App& app, Arguments& arguments) {
  app.add_option("-o,--output", arguments.output,
                 "A folder, for numbered pictures, or one picture's file name; by default this "
                 "folder, or nothing but the grid.");
  app.add_option("--format", arguments.format,
                 "Of pictures in a folder, png by default; a file's name says its own.")
      ->check(CLI::IsMember({"png", "webp", "jpeg"}));
  app.add_option("--quality", arguments.encoding.quality, "Of WebP and JPEG.")
      ->transform(decimal())
      ->check(CLI::Range(1, 100))
      ->capture_default_str();
  app.add_flag("--lossless", arguments.encoding.lossless, "Keep every pixel of a WebP.");
  app.add_flag_callback(
      "--no-ai-mark", [&arguments] { arguments.encoding.ai_mark = false; },
      "Leave out the XMP entry that says a trained model made the picture.");
  app.add_option("--grid", arguments.grid, "Write one picture that shows all of this call.");
  app.add_option("--grid-columns", arguments.grid_columns, "As many as rows by default.")
      ->transform(decimal())
      ->check(CLI::Range(1, 1'000'000));
  app.add_flag("--resume", arguments.resume, "Keep what an earlier run of --prompts made.");
  app.add_flag("--force", arguments.force, "Replace files that are in the way.");
  app.add_flag("--json", arguments.as_json, "Print one JSON document.");
}

}  // namespace

void declare(CLI::App& app, Arguments& arguments) {
  app.option_defaults()->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);  // as Python
  app.set_version_flag("--version", std::string("trt-pipeline-cpp ") + trt_pipeline_version());
  declare_inputs(app, arguments);
  declare_settings(app, arguments);
  app.add_option(
      "--backend", arguments.options.backend,
      std::string("One of: ") + trt_pipeline_backends() + ". The best available by default.");
  app.add_option("--threads", arguments.options.threads,
                 "For arithmetic on the CPU; all by default.")
      ->transform(decimal())
      ->check(CLI::Range(1, 1024));
  declare_outputs(app, arguments);
  app.add_flag("--no-progress", arguments.no_progress, "Show no progress.");
  app.add_flag("--debug", arguments.debug, "Show log messages.");
}

void check_options(const Arguments& arguments) {
  const bool prompts = !arguments.prompts.empty();
  if (arguments.prompt_file && (prompts || arguments.picture)) {
    throw InvalidInputError(std::string("--prompts and ") + (prompts ? "PROMPT" : "--from") +
                            " both say what to make; give one.");
  }
  if (arguments.grid_columns && !arguments.grid) {
    throw InvalidInputError("--grid-columns is given without --grid.");
  }
  if (arguments.resume && !arguments.prompt_file) {
    throw InvalidInputError("--resume is for the pictures of --prompts.");
  }
  if (arguments.resume && arguments.grid && !arguments.output) {
    throw InvalidInputError("--resume needs -o, the folder that holds the pictures.");
  }
}

}  // namespace trt_pipeline::cli
