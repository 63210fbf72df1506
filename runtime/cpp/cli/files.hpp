// Files that a user names.
#pragma once

#include <filesystem>
#include <string>

namespace trt_pipeline::cli {

// All bytes of a file, up to 1 GiB; InvalidInputError if it cannot be read. name: what the error
// calls it.
std::string read_file(const std::string& name, const std::filesystem::path& path);

}  // namespace trt_pipeline::cli
