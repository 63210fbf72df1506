#include "jobs.hpp"

#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <functional>
#include <limits>
#include <random>

#include "png_reader.hpp"
#include "sha256.hpp"

namespace trt_pipeline::cli {
namespace {

namespace fs = std::filesystem;

void check_writable(const fs::path& folder) {
  if (!fs::is_directory(folder) || access(folder.c_str(), W_OK) != 0) {
    throw UsageError("output: " + folder.string() + " is no folder that can be written to.");
  }
}

fs::path nearest_existing(fs::path path) {
  path = fs::absolute(path).lexically_normal();
  while (!fs::exists(path) && path.has_parent_path() && path != path.parent_path()) {
    path = path.parent_path();
  }
  return path;
}

void check_file(const fs::path& output, std::size_t pictures, bool force) {
  const std::string name = "output " + output.string();
  std::string suffix = output.extension().string();
  std::ranges::transform(suffix, suffix.begin(), [](unsigned char c) { return std::tolower(c); });
  const fs::path folder = output.has_parent_path() ? output.parent_path() : fs::path(".");
  if (suffix != ".png") {
    throw UsageError(name + ": a name with a suffix is a picture's, and pictures are .png files.");
  }
  if (pictures > 1) {
    throw UsageError(name + " is one file for " + std::to_string(pictures) +
                     " pictures; name a folder.");
  }
  if (!fs::is_directory(folder)) {
    throw UsageError(name + ": there is no folder " + folder.string() + ".");
  }
  check_writable(folder);
  if (fs::exists(output) && !force) throw UsageError(name + " exists; --force replaces it.");
}

template <class T, class Value>
nlohmann::ordered_json null_or(const std::optional<T>& given, Value value) {
  return given ? nlohmann::ordered_json(value(*given)) : nlohmann::ordered_json(nullptr);
}

Pixels read_source(const std::string& name, const fs::path& path) {
  try {
    return read_png(path);
  } catch (const std::runtime_error& error) {
    throw UsageError(name + " " + error.what());
  }
}

// Everything that makes a picture again, in the order of the Python package.
nlohmann::ordered_json settings_of(const Pipeline& pipeline, const Arguments& arguments,
                                   const Job& job, const Pictures& pictures) {
  const Settings& settings = arguments.settings;
  const int tile = settings.vae_tile_size;
  const std::string& spacing = settings.timestep_spacing;
  return {{"prompt", job.prompt},
          {"seed", job.seed},
          {"num_inference_steps", settings.num_inference_steps},
          {"guidance_scale", settings.guidance_scale},
          {"eta", settings.eta},
          {"height", pictures.height()},
          {"width", pictures.width()},
          {"model", pipeline.info().model},
          {"negative_prompt", settings.negative_prompt},
          {"sampler", settings.sampler.empty() ? pipeline.info().sampler : settings.sampler},
          {"schedule", settings.schedule},
          {"timestep_spacing", spacing.empty() ? nullptr : nlohmann::ordered_json(spacing)},
          {"guidance_interval", settings.guidance_interval},
          {"image", null_or(arguments.image, internal::file_sha256)},
          {"mask_image", null_or(arguments.mask_image, internal::file_sha256)},
          {"strength", null_or(settings.strength, std::identity())},
          {"vae_tile_size", tile ? nlohmann::ordered_json(tile) : nullptr}};
}

}  // namespace

void read_sources(Arguments& arguments) {
  Settings& settings = arguments.settings;
  if (arguments.image) {
    const Pixels pixels = read_source("image", *arguments.image);
    settings.image = pixels.on_white();
    settings.image_height = static_cast<std::int32_t>(pixels.height);
    settings.image_width = static_cast<std::int32_t>(pixels.width);
  }
  if (!arguments.mask_image) return;
  const Pixels mask = read_source("mask_image", *arguments.mask_image);
  if (arguments.image && (static_cast<std::int32_t>(mask.height) != settings.image_height ||
                          static_cast<std::int32_t>(mask.width) != settings.image_width)) {
    throw UsageError("mask_image is " + std::to_string(mask.width) + "x" +
                     std::to_string(mask.height) + " pixels, but image is " +
                     std::to_string(settings.image_width) + "x" +
                     std::to_string(settings.image_height) + "; they must agree.");
  }
  settings.mask_image = mask.grey();
}

std::vector<Job> jobs_of(const Arguments& arguments) {
  auto prompts = arguments.prompts;
  if (prompts.empty()) prompts.emplace_back();
  const std::size_t count = prompts.size() * static_cast<std::size_t>(arguments.count);
  const std::uint64_t first = arguments.seed ? *arguments.seed : std::random_device{}();
  if (first > std::numeric_limits<std::uint64_t>::max() - (count - 1)) {
    throw UsageError("seed " + std::to_string(first) + " leaves no seeds for " +
                     std::to_string(count) + " pictures below 2^64.");
  }
  std::vector<Job> jobs;
  for (const std::string& prompt : prompts) {
    for (int i = 0; i < arguments.count; ++i) jobs.push_back({prompt, first + jobs.size()});
  }
  return jobs;
}

Save saver_of(const Arguments& arguments, std::size_t pictures) {
  const fs::path& output = arguments.output;
  if (fs::is_directory(output) || (!output.has_extension() && !fs::exists(output))) {
    check_writable(nearest_existing(output));
    return [output](const Picture& picture) { return save_numbered(picture, output); };
  }
  check_file(output, pictures, arguments.force);
  return [output, force = arguments.force](const Picture& picture) {
    save_png(picture, output, force);
    return output;
  };
}

void make_pictures(const Pipeline& pipeline, const Arguments& arguments,
                   const std::vector<Job>& jobs, const std::function<void(const Picture&)>& made) {
  const std::size_t most = pipeline.info().batch_limits[1];
  for (std::size_t start = 0; start < jobs.size(); start += most) {
    const std::size_t end = std::min(start + most, jobs.size());
    Settings settings = arguments.settings;
    std::vector<Prompt> prompts;
    for (std::size_t i = start; i < end; ++i) {
      if (!arguments.prompts.empty()) prompts.emplace_back(jobs[i].prompt);
      settings.seeds.push_back(jobs[i].seed);
    }
    if (prompts.empty()) settings.num_images_per_prompt = static_cast<std::int32_t>(end - start);
    const Pictures pictures = pipeline.generate(prompts, settings);
    for (std::size_t i = start; i < end; ++i) {
      made({pictures.pixels(i - start), pictures.height(), pictures.width(),
            settings_of(pipeline, arguments, jobs[i], pictures), !arguments.no_ai_mark});
    }
  }
}

}  // namespace trt_pipeline::cli
