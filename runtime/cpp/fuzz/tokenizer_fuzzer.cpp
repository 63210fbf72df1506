// Any bytes as a prompt become a row of ids of the vocabulary, or are refused. The first byte
// chooses the rules.
#include <algorithm>
#include <cstdint>
#include <cstdlib>

#include "errors.hpp"
#include "tokenizer.hpp"

namespace {

using namespace trt_pipeline::internal;

constexpr std::size_t length = 77;
// BERT's and CLIP's pieces.
const TextFiles files = {
    {"vocab",
     {"vocab.txt",
      "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na\nb\nc\n##a\n##b\nab\n##ab\n北\né\ne\n!\n.\n"
      "a</w>\nb</w>\nab</w>\naba</w>\nå\nĮ\nåĮ\n"}},
    {"merges", {"merges.txt", "a b\nab a</w>\na b</w>\nå Į\n"}}};

// Every flag, in the vocabulary and beyond it.
const std::vector<AddedToken> added = {
    {"[PAD]", 0, false, false, false, false}, {"[MASK]", 4, false, true, false, false},
    {"ab", 10, true, false, false, true},     {"<X>", 24, false, false, false, true},
    {" b", 25, false, true, false, true},     {"é北", 26, true, true, true, true},
    {"a  ", 27, false, false, true, false}};
constexpr std::int32_t last_id = 27;
constexpr unsigned choices = 256;

TokenizerSpec spec_of(unsigned bits) {
  TokenizerSpec spec{.files = {},
                     .max_length = length,
                     .padding_side = bits & 32 ? "left" : "right",
                     .truncation_side = bits & 16 ? "left" : "right",
                     .start_id = 2,
                     .end_id = 3,
                     .pad_id = 0,
                     .unk_id = 1,
                     .added_tokens = added,
                     .wordpiece = std::nullopt};
  if (bits & 128) return spec;
  spec.wordpiece = {.clean_text = !(bits & 64),
                    .lowercase = bool(bits & 1),
                    .strip_accents = bits & 8 ? std::nullopt : std::optional<bool>(bits & 2),
                    .tokenize_chinese_chars = bool(bits & 4)};
  return spec;
}

const Tokenizer& tokenizer_of(unsigned rules) {
  static const std::vector<Tokenizer> all = [] {
    std::vector<Tokenizer> tokenizers;
    for (unsigned bits = 0; bits < choices; ++bits) tokenizers.emplace_back(files, spec_of(bits));
    return tokenizers;
  }();
  return all[rules % choices];
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  try {
    const std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
    const InputIds ids = tokenizer_of(data[0]).encode(text, "prompt", [](const std::string&) {});
    if (ids.size() != length || std::ranges::find(ids, 2) == ids.end()) std::abort();
    for (std::int32_t id : ids) {
      if (id < 0 || id > last_id) std::abort();
    }
  } catch (const InvalidInputError&) {
  }
  return 0;
}
