#include "wordpiece.hpp"

#include <string>

namespace trt_pipeline::internal {
namespace {

constexpr std::size_t longest_word = 100;  // characters; a longer word is unknown

}  // namespace

WordPiece::WordPiece(const Vocabulary& vocabulary, const WordPieceRules& rules, std::int64_t unk_id)
    : vocabulary_(vocabulary), rules_(rules), unk_id_(static_cast<std::int32_t>(unk_id)) {}

Characters WordPiece::normalized(const Characters& given) const {
  Characters text = given;
  if (rules_.clean_text) text = clean(text);
  if (rules_.tokenize_chinese_chars) text = space_chinese(text);
  if (rules_.strip_accents.value_or(rules_.lowercase)) text = strip_accents(text);
  if (rules_.lowercase) text = lower_case(text);
  return text;
}

void WordPiece::split(const Characters& text, std::vector<Token>& found, std::size_t limit) const {
  Characters word;
  const auto finish_word = [&] {
    if (!word.empty()) split_word(word, found);
    word.clear();
  };
  for (const Character& c : text) {
    if (found.size() >= limit) return;
    const bool alone = is_punctuation(c.code);
    if (alone || is_whitespace(c.code)) finish_word();
    if (!is_whitespace(c.code)) word.push_back(c);
    if (alone) finish_word();
  }
  finish_word();
}

// Greedy: the longest piece that the vocabulary has, then the longest that continues it, and so on.
void WordPiece::split_word(const Characters& word, std::vector<Token>& found) const {
  const Token unknown{unk_id_, word.front().origin};
  if (word.size() > longest_word) {
    found.push_back(unknown);
    return;
  }
  std::vector<Token> pieces;
  for (std::size_t start = 0; start < word.size();) {
    std::string piece = start ? "##" : "";
    std::size_t end = start, best_end = start;
    std::int32_t best = 0;
    for (; end < word.size();) {
      append_utf8(piece, word[end++].code);
      if (const std::int32_t* id = vocabulary_.find(piece)) {
        best = *id;
        best_end = end;
      }
    }
    if (best_end == start) {
      found.push_back(unknown);
      return;
    }
    pieces.push_back({best, word[start].origin});
    start = best_end;
  }
  found.insert(found.end(), pieces.begin(), pieces.end());
}

}  // namespace trt_pipeline::internal
