#include "tokenizer.hpp"

#include <doctest/doctest.h>

#include "errors.hpp"
#include "golden.hpp"
#include "sha256.hpp"

using namespace trt_pipeline::internal;

namespace {

const std::string vocabulary = std::string(GOLDEN) + "/vocab.txt";

void ignore(const std::string&) {}

TokenizerSpec spec_of(const nlohmann::json& entry) {
  const auto& accents = entry["strip_accents"];
  return {"wordpiece",
          {{"vocab", "vocab.txt"}},
          entry["max_length"],
          entry["lowercase"],
          accents.is_null() ? std::nullopt : std::optional<bool>(accents.get<bool>()),
          entry["tokenize_chinese_chars"]};
}

Tokenizer usual() {
  return {std::filesystem::path(vocabulary), {"wordpiece", {}, 77, true, std::nullopt, true}};
}

std::string utf8(const Characters& characters) {
  std::string bytes;
  for (const Character& c : characters) append_utf8(bytes, c.code);
  return bytes;
}

// Words that BERT makes of a, the character and b.
std::string words(char32_t code) {
  return is_whitespace(code) ? "2" : is_punctuation(code) ? "3" : "1";
}

template <class Rule>
std::string digest(std::size_t plane, Rule rule) {
  std::string all;
  for (char32_t low = 0; low < 0x10000; ++low) {
    const char32_t code = static_cast<char32_t>(plane << 16) + low;
    if (code >= 0xD800 && code < 0xE000) continue;
    if (low) all += "\n";
    all += rule(code);
  }
  return bytes_sha256(all);
}

}  // namespace

TEST_CASE("every text has Python's ids under every choice of rules") {
  const auto golden_tokens = golden("tokenizer.json");
  for (const auto& expected : golden_tokens["cases"]) {
    const Tokenizer tokenizer(std::filesystem::path(vocabulary), spec_of(expected));
    for (std::size_t i = 0; i < golden_tokens["texts"].size(); ++i) {
      const auto text = golden_tokens["texts"][i].get<std::string>();
      CAPTURE(text);
      auto ids = expected["input_ids"][i].get<InputIds>();
      ids.resize(tokenizer.max_length(), 0);
      CHECK(tokenizer.encode(text, "prompt", ignore) == ids);
    }
  }
}

TEST_CASE("the warning about a cut-off text is Python's") {
  const auto tokens = golden("tokenizer.json");
  for (std::size_t i = 0; i < tokens["texts"].size(); ++i) {
    nlohmann::json warned;
    usual().encode(tokens["texts"][i].get<std::string>(), "prompt",
                   [&](const std::string& message) { warned = message; });
    CHECK(warned == tokens["cut_off"][i]);
  }
}

TEST_CASE("every character of Unicode is treated as in Python") {
  const auto digests = golden("characters.json");
  const auto one = [](Characters (*rule)(const Characters&)) {
    return [rule](char32_t code) { return utf8(rule({{code, 0}})); };
  };
  for (std::size_t plane = 0; plane < 17; ++plane) {
    CAPTURE(plane);
    CHECK(digest(plane, one(clean)) == digests["clean"][plane]);
    CHECK(digest(plane, one(space_chinese)) == digests["chinese"][plane]);
    CHECK(digest(plane, one(strip_accents)) == digests["strip_accents"][plane]);
    CHECK(digest(plane, one(lower_case)) == digests["lower_case"][plane]);
    CHECK(digest(plane, words) == digests["words"][plane]);
  }
}

TEST_CASE("bytes that are not UTF-8 are refused where they begin to be wrong") {
  for (const char* text :
       {"ab\xff", "ab\xc3", "ab\xed\xa0\x80", "ab\xf4\x90\x80\x80", "ab\xc0\x80"}) {
    CHECK_THROWS_WITH_AS(
        usual().encode(text, "prompt 0", ignore),
        "prompt 0 is not valid UTF-8 at byte 2. Read the text with its true encoding.",
        InvalidInputError);
  }
}

TEST_CASE("given ids are padded, and refused outside the vocabulary") {
  const std::int32_t ids[] = {2, 5, 3, -1, 100000};
  CHECK(usual().padded(ids, 3, "prompt 0").size() == 77);
  CHECK_THROWS_AS(usual().padded(ids, 4, "prompt 0"), InvalidInputError);
  CHECK_THROWS_AS(usual().padded(ids + 4, 1, "prompt 0"), InvalidInputError);
  CHECK_THROWS_AS(usual().padded(ids, 78, "prompt 0"), InvalidInputError);
  CHECK_THROWS_AS(usual().padded(ids, 0, "prompt 0"), InvalidInputError);
}

TEST_CASE("a vocabulary is read as Python reads lines") {
  const TokenizerSpec spec{"wordpiece", {}, 4, true, std::nullopt, true};
  const Tokenizer tokenizer("[PAD]\r\n[UNK]\r[CLS]\n[SEP]\n[MASK]\na\na", "vocab.txt", spec);
  CHECK(tokenizer.encode("a b", "prompt", ignore) == InputIds{2, 6, 1, 3});
  CHECK_THROWS_WITH_AS(Tokenizer("[PAD]\n[UNK]\n[CLS]", "vocab.txt", spec),
                       "vocab.txt lacks [SEP], [MASK], which a BERT tokenizer needs. Export again.",
                       BundleError);
  CHECK_THROWS_AS(Tokenizer("\xff", "vocab.txt", spec), BundleError);
}
