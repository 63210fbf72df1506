#include "vocabulary.hpp"

#include <algorithm>
#include <fstream>
#include <iterator>

#include "errors.hpp"
#include "unicode.hpp"

namespace trt_pipeline::internal {
namespace {

// BERT's largest vocabulary, of 120,000 tokens, takes 1 MB.
constexpr std::uintmax_t max_text_bytes = 16 << 20;

std::string text_of_file(const std::filesystem::path& path, const std::string& what) {
  std::error_code error;
  if (std::filesystem::file_size(path, error) > max_text_bytes && !error) {
    throw BundleError(concat(path.string(), " is larger than ", max_text_bytes,
                             " bytes, too large for ", what, "."));
  }
  std::ifstream stream(path, std::ios::binary);
  std::string content{std::istreambuf_iterator<char>(stream), {}};
  if (!stream) throw BundleError(concat(path.string(), " cannot be read as ", what, "."));
  return content;
}

}  // namespace

TextFiles read_text_files(const std::map<std::string, std::filesystem::path>& paths) {
  TextFiles files;
  for (const auto& [name, path] : paths) {
    const std::string what = name == "vocab" ? "a vocabulary" : name;
    files.emplace(name, TextFile{path.string(), text_of_file(path, what)});
  }
  return files;
}

std::vector<std::string> lines_of(const TextFile& file, const std::string& what) {
  std::string_view rest = file.content;
  std::size_t wrong = 0;
  if (!decode_utf8(rest, &wrong)) {
    throw BundleError(concat(file.path, " is not ", what, ": byte ", wrong, " is not UTF-8."));
  }
  std::vector<std::string> lines;
  while (!rest.empty()) {
    const std::size_t end = std::min(rest.find_first_of("\r\n"), rest.size());
    lines.emplace_back(rest.substr(0, end));
    const bool both = rest.substr(end).starts_with("\r\n");
    rest.remove_prefix(std::min(end + (both ? 2 : 1), rest.size()));
  }
  return lines;
}

Vocabulary::Vocabulary(const TextFile& file) : path_(file.path) {
  for (const std::string& token : lines_of(file, "a vocabulary")) {
    if (!ids_.emplace(token, size_++).second) {
      throw BundleError(
          concat(path_, " has the token ", brief(Json(token)), " twice. Export again."));
    }
  }
}

void Vocabulary::check(const TokenizerSpec& spec) {
  const auto check_id = [&](const char* name, std::int64_t id) {
    if (id >= size_) {
      throw BundleError(
          concat(path_, ": ", name, " is ", id, ", expected 0 to ", size_ - 1, ". Export again."));
    }
  };
  check_id("unk_id", spec.unk_id);
  for (const AddedToken& token : spec.added_tokens) {
    const std::int32_t* known = find(token.content);
    const std::int32_t expected = known ? *known : size_++;
    if (token.id != expected) {
      throw BundleError(concat(path_, ": the id of the added token ", brief(Json(token.content)),
                               " is ", token.id, ", expected ", expected,
                               ", its own in the vocabulary or the next one. Export again."));
    }
  }
  check_id("start_id", spec.start_id);
  check_id("end_id", spec.end_id);
  check_id("pad_id", spec.pad_id);
}

const std::int32_t* Vocabulary::find(std::string_view token) const {
  const auto found = ids_.find(token);
  return found == ids_.end() ? nullptr : &found->second;
}

}  // namespace trt_pipeline::internal
