// What the command line asks for, and the pictures it makes of it.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include "png_file.hpp"
#include "trt_pipeline.hpp"

namespace trt_pipeline::cli {

// A mistake on the command line.
class UsageError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// Names and defaults are those of `trt-pipeline generate`.
struct Arguments {
  std::string bundle;
  std::vector<std::string> prompts;  // none for a model without prompts
  std::optional<std::uint64_t> seed;
  int count = 1;
  Settings settings;
  std::optional<std::filesystem::path> image, mask_image;
  Options options;
  std::filesystem::path output = ".";
  bool no_ai_mark = false;
  bool force = false;
  bool no_progress = false;
  bool as_json = false;
};

// One picture to make.
struct Job {
  std::string prompt;
  std::uint64_t seed;
};

// Reads the files that pictures begin with into the settings. UsageError for one that cannot be.
void read_sources(Arguments& arguments);

// Every prompt's pictures, with the seeds s, s + 1, …
std::vector<Job> jobs_of(const Arguments& arguments);

// How to save a picture; what can be known of a bad output is refused before any work.
using Save = std::function<std::filesystem::path(const Picture&)>;
Save saver_of(const Arguments& arguments, std::size_t pictures);

// Makes every job's picture, batch after batch, so that finished ones are on disk early.
void make_pictures(const Pipeline& pipeline, const Arguments& arguments,
                   const std::vector<Job>& jobs, const std::function<void(const Picture&)>& made);

}  // namespace trt_pipeline::cli
