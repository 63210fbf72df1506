// Sources: the picture files that pictures begin with, and their trace in the settings.
#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>

#include "picture_settings.hpp"
#include "trt_pipeline.hpp"

namespace trt_pipeline::cli {

// The files of image-to-image and inpainting, or the one to enlarge.
struct Sources {
  std::optional<std::filesystem::path> image, mask_image;

  bool operator==(const Sources&) const = default;
};

// The sources' pixels as a call takes them.
struct SourcePixels {
  std::vector<std::uint8_t> image, mask_image;
  std::int32_t height = 0, width = 0;

  void add_to(Settings& settings) const;
};

// InvalidInputError for a file that cannot be read, and for a mask of another size.
SourcePixels read_sources(const Sources& sources);

// The settings with the image's height and width, where they are not among those given.
// scale: by which a picture is larger than its image. InvalidInputError if it cannot be read.
PictureSettings sized(PictureSettings settings, const Sources& sources, const nlohmann::json& given,
                      std::int32_t scale);

// The settings with these files' sha256; InvalidInputError if one cannot be read.
PictureSettings traced(PictureSettings settings, const Sources& sources);

}  // namespace trt_pipeline::cli
