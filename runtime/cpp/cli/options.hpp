// The options of the command line.
#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "trt_pipeline.hpp"

namespace trt_pipeline::cli {

// What the command line asks for. Names and defaults are those of `trt-pipeline generate`.
struct Arguments {
  std::string bundle;
  Options options;
  std::vector<std::string> prompts;  // none for a model without prompts
  Settings settings;
  std::optional<std::uint64_t> seed;  // of the first picture
  std::optional<std::filesystem::path> image, mask_image;
  std::filesystem::path output = ".";  // a folder, or a .png file
  bool force = false;
  bool ai_mark = true;
  bool no_progress = false;
  bool debug = false;
};

// Declares them; parsing fills the arguments in. Parsing throws InvalidInputError for a setting
// outside its bounds or choices.
void declare(CLI::App& app, Arguments& arguments);

}  // namespace trt_pipeline::cli
