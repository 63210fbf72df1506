#include "jobs.hpp"

#include <algorithm>
#include <limits>
#include <random>
#include <unordered_map>

#include "arguments.hpp"
#include "errors.hpp"

namespace trt_pipeline::cli {
namespace {

using internal::concat;
using internal::InvalidInputError;

// Refuses what the library takes for a value that was not given.
void check_given(const PictureSettings& settings) {
  const auto refuse = [](const char* name, const auto& allowed, const auto& value) {
    throw InvalidInputError(concat(name, " must be ", allowed, ", got ", value, "."));
  };
  const std::pair<const char*, std::int32_t> numbers[] = {
      {"num_inference_steps", settings.num_inference_steps},
      {"height", settings.height},
      {"width", settings.width},
      {"vae_tile_size", settings.vae_tile_size.value_or(1)}};
  for (const auto& [name, number] : numbers) {
    if (number < 1) refuse(name, "an integer from 1", number);
  }
  const double strength = settings.strength.value_or(0);
  if (!(strength >= 0 && strength <= 1))
    refuse("strength", "a finite number from 0 to 1", strength);
  if (settings.sampler.empty()) refuse("sampler", "a sampler's name", "''");
  if (settings.timestep_spacing == "") refuse("timestep_spacing", "a spacing's name", "''");
  const std::pair<const char*, const std::string*> texts[] = {
      {"prompt", &settings.prompt}, {"negative_prompt", &settings.negative_prompt}};
  for (const auto& [name, text] : texts) {
    if (text->find('\0') == std::string::npos) continue;
    throw InvalidInputError(concat(name, " has a zero character, which C strings cannot hold."));
  }
}

// What jobs of one call have in common.
std::string shared_settings(PictureSettings settings) {
  settings.prompt.clear();
  settings.seed = 0;
  settings.guidance_scale = 0;
  return to_json(settings).dump();
}

}  // namespace

std::vector<std::uint64_t> image_seeds(std::optional<std::uint64_t> first, std::size_t count) {
  constexpr auto most = std::numeric_limits<std::uint64_t>::max();
  std::vector<std::uint64_t> seeds(count);
  std::uint64_t seed = first ? *first : std::random_device{}();
  if (count && seed > most - (count - 1)) {
    throw InvalidInputError(
        concat("seed must be an integer from 0 to ", most - (count - 1), ", got ", seed, "."));
  }
  std::ranges::generate(seeds, [&] { return seed++; });
  return seeds;
}

std::vector<Job> prompt_jobs(const std::vector<std::string>& prompts, const PictureSettings& base,
                             int count, std::optional<std::uint64_t> seed, const Sources& sources) {
  const auto copies = static_cast<std::size_t>(count);
  const auto seeds = image_seeds(seed, prompts.size() * copies);
  std::vector<Job> jobs;
  for (std::size_t i = 0; i < seeds.size(); ++i) {
    Job& job = jobs.emplace_back(Job{base, sources});
    job.settings.prompt = prompts[i / copies];
    job.settings.seed = seeds[i];
    job.any_seed = !seed;
  }
  return jobs;
}

std::vector<Batch> batched(const Batch& jobs, std::size_t most) {
  std::vector<Batch> batches;
  std::unordered_map<std::string, std::size_t> open;  // shared settings → its batch with room
  for (const Job* job : jobs) {
    const auto [found, added] = open.try_emplace(shared_settings(job->settings), batches.size());
    if (!added && batches[found->second].size() == most) found->second = batches.size();
    if (found->second == batches.size()) batches.emplace_back();
    batches[found->second].push_back(job);
  }
  return batches;
}

void Caller::check(const Job& job) {
  const std::string where = job.origin.empty() ? "" : job.origin + ": ";
  try {
    check_given(job.settings);
    const Batch alone = {&job};
    pipeline_.check_settings(prompts_of(alone), settings_of(alone));
  } catch (const Error& error) {
    throw Error(error.status(), where + error.what());
  } catch (const InvalidInputError& error) {
    throw InvalidInputError(where + error.what());
  }
}

Pictures Caller::make(const Batch& batch) {
  return pipeline_.generate(prompts_of(batch), settings_of(batch));
}

// None for a model without prompts, unless one was given, which the library refuses.
std::vector<Prompt> Caller::prompts_of(const Batch& batch) const {
  std::vector<Prompt> prompts;
  for (const Job* job : batch) {
    if (pipeline_.info().max_length || !job->settings.prompt.empty()) {
      prompts.emplace_back(job->settings.prompt);
    }
  }
  return prompts;
}

Settings Caller::settings_of(const Batch& batch) {
  const trt_pipeline_info& info = pipeline_.info();
  const PictureSettings& shared = batch.front()->settings;
  Settings settings;
  settings.negative_prompt = shared.negative_prompt;
  settings.height = shared.height;
  settings.width = shared.width;
  settings.num_inference_steps = shared.num_inference_steps;
  settings.guidance_interval = shared.guidance_interval;
  settings.eta = shared.eta;
  settings.sampler = shared.sampler;
  settings.schedule = shared.schedule;
  settings.timestep_spacing = shared.timestep_spacing.value_or("");
  settings.strength = shared.strength;
  settings.vae_tile_size = shared.vae_tile_size.value_or(0);
  settings.cache_interval = shared.cache_interval;
  settings.guidance_scale = shared.guidance_scale;
  for (const Job* job : batch) {
    settings.seeds.push_back(job->settings.seed);
    if (info.max_length) settings.guidance_scales.push_back(job->settings.guidance_scale);
  }
  if (!info.max_length) settings.num_images_per_prompt = static_cast<std::int32_t>(batch.size());
  pixels_of(batch.front()->sources).add_to(settings);
  const auto factor = static_cast<std::int32_t>(info.vae_scale_factor);
  if (!info.max_length && settings.height == settings.image_height * factor &&
      settings.width == settings.image_width * factor) {
    settings.height = settings.width = 0;  // follows from the image, and must not be given
  }
  settings.progress = progress_;
  return settings;
}

const SourcePixels& Caller::pixels_of(const Sources& sources) {
  if (!(sources == read_)) {
    pixels_ = read_sources(sources);
    read_ = sources;
  }
  return pixels_;
}

}  // namespace trt_pipeline::cli
