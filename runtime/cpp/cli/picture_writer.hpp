// Picture files, written whole or not at all.
#pragma once

#include <filesystem>

#include "codec.hpp"

namespace trt_pipeline::cli {

// Write a picture in the format of the path's suffix; std::system_error with EEXIST unless
// overwrite.
void save_picture(const Picture& picture, const Encoding& encoding,
                  const std::filesystem::path& path, bool overwrite);

// Write a picture under the folder's next free number, and return its path.
std::filesystem::path save_numbered(const Picture& picture, const Encoding& encoding,
                                    const Codec& codec, const std::filesystem::path& folder);

}  // namespace trt_pipeline::cli
