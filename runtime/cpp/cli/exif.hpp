// EXIF: where a JPEG or a WebP has its settings, in UserComment.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "codec.hpp"

namespace trt_pipeline::cli {

// What an EXIF block says of a picture.
struct ExifEntries {
  int orientation = 1;                       // 1 is upright
  std::optional<std::string> settings = {};  // JSON in UTF-8
};

// The EXIF block of a picture, without the "Exif" that a JPEG puts before it.
std::string exif_of(const Picture& picture, const Codec& codec);

// Read a block, whose bytes may be any. InvalidInputError for a comment too long for settings.
ExifEntries read_exif(std::string_view block);

}  // namespace trt_pipeline::cli
