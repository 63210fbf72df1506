#include "picture_writer.hpp"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstdio>
#include <memory>
#include <system_error>

namespace trt_pipeline::cli {
namespace {

namespace fs = std::filesystem;

void write_file(const std::string& bytes, const fs::path& path) {
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::fopen(path.c_str(), "wbx"),
                                                             std::fclose);
  if (!file || std::fwrite(bytes.data(), 1, bytes.size(), file.get()) != bytes.size() ||
      std::fflush(file.get())) {
    throw fs::filesystem_error("write", path, {errno, std::generic_category()});
  }
}

void publish(const fs::path& unfinished, const fs::path& path, bool overwrite) {
  if (overwrite) return fs::rename(unfinished, path);
  std::error_code error;
  fs::create_hard_link(unfinished, path, error);  // unlike a rename, never replaces
  if (!error) return;
  if (error == std::errc::file_exists || fs::exists(path)) {
    throw fs::filesystem_error("write", path, std::make_error_code(std::errc::file_exists));
  }
  fs::rename(unfinished, path);  // a file system without hard links
}

std::string numbered(int number) {
  std::array<char, 16> name{};
  std::snprintf(name.data(), name.size(), "%05d", number);
  return name.data();
}

bool is_picture(const fs::path& path) {
  try {
    codec_of(path);
    return true;
  } catch (const std::exception&) {
    return false;
  }
}

int highest_number(const fs::path& folder) {
  int highest = -1;
  for (const auto& entry : fs::directory_iterator(folder)) {
    const std::string stem = entry.path().stem().string();
    int number = 0;
    const auto [end, error] = std::from_chars(stem.data(), stem.data() + stem.size(), number);
    const bool is_number = error == std::errc() && end == stem.data() + stem.size();
    if (is_number && is_picture(entry.path())) highest = std::max(highest, number);
  }
  return highest;
}

}  // namespace

void save_picture(const Picture& picture, const Encoding& encoding, const fs::path& path,
                  bool overwrite) {
  static int count = 0;
  const std::string name = "." + path.filename().string() + "." + std::to_string(getpid()) + "." +
                           std::to_string(count++) + ".tmp";
  const fs::path unfinished = path.parent_path() / name;
  const std::string bytes = codec_of(path).encode(picture, encoding);
  std::error_code ignored;
  try {
    write_file(bytes, unfinished);
    publish(unfinished, path, overwrite);
  } catch (...) {
    fs::remove(unfinished, ignored);
    throw;
  }
  fs::remove(unfinished, ignored);
}

fs::path save_numbered(const Picture& picture, const Encoding& encoding, const Codec& codec,
                       const fs::path& folder) {
  fs::create_directories(folder);
  for (int number = highest_number(folder) + 1;; ++number) {
    const fs::path path = folder / (numbered(number) + codec.suffixes.front());
    try {
      save_picture(picture, encoding, path, false);
      return path;
    } catch (const fs::filesystem_error& error) {
      if (error.code() != std::errc::file_exists) throw;  // else another process took the number
    }
  }
}

}  // namespace trt_pipeline::cli
