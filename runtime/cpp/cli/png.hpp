// PNG files: pictures with their settings in text chunks, as the Python package writes them.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
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

// Decode a PNG of at most 8 bits a channel; gamma and colour profiles are not followed.
// InvalidInputError says what is wrong with it and calls it `name`.
Pixels read_png(const std::string& name, const std::filesystem::path& path);

// A PNG text chunk.
struct Chunk {
  const char* keyword;
  std::string text;
};

// The bytes of a PNG of RGB pixels [height, width, 3].
std::string encoded_png(std::span<const std::uint8_t> pixels, std::size_t height, std::size_t width,
                        const std::vector<Chunk>& chunks);

}  // namespace trt_pipeline::cli
