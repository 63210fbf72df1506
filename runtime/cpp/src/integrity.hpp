// Integrity: whether a file is the one that a manifest lists.
#pragma once

#include <cstdio>
#include <filesystem>
#include <memory>
#include <stdexcept>
#include <string>

#include "manifest.hpp"

namespace trt_pipeline::internal {

// Why a file could not be read, in words.
class FileError : public std::runtime_error {
 public:
  FileError(int code, const std::string& reason) : std::runtime_error(reason), code(code) {}

  const int code;  // errno
};

using FileStream = std::unique_ptr<std::FILE, int (*)(std::FILE*)>;

// Open a regular file to read; FileError for a link, a folder, a pipe or a device.
FileStream open_regular(const std::filesystem::path& path);

// The next bytes of a file, at most max_bytes of them; FileError if they cannot be read.
std::string read_bytes(std::FILE* stream, std::size_t max_bytes);

// What is wrong with a listed file of a bundle, in words; empty if nothing. It must be a regular
// file without a second name, reached through no link, of the listed size.
// hashes: whether its sha256 must be the listed one as well.
std::string file_problem(const std::filesystem::path& folder, const std::string& name,
                         const FileSpec& spec, bool hashes);

}  // namespace trt_pipeline::internal
