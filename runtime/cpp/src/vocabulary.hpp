// The files of a tokenizer: a vocabulary and, for byte pairs, merges.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "manifest.hpp"

namespace trt_pipeline::internal {

struct TextFile {
  std::string path;  // for error messages
  std::string content;
};
using TextFiles = std::map<std::string, TextFile>;  // what a file holds → the file

TextFiles read_text_files(const std::map<std::string, std::filesystem::path>& paths);

// Its lines as Python reads them: they end with \n, \r or both. BundleError if it is not UTF-8.
std::vector<std::string> lines_of(const TextFile& file, const std::string& what);

// Tokens and their ids.
class Vocabulary {
 public:
  // One token a line. BundleError for a token twice.
  explicit Vocabulary(const TextFile& file);

  // Gives the added tokens that it lacks the next ids; find() does not find those. BundleError for
  // an id that is not the token's, and for an id of the spec beyond all of them.
  void check(const TokenizerSpec& spec);

  // Null if the vocabulary lacks the token.
  const std::int32_t* find(std::string_view token) const;
  std::int32_t size() const { return size_; }

 private:
  struct Hash : std::hash<std::string_view> {
    using is_transparent = void;
  };

  std::string path_;
  std::unordered_map<std::string, std::int32_t, Hash, std::equal_to<>> ids_;
  std::int32_t size_ = 0;  // with the added tokens
};

}  // namespace trt_pipeline::internal
