// PNG files that carry their settings, as the Python package writes them.
#pragma once

#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <span>
#include <string>

namespace trt_pipeline::cli {

// One finished picture.
struct Picture {
  std::span<const std::uint8_t> pixels;  // RGB, [height, width, 3]
  std::size_t height;
  std::size_t width;
  // Everything that makes this picture again; its `prompt` becomes the file's description.
  nlohmann::ordered_json settings;
  // Whether the file says that a trained model made the picture.
  bool ai_mark = true;
};

// Write a PNG whole or not at all; std::system_error with EEXIST unless overwrite.
void save_png(const Picture& picture, const std::filesystem::path& path, bool overwrite);

// Write a PNG under the folder's next free number, and return its path.
std::filesystem::path save_numbered(const Picture& picture, const std::filesystem::path& folder);

}  // namespace trt_pipeline::cli
