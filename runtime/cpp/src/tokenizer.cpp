#include "tokenizer.hpp"

#include <algorithm>
#include <array>
#include <fstream>
#include <iterator>

#include "errors.hpp"

namespace trt_pipeline::internal {
namespace {

struct Special {
  const char* name;
  std::u32string_view characters;
};
constexpr std::array<Special, 5> specials = {{{"[PAD]", U"[PAD]"},
                                              {"[UNK]", U"[UNK]"},
                                              {"[CLS]", U"[CLS]"},
                                              {"[SEP]", U"[SEP]"},
                                              {"[MASK]", U"[MASK]"}}};

// BERT's largest vocabulary, of 120,000 tokens, takes 1 MB.
constexpr std::uintmax_t max_vocabulary_bytes = 16 << 20;
constexpr std::int64_t max_characters = 1 << 17;  // of a text; a text encoder reads some 77 words
constexpr std::size_t longest_word = 100;         // characters; a longer word is unknown
constexpr std::size_t shown_characters = 80;      // characters of cut-off text that a warning shows

std::string read_file(const std::filesystem::path& path) {
  std::error_code error;
  if (std::filesystem::file_size(path, error) > max_vocabulary_bytes && !error) {
    throw BundleError(concat(path.string(), " is larger than ", max_vocabulary_bytes,
                             " bytes, too large for a vocabulary."));
  }
  std::ifstream stream(path, std::ios::binary);
  std::string content{std::istreambuf_iterator<char>(stream), {}};
  if (!stream) throw BundleError(path.string() + " cannot be read as a vocabulary.");
  return content;
}

// The special token that `text` holds at `at`, if any.
const Special* special_at(std::u32string_view text, std::size_t at) {
  for (const Special& special : specials) {
    if (text.substr(at).starts_with(special.characters)) return &special;
  }
  return nullptr;
}

std::string utf8(std::u32string_view text) {
  std::string bytes;
  for (char32_t code : text) append_utf8(bytes, code);
  return bytes;
}

std::string cut_warning(std::u32string_view rest, std::size_t max_length) {
  const std::string text =
      utf8(rest.substr(0, shown_characters)) + (rest.size() > shown_characters ? "…" : "");
  return concat("the model reads ", max_length, " tokens of a prompt; cut off: '", text, "'");
}

}  // namespace

Tokenizer::Tokenizer(const std::filesystem::path& vocab, const TokenizerSpec& spec)
    : Tokenizer(read_file(vocab), vocab.string(), spec) {}

Tokenizer::Tokenizer(std::string_view content, const std::string& path, const TokenizerSpec& spec)
    : max_length_(static_cast<std::size_t>(spec.max_length)),
      lowercase_(spec.lowercase),
      strip_accents_(spec.strip_accents.value_or(spec.lowercase)),
      tokenize_chinese_chars_(spec.tokenize_chinese_chars) {
  read_vocabulary(content, path);
}

// Lines end as Python reads them: with \n, \r or both. Of equal lines the last one counts.
void Tokenizer::read_vocabulary(std::string_view content, const std::string& path) {
  std::size_t wrong = 0;
  if (!decode_utf8(content, &wrong)) {
    throw BundleError(concat(path, " is not a vocabulary: byte ", wrong, " is not UTF-8."));
  }
  while (!content.empty()) {
    const std::size_t end = std::min(content.find_first_of("\r\n"), content.size());
    ids_[std::string(content.substr(0, end))] = vocabulary_size_++;
    const bool both = content.substr(end).starts_with("\r\n");
    content.remove_prefix(std::min(end + (both ? 2 : 1), content.size()));
  }
  std::string missing;
  for (const Special& special : specials) {
    if (!ids_.contains(special.name)) enlist(missing, special.name);
  }
  if (!missing.empty()) {
    throw BundleError(
        concat(path, " lacks ", missing, ", which a BERT tokenizer needs. Export again."));
  }
}

InputIds Tokenizer::encode(std::string_view text, const std::string& name, const Warn& warn) const {
  const auto given = std::ranges::count_if(text, [](char c) { return (c & 0xc0) != 0x80; });
  if (given > max_characters) {
    throw InvalidInputError(concat(name, " has ", given, " characters, expected at most ",
                                   max_characters, ". Shorten it."));
  }
  std::size_t wrong = 0;
  const auto characters = decode_utf8(text, &wrong);
  if (!characters) {
    throw InvalidInputError(concat(name, " is not valid UTF-8 at byte ", wrong,
                                   ". Read the text with its true encoding."));
  }
  const std::size_t room = max_length_ - 2;
  const auto found = tokens(*characters, room + 1);
  if (found.size() > room) {
    warn(cut_warning(std::u32string_view(*characters).substr(found[room].origin), max_length_));
  }
  InputIds ids(max_length_, ids_.at("[PAD]"));
  const std::size_t count = std::min(found.size(), room);
  ids[0] = ids_.at("[CLS]");
  for (std::size_t i = 0; i < count; ++i) ids[i + 1] = found[i].id;
  ids[count + 1] = ids_.at("[SEP]");
  return ids;
}

InputIds Tokenizer::padded(const std::int32_t* ids, std::size_t count,
                           const std::string& name) const {
  if (count == 0 || count > max_length_) {
    throw InvalidInputError(
        concat(name, " has ", count, " token ids, expected 1 to ", max_length_, "."));
  }
  InputIds row(max_length_, ids_.at("[PAD]"));
  for (std::size_t i = 0; i < count; ++i) {
    if (ids[i] < 0 || ids[i] >= vocabulary_size_) {
      throw InvalidInputError(concat(name, ": token id ", ids[i], " at position ", i,
                                     " is outside the vocabulary, expected 0 to ",
                                     vocabulary_size_ - 1, "."));
    }
    row[i] = ids[i];
  }
  return row;
}

// The first `most` tokens, or a few more. Special tokens are found in the text as it was given.
std::vector<Tokenizer::Token> Tokenizer::tokens(const std::u32string& text,
                                                std::size_t most) const {
  std::vector<Token> found;
  std::size_t start = 0;
  for (std::size_t at = 0; at < text.size() && found.size() < most;) {
    const Special* special = text[at] == U'[' ? special_at(text, at) : nullptr;
    if (!special) {
      ++at;
      continue;
    }
    split_words(normalized(text, start, at), found, most);
    found.push_back({ids_.find(special->name)->second, at});
    start = at += special->characters.size();
  }
  if (found.size() < most) split_words(normalized(text, start, text.size()), found, most);
  return found;
}

Characters Tokenizer::normalized(const std::u32string& text, std::size_t start,
                                 std::size_t end) const {
  Characters characters;
  for (std::size_t at = start; at < end; ++at) characters.push_back({text[at], at});
  characters = clean(characters);
  if (tokenize_chinese_chars_) characters = space_chinese(characters);
  if (strip_accents_) characters = strip_accents(characters);
  if (lowercase_) characters = lower_case(characters);
  return characters;
}

void Tokenizer::split_words(const Characters& text, std::vector<Token>& found,
                            std::size_t most) const {
  Characters word;
  const auto finish_word = [&] {
    if (!word.empty()) split_pieces(word, found);
    word.clear();
  };
  for (const Character& c : text) {
    if (found.size() >= most) return;
    const bool alone = is_punctuation(c.code);
    if (alone || is_whitespace(c.code)) finish_word();
    if (!is_whitespace(c.code)) word.push_back(c);
    if (alone) finish_word();
  }
  finish_word();
}

// Greedy: the longest piece that the vocabulary has, then the longest that continues it, and so on.
void Tokenizer::split_pieces(const Characters& word, std::vector<Token>& found) const {
  const Token unknown{ids_.at("[UNK]"), word.front().origin};
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
      if (const auto id = ids_.find(piece); id != ids_.end()) {
        best = id->second;
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
