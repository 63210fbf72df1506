// sha256 of files.
#pragma once

#include <cstdio>
#include <filesystem>
#include <string>
#include <string_view>

namespace trt_pipeline::internal {

// Hash a file, as lower-case hexadecimal; std::system_error if it cannot be read.
std::string file_sha256(const std::filesystem::path& path);

// The same for the rest of an open file.
std::string stream_sha256(std::FILE* stream);

// Hash bytes, as lower-case hexadecimal.
std::string bytes_sha256(std::string_view bytes);

}  // namespace trt_pipeline::internal
