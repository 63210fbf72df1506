// Added tokens in a text, found as the tokenizers package finds them.
#pragma once

#include <string>
#include <unordered_map>
#include <vector>

#include "manifest.hpp"
#include "unicode.hpp"

namespace trt_pipeline::internal {

// Part of a text: an added token, or what lies between two.
struct Piece {
  std::size_t start, end;
  const AddedToken* token;  // null between two
};

class AddedTokens {
 public:
  // Looks for a token from now on where the text has `form`, which is more than white space. False
  // if another token has that form. The token must live as long as this.
  bool add(const std::u32string& form, const AddedToken& token);

  // The text in pieces: from left to right, the longest token that begins at a place.
  std::vector<Piece> split(const Characters& text) const;

 private:
  struct Form {
    std::u32string characters;
    const AddedToken* token;
  };

  const Form* longest_at(const Characters& text, std::size_t at) const;

  std::unordered_map<char32_t, std::vector<Form>> by_first_;  // the longest one first
};

}  // namespace trt_pipeline::internal
