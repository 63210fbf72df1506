// Prompts to token ids, equal to the Python runtime's Tokenizer.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "added_tokens.hpp"
#include "manifest.hpp"
#include "token_model.hpp"
#include "unicode.hpp"
#include "vocabulary.hpp"

namespace trt_pipeline::internal {

using InputIds = std::vector<std::int32_t>;
using Warn = std::function<void(const std::string&)>;

// Safe to share between threads.
class Tokenizer {
 public:
  // paths: what a file holds → the file. BundleError for files that do not fit the spec.
  Tokenizer(const std::map<std::string, std::filesystem::path>& paths, const TokenizerSpec& spec);
  Tokenizer(const TextFiles& files, const TokenizerSpec& spec);

  // [max_length]: the start, the text, the end, and padding on its side. A longer text loses tokens
  // at truncation_side, and `warn` hears which. InvalidInputError if `text`, called `name`, is not
  // UTF-8.
  InputIds encode(std::string_view text, const std::string& name, const Warn& warn) const;

  // Ids that the caller made: checked, and padded to max_length.
  InputIds padded(const std::int32_t* ids, std::size_t count, const std::string& name) const;

  std::size_t max_length() const { return static_cast<std::size_t>(spec_->max_length); }

 private:
  void add_tokens(const std::string& path);
  InputIds padded(const InputIds& ids) const;
  std::u32string spelled_out(std::u32string text) const;
  std::vector<Token> tokens(const std::u32string& text, std::size_t limit) const;
  void split_normalized(const Characters& text, std::vector<Token>& found, std::size_t limit) const;

  std::shared_ptr<const TokenizerSpec> spec_;  // where the added tokens live
  std::shared_ptr<const TokenModel> model_;
  std::int32_t size_ = 0;  // of the vocabulary and the tokens added to it
  AddedTokens as_given_;   // those that are looked for in the text as it was given
  AddedTokens in_normalized_;
};

}  // namespace trt_pipeline::internal
