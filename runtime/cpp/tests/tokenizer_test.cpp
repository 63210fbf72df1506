#include "tokenizer.hpp"

#include <doctest/doctest.h>

#include "errors.hpp"
#include "golden.hpp"
#include "sha256.hpp"

using namespace trt_pipeline::internal;

namespace {

void ignore(const std::string&) {}

// BERT's usual one, with this added to its tokens.
TokenizerSpec usual_spec(const std::vector<AddedToken>& added = {}) {
  TokenizerSpec spec = golden_spec(golden("manifest.json")["manifest"]["tokenizer"]);
  spec.added_tokens.insert(spec.added_tokens.end(), added.begin(), added.end());
  return spec;
}

Tokenizer usual(const TokenizerSpec& spec = usual_spec()) {
  return {{{"vocab", std::filesystem::path(GOLDEN) / "vocab.txt"}}, spec};
}

std::string warning_of(const TokenizerSpec& spec, const Json& cut) {
  return cut.is_null() ? ""
                       : concat("the model reads ", spec.max_length,
                                " tokens of a prompt; cut off: '", cut.get<std::string>(), "'");
}

Tokenizer own_tokenizer(const std::string& vocabulary, const TokenizerSpec& spec) {
  return {TextFiles{{"vocab", {"vocab.txt", vocabulary}}}, spec};
}

// CLIP's kind, of a golden file's first case.
TokenizerSpec clip_spec() {
  return golden_spec(golden("byte_pair.json")["cases"][0]["tokenizer"]);
}

// Its vocabulary with these merges.
Tokenizer clip_tokenizer(const std::string& merges) {
  TextFiles files = read_text_files({{"vocab", std::filesystem::path(GOLDEN) / "clip/vocab.txt"}});
  files.emplace("merges", TextFile{"merges.txt", merges});
  return {files, clip_spec()};
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

// Words that CLIP makes of a, the character twice and a.
std::string clip_words(char32_t code) {
  return is_letter(code) ? "1" : is_number(code) ? "4" : is_whitespace(code) ? "2" : "3";
}

std::string in_word(char32_t code) {
  return is_word(code) ? "1" : "0";
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

TEST_CASE("every text has Python's ids and warnings under every choice of rules") {
  for (const char* file : {"tokenizer.json", "byte_pair.json"}) {
    const auto expected = golden(file);
    for (const auto& entry : expected["cases"]) {
      const TokenizerSpec spec = golden_spec(entry["tokenizer"]);
      const Tokenizer tokenizer = golden_tokenizer(GOLDEN, entry["tokenizer"]);
      for (std::size_t i = 0; i < expected["texts"].size(); ++i) {
        const auto text = expected["texts"][i].get<std::string>();
        CAPTURE(entry["tokenizer"].dump());
        CAPTURE(text);
        auto ids = entry["input_ids"][i].get<InputIds>();
        const std::size_t padding = tokenizer.max_length() - ids.size();
        ids.insert(spec.padding_side == "left" ? ids.begin() : ids.end(), padding,
                   static_cast<std::int32_t>(spec.pad_id));
        std::string warned;
        const auto warn = [&](const std::string& message) { warned = message; };
        CHECK(tokenizer.encode(text, "prompt", warn) == ids);
        CHECK(warned == warning_of(spec, entry["cut_off"][i]));
      }
    }
  }
}

TEST_CASE("merges that the vocabulary does not allow are refused") {
  CHECK_NOTHROW(clip_tokenizer("t h\nth e</w>\n"));
  CHECK_THROWS_WITH_AS(clip_tokenizer("t h\nt h\n"),
                       "merges.txt has the merge \"t h\" twice. Export again.", BundleError);
  for (const char* merge : {"t", " t", "t ", "t  h", "t h e", ""}) {
    CHECK_THROWS_WITH_AS(clip_tokenizer(concat(merge, "\n")),
                         concat("merges.txt: the merge ", brief(Json(merge)),
                                " is not two tokens with a blank between them. Export again.")
                             .c_str(),
                         BundleError);
  }
  CHECK_THROWS_WITH_AS(clip_tokenizer("q x\n"),
                       "merges.txt: the merge \"q x\" needs the token \"qx\", which the "
                       "vocabulary lacks. Export again.",
                       BundleError);
  CHECK_THROWS_AS(clip_tokenizer("\xff"), BundleError);
}

TEST_CASE("a word of many thousand letters takes no time to speak of") {
  const Tokenizer tokenizer = clip_tokenizer("t h\nth e</w>\n");
  CHECK(tokenizer.encode(std::string(100000, 't') + "he", "prompt", ignore).size() == 77);
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
    CHECK(digest(plane, in_word) == digests["in_word"][plane]);
  }
}

TEST_CASE("every character of Unicode is treated by CLIP's rules as in Python") {
  const auto digests = golden("byte_pair.json")["characters"];
  const auto normal = [](const Characters& text) {
    return utf8(lower_case(join_whitespace(compose(text))));
  };
  for (std::size_t plane = 0; plane < 17; ++plane) {
    CAPTURE(plane);
    CHECK(digest(plane, [&](char32_t c) { return normal({{c, 0}}); }) ==
          digests["normalized"][plane]);
    CHECK(digest(plane, [&](char32_t c) { return normal({{U'a', 0}, {0x345, 1}, {c, 2}}); }) ==
          digests["after_a_mark"][plane]);
    CHECK(digest(plane, clip_words) == digests["words"][plane]);
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
  TokenizerSpec spec = usual_spec();
  spec.max_length = 4;
  const Tokenizer tokenizer = own_tokenizer("[PAD]\r\n[UNK]\r[CLS]\n[SEP]\n[MASK]\nb\na", spec);
  CHECK(tokenizer.encode("a c", "prompt", ignore) == InputIds{2, 6, 1, 3});
  CHECK_THROWS_WITH_AS(own_tokenizer("a\nb\na", spec),
                       "vocab.txt has the token \"a\" twice. Export again.", BundleError);
  CHECK_THROWS_AS(own_tokenizer("\xff", spec), BundleError);
}

TEST_CASE("ids that the vocabulary does not have are refused") {
  const std::string tokens = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na\n";
  const auto refusal = [&](const TokenizerSpec& spec) -> std::string {
    try {
      own_tokenizer(tokens, spec);
    } catch (const BundleError& error) {
      return error.what();
    }
    return "ok";
  };
  const auto adding = [&](const std::vector<AddedToken>& added) {
    return refusal(usual_spec(added));
  };
  CHECK(adding({{"<x>", 6, false, false, false, false}}) == "ok");
  CHECK(adding({{"<x>", 7, false, false, false, false}}) ==
        "vocab.txt: the id of the added token \"<x>\" is 7, expected 6, its own in the vocabulary "
        "or the next one. Export again.");
  CHECK(adding({{"a", 6, false, false, false, false}}) ==
        "vocab.txt: the id of the added token \"a\" is 6, expected 5, its own in the vocabulary or "
        "the next one. Export again.");
  CHECK(adding({{" ", 6, false, false, false, false}}) ==
        "vocab.txt: the added token \" \" is nothing but white space.");
  CHECK(adding({{"\a", 6, false, false, false, true}}) ==
        "vocab.txt: the added token \"\\u0007\" is nothing but white space.");
  CHECK(adding({{"X", 6, false, false, false, true}, {"x", 7, false, false, false, true}}) ==
        "vocab.txt: the added token \"x\" is another one once normalized, so no text could mean "
        "it.");
  TokenizerSpec spec = usual_spec();
  spec.unk_id = 6;
  CHECK(refusal(spec) == "vocab.txt: unk_id is 6, expected 0 to 5. Export again.");
}

TEST_CASE("padding stands on the side that the bundle says, for given ids too") {
  TokenizerSpec spec = usual_spec();
  spec.max_length = 5;
  spec.padding_side = "left";
  spec.pad_id = 4;
  const Tokenizer tokenizer = own_tokenizer("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na", spec);
  const std::int32_t ids[] = {2, 5, 3};
  CHECK(tokenizer.padded(ids, 3, "prompt 0") == InputIds{4, 4, 2, 5, 3});
  CHECK(tokenizer.encode("a a", "prompt", ignore) == InputIds{4, 2, 5, 5, 3});
}

TEST_CASE("a model of two tokens reads nothing") {
  for (const char* side : {"left", "right"}) {
    TokenizerSpec spec = usual_spec();
    spec.max_length = 2;
    spec.truncation_side = side;
    std::string warned;
    const auto warn = [&](const std::string& message) { warned = message; };
    const Tokenizer tokenizer = usual(spec);
    CHECK(tokenizer.encode("a red", "prompt", warn) == InputIds{2, 3});
    CHECK(warned == "the model reads 2 tokens of a prompt; cut off: 'a red'");
  }
}
