// Destinations: where a command's pictures go, and which of them are there already.
#pragma once

#include <filesystem>
#include <unordered_map>

#include "arguments.hpp"
#include "codec.hpp"
#include "jobs.hpp"

namespace trt_pipeline::cli {

// A folder for pictures, or one picture's file.
struct Destination {
  std::filesystem::path path;
  bool is_file;
  const Codec& codec;
  Encoding encoding;
  bool force;  // whether files may be replaced

  // Writes a job's picture and returns its path.
  std::filesystem::path save(const Picture& picture, const Job& job) const;
  // The file of a job that has a name, or of the only job.
  std::filesystem::path path_of(const Job& job) const;
  // Whether a job's picture could get this path.
  bool may_write(const std::filesystem::path& other) const;
  // InvalidInputError for several jobs of one file, and for settings that the format has no room
  // for.
  void check(const std::vector<Job>& jobs) const;
};

// Where the pictures go; what can be known of a bad output is refused before any work.
Destination open_destination(const Arguments& arguments);

// The format of a file to write; InvalidInputError if it is no picture's or in the way.
const Codec& check_file(const std::filesystem::path& output, bool force);

// The jobs with names whose pictures are there with the same settings, and need no work; one whose
// seed was drawn takes any. Without resume, none is kept. InvalidInputError for a file with other
// settings, or any without resume, unless it may be replaced.
std::unordered_map<const Job*, std::filesystem::path> kept_pictures(const Destination& destination,
                                                                    const std::vector<Job>& jobs,
                                                                    bool resume);

}  // namespace trt_pipeline::cli
