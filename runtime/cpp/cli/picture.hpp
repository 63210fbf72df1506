// Finished pictures and how they are written.
#pragma once

#include <cstdint>
#include <optional>
#include <span>

#include "picture_settings.hpp"

namespace trt_pipeline::cli {

// One finished picture.
struct Picture {
  std::span<const std::uint8_t> pixels;  // RGB, [height, width, 3]
  std::size_t height;
  std::size_t width;
  // What makes this picture again; none for a grid.
  std::optional<PictureSettings> settings;
};

// How a picture is written, whatever its format.
struct Encoding {
  // 1 to 100, of WebP and JPEG; a JPEG keeps its colours at full resolution.
  int quality = 95;
  // Whether a WebP keeps every pixel, as a PNG does.
  bool lossless = false;
  // Whether the file says that a trained model made the picture.
  bool ai_mark = true;
};

}  // namespace trt_pipeline::cli
