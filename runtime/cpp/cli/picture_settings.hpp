// Settings of a finished picture, as its file carries them for Python and for people.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "trt_pipeline.hpp"

namespace trt_pipeline::cli {

// What is one picture's own.
struct PictureFacts {
  std::string prompt;
  std::uint64_t seed;
  std::int32_t height, width;                    // pixels
  std::optional<std::string> image, mask_image;  // sha256 of the files that it begins with
};

// Everything that makes a picture again, with the names and order of the table of settings.
// settings: of the call. info: whose choices take the place of what they leave out.
nlohmann::ordered_json settings_json(const Settings& settings, const PictureFacts& facts,
                                     const trt_pipeline_info& info);

}  // namespace trt_pipeline::cli
