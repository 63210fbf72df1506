#include "output.hpp"

#include <unistd.h>

#include <array>
#include <cerrno>
#include <charconv>
#include <cstdio>
#include <memory>
#include <system_error>

#include "errors.hpp"

namespace trt_pipeline::cli {
namespace {

namespace fs = std::filesystem;
using internal::concat;
using internal::InvalidInputError;

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

void save_whole(const std::string& bytes, const fs::path& path, bool overwrite) {
  const fs::path unfinished =
      path.parent_path() / concat(".", path.filename().string(), ".", getpid(), ".tmp");
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

std::string numbered(int number) {
  std::array<char, 20> name{};
  std::snprintf(name.data(), name.size(), "%05d.png", number);
  return name.data();
}

int highest_number(const fs::path& folder) {
  int highest = -1;
  for (const auto& entry : fs::directory_iterator(folder)) {
    const std::string stem = entry.path().stem().string();
    int number = 0;
    const auto [end, error] = std::from_chars(stem.data(), stem.data() + stem.size(), number);
    if (error == std::errc() && end == stem.data() + stem.size()) {
      highest = std::max(highest, number);
    }
  }
  return highest;
}

void check_writable(const fs::path& folder) {
  if (fs::is_directory(folder) && access(folder.c_str(), W_OK) == 0) return;
  throw InvalidInputError(
      concat("output: ", folder.string(), " is not a folder that can be written to."));
}

fs::path nearest_existing(fs::path path) {
  path = fs::absolute(path).lexically_normal();
  while (!fs::exists(path) && path != path.parent_path()) path = path.parent_path();
  return path;
}

// Whether a name ends as a file's does; the .5 of v1.5 is a version's.
bool names_a_file(const fs::path& path) {
  const std::string extension = path.extension().string();
  return extension.size() > 1 && !(extension[1] >= '0' && extension[1] <= '9');
}

}  // namespace

Output::Output(fs::path path, bool force, std::size_t pictures)
    : path_(std::move(path)),
      force_(force),
      is_file_(!fs::is_directory(path_) && (names_a_file(path_) || fs::exists(path_))) {
  const std::string name = concat("output ", path_.string());
  if (path_.empty()) throw InvalidInputError("output is empty; name a folder or a picture.");
  if (!is_file_) {
    check_writable(nearest_existing(path_));
    return;
  }
  if (path_.extension() != ".png") {
    throw InvalidInputError(concat(name, ": a picture's name ends in .png. If it shall be a ",
                                   "folder, make it first."));
  }
  check_writable(path_.has_parent_path() ? path_.parent_path() : fs::path("."));
  if (fs::exists(path_) && !force_) {
    throw InvalidInputError(concat(name, " exists; --force replaces it."));
  }
  if (pictures > 1) {
    throw InvalidInputError(
        concat(name, " is one file for ", pictures, " pictures; name a folder."));
  }
}

fs::path Output::save(const std::string& bytes) const {
  if (is_file_) {
    save_whole(bytes, path_, force_);
    return path_;
  }
  fs::create_directories(path_);
  for (int number = highest_number(path_) + 1;; ++number) {
    const fs::path path = path_ / numbered(number);
    try {
      save_whole(bytes, path, false);
      return path;
    } catch (const fs::filesystem_error& error) {
      if (error.code() != std::errc::file_exists) throw;  // else another process took the number
    }
  }
}

}  // namespace trt_pipeline::cli
