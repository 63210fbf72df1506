// Prompts to token ids: BERT WordPiece, equal to the Python runtime's Tokenizer.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "manifest.hpp"
#include "unicode.hpp"

namespace trt_pipeline::internal {

using InputIds = std::vector<std::int32_t>;
using Warn = std::function<void(const std::string&)>;

// Safe to share between threads.
class Tokenizer {
 public:
  // vocab: a file with one token a line. BundleError if it can't serve a BERT tokenizer.
  Tokenizer(const std::filesystem::path& vocab, const TokenizerSpec& spec);
  // The same from the file's content; `path` is for error messages.
  Tokenizer(std::string_view content, const std::string& path, const TokenizerSpec& spec);

  // [max_length]: [CLS], the text, [SEP], padding. A longer text loses its end, and `warn` hears
  // which. InvalidInputError if `text`, called `name`, is not UTF-8.
  InputIds encode(std::string_view text, const std::string& name, const Warn& warn) const;

  // Ids that the caller made: checked, and padded to max_length.
  InputIds padded(const std::int32_t* ids, std::size_t count, const std::string& name) const;

  std::size_t max_length() const { return max_length_; }

 private:
  struct Token {
    std::int32_t id;
    std::size_t origin;
  };
  struct Hash : std::hash<std::string_view> {
    using is_transparent = void;
  };

  void read_vocabulary(std::string_view content, const std::string& path);
  std::vector<Token> tokens(const std::u32string& text, std::size_t limit) const;
  Characters normalized(const std::u32string& text, std::size_t start, std::size_t end) const;
  void split_words(const Characters& text, std::vector<Token>& found, std::size_t limit) const;
  void split_pieces(const Characters& word, std::vector<Token>& found) const;

  std::unordered_map<std::string, std::int32_t, Hash, std::equal_to<>> ids_;
  std::int32_t vocabulary_size_ = 0;
  std::size_t max_length_;
  bool lowercase_;
  bool strip_accents_;
  bool tokenize_chinese_chars_;
};

}  // namespace trt_pipeline::internal
