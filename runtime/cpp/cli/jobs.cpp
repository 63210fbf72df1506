#include "jobs.hpp"

#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <limits>
#include <random>

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

// Everything that makes a picture again, in the order of the Python package.
nlohmann::ordered_json settings_of(const Pipeline& pipeline, const Settings& settings,
                                   const Job& job, const Pictures& pictures) {
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
          {"guidance_interval", settings.guidance_interval}};
}

}  // namespace

std::vector<Job> jobs_of(const Arguments& arguments) {
  const std::size_t count = arguments.prompts.size() * static_cast<std::size_t>(arguments.count);
  const std::uint64_t first = arguments.seed ? *arguments.seed : std::random_device{}();
  if (first > std::numeric_limits<std::uint64_t>::max() - (count - 1)) {
    throw UsageError("seed " + std::to_string(first) + " leaves no seeds for " +
                     std::to_string(count) + " pictures below 2^64.");
  }
  std::vector<Job> jobs;
  for (const std::string& prompt : arguments.prompts) {
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
      prompts.emplace_back(jobs[i].prompt);
      settings.seeds.push_back(jobs[i].seed);
    }
    const Pictures pictures = pipeline.generate(prompts, settings);
    for (std::size_t i = start; i < end; ++i) {
      made({pictures.pixels(i - start), pictures.height(), pictures.width(),
            settings_of(pipeline, settings, jobs[i], pictures), !arguments.no_ai_mark});
    }
  }
}

}  // namespace trt_pipeline::cli
