// Where finished pictures go: a folder of numbered files, or one file.
#pragma once

#include <filesystem>
#include <string>

namespace trt_pipeline::cli {

// Files are written whole or not at all.
class Output {
 public:
  // force: whether a file that is in the way is replaced. InvalidInputError for a path that cannot
  // be written to, or one file for several pictures.
  Output(std::filesystem::path path, bool force, std::size_t pictures);

  // Writes a picture's file, and returns its path.
  std::filesystem::path save(const std::string& bytes) const;

 private:
  std::filesystem::path path_;
  bool force_;
  bool is_file_;
};

}  // namespace trt_pipeline::cli
