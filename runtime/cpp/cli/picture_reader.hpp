// Picture files that the command line is given: PNG, WebP and JPEG.
#pragma once

#include <filesystem>
#include <string>

#include "picture_settings.hpp"
#include "pixels.hpp"

namespace trt_pipeline::cli {

// The settings that a picture of this project carries; no pixel is decoded. InvalidInputError for
// any other file, and for settings that are damaged, too long, or those of a picture of another
// size.
PictureSettings read_settings(const std::filesystem::path& path);

// Decode a picture; InvalidInputError says what is wrong with it and calls it `name`. A picture
// that EXIF turns is refused; gamma and colour profiles are not followed.
Pixels read_pixels(const std::string& name, const std::filesystem::path& path);

}  // namespace trt_pipeline::cli
