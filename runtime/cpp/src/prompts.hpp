// Prompts: the caller's texts as token ids.
#pragma once

#include <vector>

#include "guidance.hpp"
#include "tokenizer.hpp"
#include "trt_pipeline.h"

namespace trt_pipeline::internal {

// What the pictures of a call show, and what guidance leads away from; both have one a picture.
struct Prompts {
  std::vector<Mixture> mixtures;
  std::vector<TextIds> negatives;
};

// The model's, one for each of its text encoders; none for a model without prompts.
using Tokenizers = std::vector<Tokenizer>;

// InvalidInputError for texts that no picture can be made of. warn: hears of texts that are cut.
// zeros: whether a negative prompt that is not given is no text instead of the empty one.
Prompts read_prompts(const trt_pipeline_settings& settings, const Tokenizers& tokenizers,
                     bool zeros, const Warn& warn);

// InvalidInputError naming the argument if it is NULL.
void require(const void* pointer, const char* name);

}  // namespace trt_pipeline::internal
