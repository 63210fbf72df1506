// Any bytes as a prompt become a row of ids of the vocabulary, or are refused. The first byte
// chooses the rules.
#include <cstdint>
#include <cstdlib>

#include "errors.hpp"
#include "tokenizer.hpp"

namespace {

using namespace trt_pipeline::internal;

constexpr std::size_t length = 77;
constexpr const char* vocabulary =
    "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na\nb\nc\n##a\n##b\nab\n##ab\n北\né\ne\n!\n.\n";

const Tokenizer& tokenizer_of(unsigned rules) {
  static const auto make = [](unsigned bits) {
    const bool follows = bits & 8;
    return Tokenizer(std::string_view(vocabulary), "vocab.txt",
                     {"wordpiece",
                      {},
                      length,
                      bool(bits & 1),
                      follows ? std::nullopt : std::optional<bool>(bits & 2),
                      bool(bits & 4)});
  };
  static const std::vector<Tokenizer> all = [] {
    std::vector<Tokenizer> tokenizers;
    for (unsigned bits = 0; bits < 16; ++bits) tokenizers.push_back(make(bits));
    return tokenizers;
  }();
  return all[rules % 16];
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  try {
    const std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
    const InputIds ids = tokenizer_of(data[0]).encode(text, "prompt", [](const std::string&) {});
    if (ids.size() != length || ids[0] != 2) std::abort();
    for (std::int32_t id : ids) {
      if (id < 0 || id > 16) std::abort();
    }
  } catch (const InvalidInputError&) {
  }
  return 0;
}
