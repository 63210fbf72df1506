// What tokenizers differ in: how a text without added tokens becomes tokens.
#pragma once

#include <cstdint>
#include <vector>

#include "unicode.hpp"

namespace trt_pipeline::internal {

struct Token {
  std::int32_t id;
  std::size_t origin;  // characters before it in the text as given
};

// Safe to share between threads.
class TokenModel {
 public:
  virtual ~TokenModel() = default;

  virtual Characters normalized(const Characters& text) const = 0;
  // Appends the tokens of a normalized text; may stop once there are `limit` of them.
  virtual void split(const Characters& text, std::vector<Token>& found,
                     std::size_t limit) const = 0;
};

}  // namespace trt_pipeline::internal
