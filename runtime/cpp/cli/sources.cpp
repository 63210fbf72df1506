#include "sources.hpp"

#include <system_error>

#include "errors.hpp"
#include "picture_reader.hpp"
#include "sha256.hpp"

namespace trt_pipeline::cli {
namespace {

using internal::concat;
using internal::InvalidInputError;
using Source = std::optional<std::filesystem::path>;

Pixels read_source(const char* name, const Source& path) {
  return read_pixels(concat(name, " ", path->string()), *path);
}

std::optional<std::string> sha256_of(const char* name, const Source& path) {
  if (!path) return std::nullopt;
  try {
    return internal::file_sha256(*path);
  } catch (const std::system_error& error) {
    throw InvalidInputError(
        concat(name, " ", path->string(), " cannot be read: ", error.code().message(), "."));
  }
}

}  // namespace

void SourcePixels::add_to(Settings& settings) const {
  settings.image = image;
  settings.mask_image = mask_image;
  settings.image_height = height;
  settings.image_width = width;
}

SourcePixels read_sources(const Sources& sources) {
  SourcePixels pixels;
  if (sources.image) {
    const Pixels image = read_source("image", sources.image);
    pixels.image = image.on_white();
    pixels.height = static_cast<std::int32_t>(image.height);
    pixels.width = static_cast<std::int32_t>(image.width);
  }
  if (!sources.mask_image) return pixels;
  const Pixels mask = read_source("mask_image", sources.mask_image);
  if (!mask.is_opaque()) {
    throw InvalidInputError(
        "mask_image has transparent parts, which mean different things in different programs. Make "
        "it opaque: white where the image is painted anew, black elsewhere.");
  }
  const auto height = static_cast<std::int32_t>(mask.height);
  const auto width = static_cast<std::int32_t>(mask.width);
  if (sources.image && (height != pixels.height || width != pixels.width)) {
    throw InvalidInputError(concat("mask_image is ", width, "x", height, " pixels, but image is ",
                                   pixels.width, "x", pixels.height, "; they must agree."));
  }
  pixels.mask_image = mask.grey();
  return pixels;
}

PictureSettings sized(PictureSettings settings, const Sources& sources, const nlohmann::json& given,
                      std::int32_t scale) {
  if (!sources.image) return settings;
  const SourcePixels pixels = read_sources({sources.image, {}});
  if (!given.contains("height")) settings.height = pixels.height * scale;
  if (!given.contains("width")) settings.width = pixels.width * scale;
  return settings;
}

PictureSettings traced(PictureSettings settings, const Sources& sources) {
  settings.image = sha256_of("image", sources.image);
  settings.mask_image = sha256_of("mask_image", sources.mask_image);
  return settings;
}

}  // namespace trt_pipeline::cli
