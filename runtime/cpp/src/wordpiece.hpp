// BERT's WordPiece, equal to the tokenizers package's.
#pragma once

#include "manifest.hpp"
#include "token_model.hpp"
#include "vocabulary.hpp"

namespace trt_pipeline::internal {

class WordPiece : public TokenModel {
 public:
  WordPiece(const Vocabulary& vocabulary, const WordPieceRules& rules, std::int64_t unk_id);

  Characters normalized(const Characters& text) const override;
  void split(const Characters& text, std::vector<Token>& found, std::size_t limit) const override;

 private:
  void split_word(const Characters& word, std::vector<Token>& found) const;

  Vocabulary vocabulary_;
  WordPieceRules rules_;
  std::int32_t unk_id_;
};

}  // namespace trt_pipeline::internal
