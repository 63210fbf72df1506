#include "files.hpp"

#include <array>
#include <cerrno>
#include <cstdio>
#include <memory>
#include <system_error>

#include "errors.hpp"

namespace trt_pipeline::cli {
namespace {

using internal::concat;
using internal::InvalidInputError;

constexpr std::size_t most_bytes = std::size_t{1} << 30;

[[noreturn]] void refuse_file(const std::string& name) {
  const std::string reason = std::error_code(errno, std::generic_category()).message();
  throw InvalidInputError(concat(name, " cannot be read: ", reason, "."));
}

}  // namespace

std::string read_file(const std::string& name, const std::filesystem::path& path) {
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::fopen(path.c_str(), "rb"),
                                                             std::fclose);
  if (!file) refuse_file(name);
  std::string bytes;
  std::array<char, 1 << 16> part;
  while (const std::size_t count = std::fread(part.data(), 1, part.size(), file.get())) {
    bytes.append(part.data(), count);
    if (bytes.size() > most_bytes) {
      throw InvalidInputError(concat(name, " has more than ", most_bytes, " bytes."));
    }
  }
  if (std::ferror(file.get())) refuse_file(name);
  return bytes;
}

}  // namespace trt_pipeline::cli
