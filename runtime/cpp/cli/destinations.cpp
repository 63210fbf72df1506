#include "destinations.hpp"

#include <unistd.h>

#include <algorithm>
#include <cctype>

#include "errors.hpp"
#include "picture_reader.hpp"
#include "picture_writer.hpp"

namespace trt_pipeline::cli {
namespace {

namespace fs = std::filesystem;
using internal::concat;
using internal::InvalidInputError;

void check_writable(const fs::path& folder) {
  if (!fs::is_directory(folder) || access(folder.c_str(), W_OK) != 0) {
    throw InvalidInputError(
        concat("output: ", folder.string(), " is no folder that can be written to."));
  }
}

fs::path nearest_existing(fs::path path) {
  path = fs::absolute(path).lexically_normal();
  while (!fs::exists(path) && path.has_parent_path() && path != path.parent_path()) {
    path = path.parent_path();
  }
  return path;
}

fs::path folder_of(const fs::path& path) {
  return path.has_parent_path() ? path.parent_path() : fs::path(".");
}

// How a file's settings differ from a job's, in words; empty if they don't.
std::string difference(const fs::path& path, const Job& job) {
  nlohmann::ordered_json there;
  try {
    there = to_json(read_settings(path));
    read_pixels(path.string(), path);
  } catch (const InvalidInputError& error) {
    std::string reason = error.what();
    if (reason.ends_with('.')) reason.pop_back();
    return reason;
  }
  const nlohmann::ordered_json own = to_json(job.settings);
  for (const auto& [name, wanted] : own.items()) {
    if (there[name] == wanted || (name == "seed" && job.any_seed)) continue;
    return concat(path.string(), " has ", name, " ", shown(there[name]), ", not ", shown(wanted));
  }
  return "";
}

void refuse(const Destination& destination, const std::string& reason) {
  if (destination.force) return;
  throw InvalidInputError(concat("output ", reason, "; --force replaces it."));
}

}  // namespace

fs::path Destination::save(const Picture& picture, const Job& job) const {
  if (!is_file && job.name.empty()) return save_numbered(picture, encoding, codec, path);
  const fs::path file = path_of(job);
  fs::create_directories(folder_of(file));
  save_picture(picture, encoding, file, force);
  return file;
}

fs::path Destination::path_of(const Job& job) const {
  return is_file ? path : path / (job.name + codec.suffixes.front());
}

bool Destination::may_write(const fs::path& other) const {
  const auto resolved = [](const fs::path& one) { return fs::weakly_canonical(fs::absolute(one)); };
  if (is_file) return resolved(other) == resolved(path);
  const std::string stem = other.stem().string();
  const bool numbered = stem.find_first_not_of("0123456789-") == std::string::npos;
  return numbered && resolved(folder_of(other)) == resolved(path);
}

void Destination::check(const std::vector<Job>& jobs) const {
  if (is_file && jobs.size() > 1) {
    throw InvalidInputError(concat("output ", path.string(), " is one file for ", jobs.size(),
                                   " pictures; name a folder."));
  }
  for (const Job& job : jobs) settings_text(job.settings, codec);
}

Destination open_destination(const Arguments& arguments) {
  if (arguments.output && arguments.output->empty()) {
    throw InvalidInputError("output is an empty path, expected a folder or a picture's file name.");
  }
  const fs::path output = arguments.output.value_or(".");
  const std::string& format = arguments.format;
  const bool is_file = !fs::is_directory(output) && (output.has_extension() || fs::exists(output));
  if (!is_file) check_writable(nearest_existing(output));
  const Codec& codec =
      is_file ? check_file(output, arguments.force) : codec_named(format.empty() ? "png" : format);
  require(codec);
  if (is_file && !format.empty() && format != codec.name) {
    throw InvalidInputError(
        concat("output ", output.string(), " is no ", format, " by its name; drop --format."));
  }
  if (is_file && arguments.prompt_file) {
    throw InvalidInputError(
        concat("output ", output.string(), " is one file; --prompts needs a folder."));
  }
  if (arguments.encoding.lossless && &codec == &jpeg_codec) {
    throw InvalidInputError("lossless: a JPEG cannot be; write a WebP or a PNG.");
  }
  return {output, is_file, codec, arguments.encoding, arguments.force};
}

const Codec& check_file(const fs::path& output, bool force) {
  const Codec& codec = codec_of(output);
  require(codec);
  const fs::path folder = folder_of(output);
  const std::string name = "output " + output.string();
  if (!fs::is_directory(folder)) {
    throw InvalidInputError(concat(name, ": there is no folder ", folder.string(), "."));
  }
  check_writable(folder);
  if (fs::is_directory(output)) {
    throw InvalidInputError(concat(name, " is a folder, expected a picture's file name."));
  }
  if (fs::exists(output) && !force) {
    throw InvalidInputError(concat(name, " exists; --force replaces it."));
  }
  return codec;
}

std::unordered_map<const Job*, fs::path> kept_pictures(const Destination& destination,
                                                       const std::vector<Job>& jobs, bool resume) {
  std::unordered_map<const Job*, fs::path> kept;
  for (const Job& job : jobs) {
    const fs::path path = destination.path_of(job);
    if (!fs::exists(path)) continue;
    const std::string reason =
        resume ? difference(path, job)
               : path.string() + " exists; --resume keeps pictures that are as wanted";
    if (reason.empty()) {
      kept.emplace(&job, path);
    } else {
      refuse(destination, reason);
    }
  }
  return kept;
}

}  // namespace trt_pipeline::cli
