// Pictures that the command line is given: PNG files with 8 bits a channel or fewer.
#pragma once

#include <cstdint>
#include <filesystem>
#include <vector>

namespace trt_pipeline::cli {

// A decoded picture.
struct Pixels {
  std::size_t height, width;
  std::vector<std::uint8_t> rgba;  // [height, width, 4]

  // RGB [height, width, 3]: what is transparent becomes white.
  std::vector<std::uint8_t> on_white() const;
  // [height, width]: ITU-R BT.601 luma whatever the transparency, as Pillow's mode L.
  std::vector<std::uint8_t> grey() const;
};

// Read a PNG; std::runtime_error naming what is wrong with it. EXIF, gamma and colour profiles are
// not followed.
Pixels read_png(const std::filesystem::path& path);

}  // namespace trt_pipeline::cli
