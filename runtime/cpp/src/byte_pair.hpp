// CLIP's byte-pair encoding, equal to the tokenizers package's.
#pragma once

#include <array>
#include <unordered_map>

#include "token_model.hpp"
#include "vocabulary.hpp"

namespace trt_pipeline::internal {

class BytePair : public TokenModel {
 public:
  // merges: one a line, the first to be made first: two tokens with a blank between them.
  // BundleError for a merge twice, or of tokens that the vocabulary lacks.
  BytePair(const Vocabulary& vocabulary, const TextFile& merges, std::int64_t unk_id);

  Characters normalized(const Characters& text) const override;
  void split(const Characters& text, std::vector<Token>& found, std::size_t limit) const override;

 private:
  struct Merge {
    std::size_t rank;
    std::int32_t id;  // of what two tokens become
  };
  // A part of a word in a list of those that are left.
  struct Symbol {
    Token token;
    std::size_t previous, next;  // `none` at an end
    bool gone = false;
  };

  void read_merge(const std::string& path, const std::string& line, const Vocabulary& vocabulary);
  const Merge* merge_of(std::int32_t first, std::int32_t second) const;
  void split_word(const Character* begin, const Character* end, std::vector<Token>& found) const;
  std::vector<Symbol> symbols_of(const Character* begin, const Character* end) const;
  void merge_all(std::vector<Symbol>& symbols) const;

  std::array<std::int32_t, 256> bytes_{}, last_bytes_{};  // ids; of a word's last byte
  std::unordered_map<std::uint64_t, Merge> merges_;   // both ids → merge
};

}  // namespace trt_pipeline::internal
