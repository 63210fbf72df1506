// The pixels of a picture that was read from a file.
#pragma once

#include <cstdint>
#include <vector>

namespace trt_pipeline::cli {

// A decoded picture.
struct Pixels {
  std::size_t height, width;
  std::vector<std::uint8_t> rgba;  // [height, width, 4]

  // RGB [height, width, 3]: what is transparent becomes white.
  std::vector<std::uint8_t> on_white() const;
  // Whether no part is transparent.
  bool is_opaque() const;
  // [height, width]: ITU-R BT.601 luma whatever the transparency, as Pillow's mode L.
  std::vector<std::uint8_t> grey() const;
};

}  // namespace trt_pipeline::cli
