// What the command line asks for.
#pragma once

#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "picture.hpp"
#include "sources.hpp"
#include "trt_pipeline.hpp"

namespace trt_pipeline::cli {

// Most pictures of one prompt.
constexpr int max_count = 10'000;

// Names and defaults are those of `trt-pipeline generate`.
struct Arguments {
  std::string bundle;
  std::vector<std::string> prompts;              // none for a model without prompts
  std::optional<std::filesystem::path> picture;  // --from
  std::optional<std::filesystem::path> prompt_file;
  std::optional<std::uint64_t> seed;
  int count = 1;
  nlohmann::json given = nlohmann::json::object();  // entries of PictureSettings that were named
  Sources sources;
  Options options;
  std::optional<std::filesystem::path> output;
  std::string format;  // empty is png
  Encoding encoding;
  std::optional<std::filesystem::path> grid;
  std::optional<std::size_t> grid_columns;
  bool resume = false;
  bool force = false;
  bool no_progress = false;
  bool as_json = false;
  bool debug = false;
};

}  // namespace trt_pipeline::cli
