// What the rules of BERT and CLIP do to characters, equal to the tokenizers package.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace trt_pipeline::internal {

// A character of a text, and where in the text it came from.
struct Character {
  char32_t code;
  std::size_t origin;  // characters before it in the text as given
};
using Characters = std::vector<Character>;

// The characters of strict UTF-8; none if the bytes are not that, then *wrong is the first bad one.
std::optional<std::u32string> decode_utf8(std::string_view bytes, std::size_t* wrong = nullptr);
void append_utf8(std::string& bytes, char32_t code);

bool is_whitespace(char32_t code);
bool is_punctuation(char32_t code);
bool is_chinese(char32_t code);
bool is_letter(char32_t code);
bool is_number(char32_t code);
// A letter, digit, mark or underscore: what a word is made of.
bool is_word(char32_t code);

// Drops control characters and makes every white space a blank.
Characters clean(const Characters& text);
// Sets blanks around Chinese characters.
Characters space_chinese(const Characters& text);
// NFD without its nonspacing marks.
Characters strip_accents(const Characters& text);
Characters lower_case(const Characters& text);
// NFC.
Characters compose(const Characters& text);
// Makes a blank of each run of white space.
Characters join_whitespace(const Characters& text);

}  // namespace trt_pipeline::internal
