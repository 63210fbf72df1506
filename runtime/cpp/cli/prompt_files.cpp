#include "prompt_files.hpp"

#include <algorithm>
#include <array>
#include <cctype>
#include <cstdio>
#include <string_view>

#include "arguments.hpp"
#include "decoding.hpp"
#include "errors.hpp"
#include "files.hpp"
#include "strict_json.hpp"

namespace trt_pipeline::cli {
namespace {

namespace fs = std::filesystem;
using internal::concat;
using internal::InvalidInputError;
using nlohmann::json;

constexpr std::string_view byte_order_mark = "\xef\xbb\xbf";
constexpr std::string_view spaces = " \t\v\f\x1c\x1d\x1e\x1f";

// What a line of a .jsonl file may say; only the prompt must be there.
constexpr const char* line_settings[] = {"prompt",
                                         "seed",
                                         "negative_prompt",
                                         "guidance_scale",
                                         "guidance_interval",
                                         "num_inference_steps",
                                         "eta",
                                         "sampler",
                                         "schedule",
                                         "timestep_spacing",
                                         "height",
                                         "width",
                                         "image",
                                         "mask_image",
                                         "strength",
                                         "vae_tile_size",
                                         "cache_interval",
                                         "count"};

// Runs what reads a line; an error then names it.
template <class Function>
auto on_line(const std::string& origin, Function function) {
  try {
    return function();
  } catch (const std::exception& error) {
    std::string reason = error.what();
    if (reason.ends_with('.')) reason.pop_back();
    throw InvalidInputError(concat(origin, ": ", reason, "."));
  }
}

std::vector<std::string_view> split_lines(std::string_view text) {
  std::vector<std::string_view> lines;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find_first_of("\r\n"), text.size());
    lines.push_back(text.substr(0, end));
    text.remove_prefix(text.substr(end).starts_with("\r\n") ? end + 2
                                                            : std::min(end + 1, text.size()));
  }
  return lines;
}

std::string_view stripped(std::string_view text) {
  const std::size_t start = std::min(text.find_first_not_of(spaces), text.size());
  const std::size_t end = text.find_last_not_of(spaces) + 1;
  return text.substr(start, std::max(start, end) - start);
}

json entries_of(const std::string& text) {
  json entries;
  try {
    entries = internal::strict_json(text);
  } catch (const json::exception& error) {
    throw InvalidInputError(concat("no JSON: ", error.what()));
  }
  if (!entries.is_object()) {
    throw InvalidInputError(concat("it is ", shown(json(text)), ", expected a JSON object"));
  }
  std::string known;
  for (const char* name : line_settings) internal::enlist(known, name);
  for (const auto& [name, value] : entries.items()) {
    if (std::ranges::find(line_settings, name) == std::end(line_settings)) {
      throw InvalidInputError(concat(shown(json(name)), " is unknown, expected ", known));
    }
  }
  if (!entries.contains("prompt")) throw InvalidInputError("it has no prompt");
  return entries;
}

json entries_of_text(const std::string& text) {
  json entries = {{"prompt", text}};
  static_cast<void>(entries.dump());  // throws unless the text is UTF-8
  return entries;
}

int count_of(const PromptLine& line, int count) {
  if (!line.entries.contains("count")) return count;
  const json& given = line.entries["count"];
  if (given.is_number_integer() && given >= 1 && given <= max_count) return given.get<int>();
  throw InvalidInputError(concat(line.origin, ": count must be an integer from 1 to ", max_count,
                                 ", got ", shown(given), "."));
}

// A path of a line, relative to the file's folder; none for null and an empty text.
void take_path(json& entries, const char* name, const fs::path& folder,
               std::optional<fs::path>& target) {
  if (!entries.contains(name)) return;
  const internal::Entry entry{entries[name], concat("settings.", name)};
  target.reset();
  if (!entry.is_null() && !entry.string().empty()) target = folder / entry.string();
  entries.erase(name);  // the settings have its hash instead
}

Job job_of(const PromptLine& line, const fs::path& folder, const LineDefaults& defaults) {
  json entries = line.entries;
  entries.erase("count");
  const bool own_image = entries.contains("image");
  Job job{defaults.settings, defaults.sources, line.origin};
  take_path(entries, "image", folder, job.sources.image);
  take_path(entries, "mask_image", folder, job.sources.mask_image);
  job.settings = replaced(defaults.settings, entries);
  if (own_image) job.settings = sized(job.settings, job.sources, entries, defaults.scale);
  job.settings = traced(job.settings, job.sources);
  return job;
}

std::string name_of(const PromptLine& line, std::size_t copy) {
  std::array<char, 48> name{};
  std::snprintf(name.data(), name.size(), "%05zu-%zu", line.number, copy);
  return name.data();
}

}  // namespace

std::vector<PromptLine> read_prompt_file(const fs::path& path) {
  std::string kind = path.extension().string();
  std::ranges::transform(kind, kind.begin(), [](unsigned char c) { return std::tolower(c); });
  if (kind != ".txt" && kind != ".jsonl") {
    throw InvalidInputError(
        concat(path.string(), ": a prompt file's name ends in .txt (a prompt a line) or .jsonl."));
  }
  const std::string content = read_file(path.string(), path);
  std::string_view left = content;
  if (left.starts_with(byte_order_mark)) left.remove_prefix(byte_order_mark.size());
  std::vector<PromptLine> lines;
  std::size_t number = 0;
  for (const std::string_view raw : split_lines(left)) {
    const std::string origin = concat(path.string(), " line ", ++number);
    const std::string text(stripped(raw));
    if (text.empty() || (kind == ".txt" && text.starts_with('#'))) continue;
    lines.push_back({origin, number, on_line(origin, [&] {
                       return kind == ".jsonl" ? entries_of(text) : entries_of_text(text);
                     })});
  }
  if (lines.empty()) throw InvalidInputError(concat(path.string(), " holds no prompts."));
  return lines;
}

std::vector<Job> file_jobs(const std::vector<PromptLine>& lines, const fs::path& folder,
                           const LineDefaults& defaults) {
  std::size_t total = 0;
  for (const PromptLine& line : lines) {
    total += static_cast<std::size_t>(count_of(line, defaults.count));
  }
  const auto seeds = image_seeds(defaults.seed, total);
  std::vector<Job> jobs;
  for (const PromptLine& line : lines) {
    const auto copies = static_cast<std::size_t>(count_of(line, defaults.count));
    const Job job = on_line(line.origin, [&] { return job_of(line, folder, defaults); });
    const bool drawn = !line.entries.contains("seed");
    const auto own = on_line(line.origin, [&] {
      return image_seeds(drawn ? seeds[jobs.size()] : job.settings.seed, copies);
    });
    for (std::size_t copy = 0; copy < copies; ++copy) {
      Job& made = jobs.emplace_back(job);
      made.settings.seed = own[copy];
      made.name = name_of(line, copy + 1);
      made.any_seed = drawn && !defaults.seed;
    }
  }
  return jobs;
}

}  // namespace trt_pipeline::cli
