// Prompt files: a prompt a line in .txt, or JSON objects with settings of their own in .jsonl.
#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "jobs.hpp"

namespace trt_pipeline::cli {

// One line of a prompt file that is neither empty nor a comment.
struct PromptLine {
  std::string origin;      // file and line number, as errors name them
  std::size_t number;      // from 1
  nlohmann::json entries;  // the prompt, and what else the line says
};

// What lines without entries of their own have.
struct LineDefaults {
  PictureSettings settings;
  Sources sources;
  int count;                          // pictures of a line
  std::optional<std::uint64_t> seed;  // plus the number of jobs before the line; none draws it
  std::int32_t scale;                 // by which a picture is larger than its image
};

// The lines of a prompt file; InvalidInputError names the first that cannot be read.
std::vector<PromptLine> read_prompt_file(const std::filesystem::path& path);

// The pictures that lines ask for, each named by its line and copy: 00012-1. A line with a seed s
// and a count makes the pictures s, s + 1, …; one with an image of its own has that one's size
// unless it says another. InvalidInputError names the line.
// folder: the file's, to which paths are relative.
std::vector<Job> file_jobs(const std::vector<PromptLine>& lines,
                           const std::filesystem::path& folder, const LineDefaults& defaults);

}  // namespace trt_pipeline::cli
