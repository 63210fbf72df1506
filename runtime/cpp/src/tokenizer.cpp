#include "tokenizer.hpp"

#include <algorithm>
#include <set>
#include <utility>

#include "byte_pair.hpp"
#include "errors.hpp"
#include "wordpiece.hpp"

namespace trt_pipeline::internal {
namespace {

constexpr std::int64_t max_characters = 1 << 17;  // of a text; a text encoder reads some 77 words
constexpr std::size_t shown_characters = 80;      // characters of cut-off text that a warning shows

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

bool has_several(const AddedToken& token) {
  return token.vectors > 1;
}

std::u32string all_parts(const AddedToken& token) {
  std::string parts = token.content;
  for (std::int64_t number = 1; number < token.vectors; ++number) parts += " " + token.part(number);
  return *decode_utf8(parts);
}

std::u32string replaced(std::u32string_view text, const std::u32string& old,
                        const std::u32string& with) {
  std::u32string result;
  for (std::size_t at; (at = text.find(old)) != text.npos; text.remove_prefix(at + old.size())) {
    result.append(text.substr(0, at)).append(with);
  }
  return result.append(text);
}

}  // namespace

Tokenizer::Tokenizer(const std::map<std::string, std::filesystem::path>& paths,
                     const TokenizerSpec& spec)
    : Tokenizer(read_text_files(paths), spec) {}

Tokenizer::Tokenizer(const TextFiles& files, const TokenizerSpec& spec)
    : spec_(std::make_shared<TokenizerSpec>(spec)) {
  Vocabulary vocabulary(files.at("vocab"));
  vocabulary.check(spec);
  size_ = vocabulary.size();
  if (spec.wordpiece) {
    model_ = std::make_shared<WordPiece>(vocabulary, *spec.wordpiece, spec.unk_id);
  } else {
    model_ = std::make_shared<BytePair>(vocabulary, files.at("merges"), spec.unk_id);
  }
  add_tokens(files.at("vocab").path);
}

void Tokenizer::add_tokens(const std::string& path) {
  for (const AddedToken& token : spec_->added_tokens) {
    const std::u32string given = *decode_utf8(token.content);
    const std::u32string form =
        token.normalized ? text_of(model_->normalized(characters_of(given))) : given;
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
  auto characters = decode_utf8(text, &wrong);
  if (!characters) {
    throw InvalidInputError(concat(name, " is not valid UTF-8 at byte ", wrong,
                                   ". Read the text with its true encoding."));
  }
  characters = spelled_out(*std::move(characters));
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

// The text with all tokens of those that have several, as diffusers replaces them: where the
// normalized text has such a token as it is written.
std::u32string Tokenizer::spelled_out(std::u32string text) const {
  if (std::ranges::none_of(spec_->added_tokens, has_several)) return text;
  std::set<const AddedToken*> found;
  const auto note = [&](const Characters& whole, const Piece& piece) {
    const bool written = text_of(slice(whole, piece)) == decode_utf8(piece.token->content);
    if (written) found.insert(piece.token);
  };
  const Characters given = characters_of(text);
  for (const Piece& piece : as_given_.split(given)) {
    if (piece.token) {
      note(given, piece);
      continue;
    }
    const Characters normal = model_->normalized(slice(given, piece));
    for (const Piece& inner : in_normalized_.split(normal)) {
      if (inner.token) note(normal, inner);
    }
  }
  for (const AddedToken& token : spec_->added_tokens) {
    if (has_several(token) && found.contains(&token)) {
      text = replaced(text, *decode_utf8(token.content), all_parts(token));
    }
  }
  return text;
}

// The first `limit` tokens, or a few more.
std::vector<Token> Tokenizer::tokens(const std::u32string& text, std::size_t limit) const {
  const Characters given = characters_of(text);
  std::vector<Token> found;
  for (const Piece& piece : as_given_.split(given)) {
    if (found.size() >= limit) break;
    if (piece.token) {
      found.push_back({static_cast<std::int32_t>(piece.token->id), given[piece.start].origin});
    } else {
      split_normalized(model_->normalized(slice(given, piece)), found, limit);
    }
  }
  return found;
}

void Tokenizer::split_normalized(const Characters& text, std::vector<Token>& found,
                                 std::size_t limit) const {
  for (const Piece& piece : in_normalized_.split(text)) {
    if (found.size() >= limit) return;
    if (piece.token) {
      found.push_back({static_cast<std::int32_t>(piece.token->id), text[piece.start].origin});
    } else {
      model_->split(slice(text, piece), found, limit);
    }
  }
}

}  // namespace trt_pipeline::internal
