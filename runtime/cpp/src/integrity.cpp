#include "integrity.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <system_error>

#include "errors.hpp"
#include "names.hpp"
#include "sha256.hpp"

namespace trt_pipeline::internal {
namespace {

namespace fs = std::filesystem;

[[noreturn]] void fail(int code) {
  throw FileError(code, std::generic_category().message(code));
}

struct stat status_of(std::FILE* stream) {
  struct stat status {};
  if (fstat(fileno(stream), &status) != 0) fail(errno);
  return status;
}

// Whether one of the folders that a name passes through is a link.
bool passes_link(const fs::path& folder, const std::string& name) {
  fs::path path = folder;
  return std::ranges::any_of(fs::path(name).parent_path(),
                             [&](const fs::path& part) { return fs::is_symlink(path /= part); });
}

std::string problem_of(std::FILE* stream, const std::string& name, const FileSpec& spec,
                       bool hashes) {
  const struct stat status = status_of(stream);
  if (status.st_nlink > 1) {
    return concat(name, " is a hard link, one of ", status.st_nlink, " names of a file");
  }
  if (status.st_size != spec.size) {
    return concat(name, " has ", counted(status.st_size, "byte"), ", but ", manifest_name, " says ",
                  spec.size);
  }
  if (hashes && stream_sha256(stream) != spec.sha256) {
    return concat(name, " has another sha256 than ", manifest_name, " says");
  }
  return "";
}

}  // namespace

FileStream open_regular(const fs::path& path) {
  struct stat status {};
  if (lstat(path.c_str(), &status) != 0) fail(errno);
  if (!S_ISREG(status.st_mode)) throw FileError(EINVAL, "it is not a regular file");
  // Should it be replaced now, a link is not followed, and a pipe's writer not waited for.
  const int descriptor = open(path.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
  if (descriptor < 0) fail(errno);
  FileStream stream(fdopen(descriptor, "rb"), std::fclose);
  if (!stream) {
    const int code = errno;
    close(descriptor);
    fail(code);
  }
  return stream;
}

std::string read_bytes(std::FILE* stream, std::size_t max_bytes) {
  const struct stat status = status_of(stream);
  std::string bytes(std::min(max_bytes, static_cast<std::size_t>(status.st_size)), '\0');
  bytes.resize(std::fread(bytes.data(), 1, bytes.size(), stream));
  if (std::ferror(stream)) fail(errno);
  return bytes;
}

std::string file_problem(const fs::path& folder, const std::string& name, const FileSpec& spec,
                         bool hashes) {
  try {
    if (passes_link(folder, name)) return name + " is reached through a link";
    return problem_of(open_regular(folder / name).get(), name, spec, hashes);
  } catch (const std::system_error& error) {
    return concat(name, " cannot be read (", error.code().message(), ")");
  } catch (const std::exception& error) {  // none may leave a thread
    return concat(name, " cannot be read (", error.what(), ")");
  }
}

}  // namespace trt_pipeline::internal
