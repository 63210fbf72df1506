// Jobs: the pictures that a command shall make, and the batches in which they are made.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "picture.hpp"
#include "sources.hpp"
#include "trt_pipeline.hpp"

namespace trt_pipeline::cli {

// One picture to make.
struct Job {
  PictureSettings settings;
  Sources sources = {};     // the files that it begins with; the settings have their hashes
  std::string origin = {};  // the line of a prompt file that asks for it, to name in errors
  std::string name = {};    // its file's, without suffix; empty is the folder's next free number
  bool any_seed = false;    // whether its seed was drawn because none was given
};

// What hears of each step and says whether to go on, as that of Settings.
using Progress = std::function<bool(std::size_t step, std::size_t steps)>;

// Jobs, such as those of one call.
using Batch = std::vector<const Job*>;

// One seed for each of `count` pictures: s, s + 1, …; none draws the first. InvalidInputError if
// they leave 64 bits.
std::vector<std::uint64_t> image_seeds(std::optional<std::uint64_t> first, std::size_t count);

// `count` pictures of each prompt with settings like base; seeds count up from the first.
std::vector<Job> prompt_jobs(const std::vector<std::string>& prompts, const PictureSettings& base,
                             int count, std::optional<std::uint64_t> seed, const Sources& sources);

// Jobs that differ in no more than prompt, seed and guidance together, at most so many; otherwise
// in their order.
std::vector<Batch> batched(const Batch& jobs, std::size_t most);

// Checks and makes jobs with a pipeline.
class Caller {
 public:
  Caller(const Pipeline& pipeline, Progress progress)
      : pipeline_(pipeline), progress_(std::move(progress)) {}

  // An error for a job that the bundle cannot do, which names its line; runs no graph.
  void check(const Job& job);
  Pictures make(const Batch& batch);

 private:
  std::vector<Prompt> prompts_of(const Batch& batch) const;
  Settings settings_of(const Batch& batch);
  const SourcePixels& pixels_of(const Sources& sources);

  const Pipeline& pipeline_;
  const Progress progress_;
  Sources read_;         // the sources that were read last,
  SourcePixels pixels_;  // and what they hold
};

}  // namespace trt_pipeline::cli
