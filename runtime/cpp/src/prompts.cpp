#include "prompts.hpp"

#include <cmath>

#include "arguments.hpp"
#include "errors.hpp"

namespace trt_pipeline::internal {
namespace {

constexpr double sum_tolerance = 1e-6;
constexpr double max_weight = 1e6;  // either way

// Reads one call's texts.
class PromptReader {
 public:
  PromptReader(const trt_pipeline_settings& settings, const Tokenizers& tokenizers,
               const Warn& warn)
      : settings_(settings), tokenizers_(tokenizers), warn_(warn) {}

  std::vector<Mixture> mixtures() const {
    if (settings_.prompt && settings_.prompt_count) {
      throw InvalidInputError("prompt and prompts both say what to show; give one.");
    }
    if (!settings_.prompt && !(settings_.prompts && settings_.prompt_count)) {
      throw InvalidInputError("prompt is missing; this model makes pictures of prompts.");
    }
    const trt_pipeline_text plain_text{settings_.prompt, nullptr, 0, 1.0};
    const trt_pipeline_prompt plain{&plain_text, 1};
    const trt_pipeline_prompt* prompts = settings_.prompt ? &plain : settings_.prompts;
    const std::size_t count = settings_.prompt ? 1 : settings_.prompt_count;
    const auto copies = static_cast<std::size_t>(settings_.num_images_per_prompt);
    std::vector<Mixture> mixtures;
    for (std::size_t i = 0; i < count; ++i) {
      mixtures.insert(mixtures.end(), copies, mixture(prompts[i], concat("prompt ", i)));
    }
    return mixtures;
  }

  std::vector<TextIds> negatives(std::size_t pictures, bool zeros) const {
    const std::size_t given = settings_.negative_prompt_count;
    if (!given) {
      const char* text = settings_.negative_prompt;
      return std::vector<TextIds>(pictures, text ? encoded(text, "negative_prompt") : none(zeros));
    }
    if (settings_.negative_prompt) {
      throw InvalidInputError("negative_prompt and negative_prompts are both given; give one.");
    }
    require(settings_.negative_prompts, "negative_prompts");
    check_one_a_picture("negative_prompts", given, pictures);
    std::vector<TextIds> negatives;
    for (std::size_t i = 0; i < given; ++i) {
      const trt_pipeline_text& text = settings_.negative_prompts[i];
      const bool is_given = text.text || text.input_ids;
      negatives.push_back(is_given ? ids(text, concat("negative_prompt ", i)) : none(zeros));
    }
    return negatives;
  }

 private:
  // Of a negative prompt that is not given.
  TextIds none(bool zeros) const { return zeros ? TextIds() : encoded("", "negative_prompt"); }

  // Says once what both tokenizers say.
  TextIds encoded(const char* text, const std::string& name) const {
    std::string told;
    const auto warn = [&](const std::string& message) {
      if (message != told) warn_(message);
      told = message;
    };
    TextIds ids;
    for (const Tokenizer& one : tokenizers_) ids.push_back(one.encode(text, name, warn));
    return ids;
  }

  TextIds ids(const trt_pipeline_text& text, const std::string& name) const {
    if (text.text && text.input_ids) {
      throw InvalidInputError(concat(name, " has a text and input_ids; give one."));
    }
    if (!text.text && !text.input_ids) {
      throw InvalidInputError(concat(name, " has neither a text nor input_ids."));
    }
    if (text.text) return encoded(text.text, name);
    if (tokenizers_.size() > 1) {
      throw InvalidInputError(
          concat(name, " has input_ids, but this model has two tokenizers; give a text."));
    }
    return {tokenizers_[0].padded(text.input_ids, text.input_id_count, name)};
  }

  Mixture mixture(const trt_pipeline_prompt& prompt, const std::string& name) const {
    if (!prompt.texts || prompt.text_count == 0) {
      throw InvalidInputError(concat(name, " has no texts, expected at least one."));
    }
    Mixture mixture;
    double total = 0;
    for (std::size_t i = 0; i < prompt.text_count; ++i) {
      const trt_pipeline_text& text = prompt.texts[i];
      total += checked_real(name + ": weight", text.weight, -max_weight, max_weight);
      mixture.push_back({ids(text, name), text.weight});
    }
    if (!(std::abs(total - 1) <= sum_tolerance)) {
      throw InvalidInputError(concat(name, ": its weights sum to ", total, ", expected 1."));
    }
    return mixture;
  }

  const trt_pipeline_settings& settings_;
  const Tokenizers& tokenizers_;
  const Warn& warn_;
};

}  // namespace

Prompts read_prompts(const trt_pipeline_settings& settings, const Tokenizers& tokenizers,
                     bool zeros, const Warn& warn) {
  const PromptReader reader(settings, tokenizers, warn);
  Prompts prompts{reader.mixtures(), {}};
  prompts.negatives = reader.negatives(prompts.mixtures.size(), zeros);
  return prompts;
}

void require(const void* pointer, const char* name) {
  if (!pointer) throw InvalidInputError(concat(name, " is NULL."));
}

}  // namespace trt_pipeline::internal
