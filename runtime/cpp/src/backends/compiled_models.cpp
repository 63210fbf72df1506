#include "compiled_models.hpp"

#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <optional>
#include <sstream>
#include <vector>

#include "../errors.hpp"
#include "../sha256.hpp"

namespace trt_pipeline::internal {
namespace {

constexpr std::size_t digest_size = 64;
constexpr std::size_t name_size = 32;
// Of all that is kept; what was not used for longest goes.
constexpr std::uintmax_t max_bytes = 1 << 30;

// Of this user; empty if the environment names none.
std::filesystem::path folder() {
  const auto variable = [](const char* name) {
    const char* const value = std::getenv(name);
    return std::filesystem::path(value ? value : "");
  };
  std::filesystem::path base = variable("XDG_CACHE_HOME");
  if (base.empty() && !variable("HOME").empty()) base = variable("HOME") / ".cache";
  return base.empty() ? base : base / "trt-pipeline" / "openvino";
}

// What keep wrote; none if there is nothing, or if it is damaged.
std::optional<std::string> kept(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary | std::ios::ate);
  if (!file || file.tellg() < std::streamoff{digest_size}) return std::nullopt;
  std::string digest(digest_size, '\0');
  std::string content(static_cast<std::size_t>(file.tellg()) - digest_size, '\0');
  file.seekg(0);
  file.read(digest.data(), std::ssize(digest));
  file.read(content.data(), std::ssize(content));
  if (!file || bytes_sha256(content) != digest) return std::nullopt;
  return content;
}

void make_room(const std::filesystem::path& folder) {
  std::vector<std::filesystem::directory_entry> files;
  for (const auto& file : std::filesystem::directory_iterator(folder)) {
    if (file.is_regular_file()) files.push_back(file);
  }
  std::ranges::sort(files, std::greater(), [](const auto& file) { return file.last_write_time(); });
  std::uintmax_t total = 0;
  for (const auto& file : files) {
    total += file.file_size();
    if (total > max_bytes) std::filesystem::remove(file);
  }
}

// A file that cannot be written is made again by the next process.
void keep(const std::filesystem::path& path, const std::string& content) {
  std::error_code failed;
  std::filesystem::create_directories(path.parent_path(), failed);
  const std::filesystem::path aside = concat(path.string(), ".", getpid(), ".new");
  std::ofstream file(aside, std::ios::binary);
  file << bytes_sha256(content) << content;
  file.close();
  if (file) std::filesystem::rename(aside, path, failed);
  if (!file || failed) std::filesystem::remove(aside, failed);
  try {
    make_room(path.parent_path());
  } catch (const std::filesystem::filesystem_error&) {
    // Another process made room, or the folder cannot be read.
  }
}

}  // namespace

CompiledModels::CompiledModels(ov::Core core) : core_(std::move(core)), folder_(folder()) {
  auto able = core_.get_property("CPU", ov::device::capabilities);
  std::ranges::sort(able);
  fits_ = concat(ov::get_openvino_version().buildNumber, "\n",
                 core_.get_property("CPU", ov::device::full_name), "\n");
  for (std::size_t i = 0; i < able.size(); ++i) fits_ += (i ? " " : "") + able[i];
}

ov::CompiledModel CompiledModels::compiled(const std::string& source, const Options& options,
                                           const std::function<ov::CompiledModel()>& make) {
  const ov::AnyMap config(options.begin(), options.end());
  std::string text = fits_ + "\n";
  for (const auto& [name, value] : options) text += concat(name, "=", value, "\n");
  const std::string name = bytes_sha256(text + source).substr(0, name_size) + ".model";
  const std::filesystem::path path = folder_ / name;
  const bool keeps = !folder_.empty();
  if (auto content = keeps ? kept(path) : std::nullopt) {
    try {
      std::istringstream stream(std::move(*content));
      ov::CompiledModel compiled = core_.import_model(stream, "CPU", config);
      std::error_code failed;
      std::filesystem::last_write_time(path, std::filesystem::file_time_type::clock::now(), failed);
      return compiled;
    } catch (const ov::Exception&) {
      // Another OpenVINO's, or another CPU's: compile again.
    }
  }
  ov::CompiledModel compiled = make();
  if (keeps) {
    std::ostringstream stream;
    compiled.export_model(stream);
    keep(path, std::move(stream).str());
  }
  return compiled;
}

}  // namespace trt_pipeline::internal
