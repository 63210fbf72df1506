#include "tokenizer.hpp"

#include <algorithm>
#include <fstream>
#include <iterator>

#include "errors.hpp"

namespace trt_pipeline::internal {
namespace {

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

Characters characters_of(std::u32string_view text) {
  Characters characters;
  for (char32_t code : text) characters.push_back({code, characters.size()});
  return characters;
}

std::u32string text_of(const Characters& characters) {
  std::u32string text;
  for (const Character& c : characters) text += c.code;
  return text;
}

Characters slice(const Characters& text, const Piece& piece) {
  const auto at = [&](std::size_t place) {
    return text.begin() + static_cast<std::ptrdiff_t>(place);
  };
  return {at(piece.start), at(piece.end)};
}

std::string utf8(std::u32string_view text) {
  std::string bytes;
  for (char32_t code : text) append_utf8(bytes, code);
  return bytes;
}

std::string cut_warning(std::u32string_view cut, std::size_t max_length) {
  const std::string text =
      utf8(cut.substr(0, shown_characters)) + (cut.size() > shown_characters ? "…" : "");
  return concat("the model reads ", max_length, " tokens of a prompt; cut off: '", text, "'");
}

}  // namespace

Tokenizer::Tokenizer(const std::filesystem::path& vocab, const TokenizerSpec& spec)
    : Tokenizer(read_file(vocab), vocab.string(), spec) {}

Tokenizer::Tokenizer(std::string_view content, const std::string& path, const TokenizerSpec& spec)
    : spec_(std::make_shared<TokenizerSpec>(spec)) {
  read_vocabulary(content, path);
  check_ids(path);
  add_tokens(path);
}

// Lines end as Python reads them: with \n, \r or both.
void Tokenizer::read_vocabulary(std::string_view content, const std::string& path) {
  std::size_t wrong = 0;
  if (!decode_utf8(content, &wrong)) {
    throw BundleError(concat(path, " is not a vocabulary: byte ", wrong, " is not UTF-8."));
  }
  while (!content.empty()) {
    const std::size_t end = std::min(content.find_first_of("\r\n"), content.size());
    const std::string token(content.substr(0, end));
    if (!ids_.emplace(token, size_++).second) {
      throw BundleError(
          concat(path, " has the token ", brief(Json(token)), " twice. Export again."));
    }
    const bool both = content.substr(end).starts_with("\r\n");
    content.remove_prefix(std::min(end + (both ? 2 : 1), content.size()));
  }
}

// An added token has its own id in the vocabulary, or the next one.
void Tokenizer::check_ids(const std::string& path) {
  const auto check = [&](const char* name, std::int64_t id) {
    if (id >= size_) {
      throw BundleError(
          concat(path, ": ", name, " is ", id, ", expected 0 to ", size_ - 1, ". Export again."));
    }
  };
  check("unk_id", spec_->unk_id);
  for (const AddedToken& token : spec_->added_tokens) {
    const auto known = ids_.find(token.content);
    const std::int32_t expected = known == ids_.end() ? size_++ : known->second;
    if (token.id != expected) {
      throw BundleError(concat(path, ": the id of the added token ", brief(Json(token.content)),
                               " is ", token.id, ", expected ", expected,
                               ", its own in the vocabulary or the next one. Export again."));
    }
  }
  check("start_id", spec_->start_id);
  check("end_id", spec_->end_id);
  check("pad_id", spec_->pad_id);
}

void Tokenizer::add_tokens(const std::string& path) {
  for (const AddedToken& token : spec_->added_tokens) {
    const std::u32string given = *decode_utf8(token.content);
    const std::u32string form =
        token.normalized ? text_of(normalized(characters_of(given))) : given;
    if (std::ranges::all_of(form, is_whitespace)) {
      throw BundleError(concat(path, ": the added token ", brief(Json(token.content)),
                               " is nothing but white space."));
    }
    if (!(token.normalized ? in_normalized_ : as_given_).add(form, token)) {
      throw BundleError(concat(path, ": the added token ", brief(Json(token.content)),
                               " is another one once normalized, so no text could mean it."));
    }
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
  const bool keeps_end = spec_->truncation_side == "left";
  const std::size_t room = max_length() - 2;
  const auto found = tokens(*characters, keeps_end ? std::u32string::npos : room + 1);
  const std::size_t excess = found.size() - std::min(found.size(), room);
  const std::size_t first = keeps_end ? excess : 0;
  if (excess) {
    const std::size_t edge = keeps_end ? first : room;
    const std::size_t place = edge < found.size() ? found[edge].origin : characters->size();
    const std::u32string_view all = *characters;
    warn(cut_warning(keeps_end ? all.substr(0, place) : all.substr(place), max_length()));
  }
  InputIds ids{static_cast<std::int32_t>(spec_->start_id)};
  for (std::size_t i = first; i < std::min(first + room, found.size()); ++i) {
    ids.push_back(found[i].id);
  }
  ids.push_back(static_cast<std::int32_t>(spec_->end_id));
  return padded(ids);
}

InputIds Tokenizer::padded(const std::int32_t* ids, std::size_t count,
                           const std::string& name) const {
  if (count == 0 || count > max_length()) {
    throw InvalidInputError(
        concat(name, " has ", count, " token ids, expected 1 to ", max_length(), "."));
  }
  for (std::size_t i = 0; i < count; ++i) {
    if (ids[i] < 0 || ids[i] >= size_) {
      throw InvalidInputError(concat(name, ": token id ", ids[i], " at position ", i,
                                     " is outside the vocabulary, expected 0 to ", size_ - 1, "."));
    }
  }
  return padded(InputIds(ids, ids + count));
}

InputIds Tokenizer::padded(const InputIds& ids) const {
  InputIds row(max_length(), static_cast<std::int32_t>(spec_->pad_id));
  const std::size_t first = spec_->padding_side == "left" ? max_length() - ids.size() : 0;
  std::ranges::copy(ids, row.begin() + static_cast<std::ptrdiff_t>(first));
  return row;
}

// The first `limit` tokens, or a few more.
std::vector<Tokenizer::Token> Tokenizer::tokens(const std::u32string& text,
                                                std::size_t limit) const {
  const Characters given = characters_of(text);
  std::vector<Token> found;
  for (const Piece& piece : as_given_.split(given)) {
    if (found.size() >= limit) break;
    if (piece.token) {
      found.push_back({static_cast<std::int32_t>(piece.token->id), given[piece.start].origin});
    } else {
      split_normalized(normalized(slice(given, piece)), found, limit);
    }
  }
  return found;
}

Characters Tokenizer::normalized(Characters text) const {
  if (spec_->clean_text) text = clean(text);
  if (spec_->tokenize_chinese_chars) text = space_chinese(text);
  if (spec_->strip_accents.value_or(spec_->lowercase)) text = strip_accents(text);
  if (spec_->lowercase) text = lower_case(text);
  return text;
}

void Tokenizer::split_normalized(const Characters& text, std::vector<Token>& found,
                                 std::size_t limit) const {
  for (const Piece& piece : in_normalized_.split(text)) {
    if (found.size() >= limit) return;
    if (piece.token) {
      found.push_back({static_cast<std::int32_t>(piece.token->id), text[piece.start].origin});
    } else {
      split_words(slice(text, piece), found, limit);
    }
  }
}

void Tokenizer::split_words(const Characters& text, std::vector<Token>& found,
                            std::size_t limit) const {
  Characters word;
  const auto finish_word = [&] {
    if (!word.empty()) split_pieces(word, found);
    word.clear();
  };
  for (const Character& c : text) {
    if (found.size() >= limit) return;
    const bool alone = is_punctuation(c.code);
    if (alone || is_whitespace(c.code)) finish_word();
    if (!is_whitespace(c.code)) word.push_back(c);
    if (alone) finish_word();
  }
  finish_word();
}

// Greedy: the longest piece that the vocabulary has, then the longest that continues it, and so on.
void Tokenizer::split_pieces(const Characters& word, std::vector<Token>& found) const {
  const Token unknown{static_cast<std::int32_t>(spec_->unk_id), word.front().origin};
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
