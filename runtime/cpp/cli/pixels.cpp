#include "pixels.hpp"

namespace trt_pipeline::cli {

std::vector<std::uint8_t> Pixels::on_white() const {
  std::vector<std::uint8_t> rgb;
  rgb.reserve(rgba.size() / 4 * 3);
  for (std::size_t i = 0; i < rgba.size(); i += 4) {
    const int alpha = rgba[i + 3];
    for (std::size_t c = 0; c < 3; ++c) {
      const int mixed = rgba[i + c] * alpha + 255 * (255 - alpha);
      rgb.push_back(static_cast<std::uint8_t>((mixed + 127) / 255));
    }
  }
  return rgb;
}

bool Pixels::is_opaque() const {
  for (std::size_t i = 3; i < rgba.size(); i += 4) {
    if (rgba[i] != 255) return false;
  }
  return true;
}

std::vector<std::uint8_t> Pixels::grey() const {
  std::vector<std::uint8_t> grey;
  grey.reserve(rgba.size() / 4);
  for (std::size_t i = 0; i < rgba.size(); i += 4) {
    const int luma = 19595 * rgba[i] + 38470 * rgba[i + 1] + 7471 * rgba[i + 2] + 0x8000;
    grey.push_back(static_cast<std::uint8_t>(luma >> 16));
  }
  return grey;
}

}  // namespace trt_pipeline::cli
