#include "byte_pair.hpp"

#include <algorithm>
#include <limits>
#include <queue>
#include <tuple>

#include "errors.hpp"

namespace trt_pipeline::internal {
namespace {

constexpr const char* word_end = "</w>";
constexpr std::size_t no_symbol = std::numeric_limits<std::size_t>::max();

// Bytes are written as characters that are seen: most as themselves, the others from U+0100 on.
std::array<std::string, 256> byte_letters() {
  std::array<std::string, 256> letters;
  char32_t next = 0x100;
  for (char32_t byte = 0; byte < 256; ++byte) {
    const bool visible = (byte > 0x20 && byte < 0x7f) || (byte > 0xa0 && byte != 0xad);
    append_utf8(letters[byte], visible ? byte : next++);
  }
  return letters;
}

std::uint64_t key_of(std::int32_t first, std::int32_t second) {
  return static_cast<std::uint64_t>(first) << 32 | static_cast<std::uint32_t>(second);
}

bool begins_with(const Character* begin, const Character* end, std::u32string_view text) {
  const auto same = [](char32_t code, const Character& c) { return code == c.code; };
  return static_cast<std::size_t>(end - begin) >= text.size() &&
         std::equal(text.begin(), text.end(), begin, same);
}

bool is_sign(char32_t code) {
  return !is_whitespace(code) && !is_letter(code) && !is_number(code);
}

// 0 if the text does not begin with the name of a special token.
std::size_t special_name_length(const Character* begin, const Character* end) {
  for (const std::u32string_view name : {U"<|startoftext|>", U"<|endoftext|>"}) {
    if (begins_with(begin, end, name)) return name.size();
  }
  return 0;
}

// How many characters the word at `begin` has: the end of a contraction, letters, one digit, or
// signs. White space has none.
std::size_t word_length(const Character* begin, const Character* end) {
  for (const std::u32string_view tail : {U"'s", U"'t", U"'re", U"'ve", U"'m", U"'ll", U"'d"}) {
    if (begins_with(begin, end, tail)) return tail.size();
  }
  if (is_number(begin->code)) return 1;
  const auto kind = is_letter(begin->code) ? is_letter : is_sign;
  const auto in_word = [&](const Character& c) { return kind(c.code); };
  return static_cast<std::size_t>(std::find_if_not(begin, end, in_word) - begin);
}

}  // namespace

BytePair::BytePair(const Vocabulary& vocabulary, const TextFile& merges, std::int64_t unk_id) {
  const auto letters = byte_letters();
  const auto id_of = [&](const std::string& token) {
    const std::int32_t* id = vocabulary.find(token);
    return id ? *id : static_cast<std::int32_t>(unk_id);
  };
  for (std::size_t byte = 0; byte < 256; ++byte) {
    bytes_[byte] = id_of(letters[byte]);
    last_bytes_[byte] = id_of(letters[byte] + word_end);
  }
  for (const std::string& line : lines_of(merges, "merges")) {
    read_merge(merges.path, line, vocabulary);
  }
}

void BytePair::read_merge(const std::string& path, const std::string& line,
                          const Vocabulary& vocabulary) {
  const std::size_t blank = std::min(line.find(' '), line.size());
  const std::string first = line.substr(0, blank);
  const std::string second = line.substr(std::min(blank + 1, line.size()));
  if (first.empty() || second.empty() || second.find(' ') != std::string::npos) {
    throw BundleError(concat(path, ": the merge ", brief(Json(line)),
                             " is not two tokens with a blank between them. Export again."));
  }
  const auto id_of = [&](const std::string& token) {
    if (const std::int32_t* id = vocabulary.find(token)) return *id;
    throw BundleError(concat(path, ": the merge ", brief(Json(line)), " needs the token ",
                             brief(Json(token)), ", which the vocabulary lacks. Export again."));
  };
  const std::uint64_t key = key_of(id_of(first), id_of(second));
  if (!merges_.emplace(key, Merge{merges_.size(), id_of(first + second)}).second) {
    throw BundleError(concat(path, " has the merge ", brief(Json(line)), " twice. Export again."));
  }
}

Characters BytePair::normalized(const Characters& text) const {
  return lower_case(join_whitespace(compose(text)));
}

// The name of a special token is three words whatever signs stand around it.
void BytePair::split(const Characters& text, std::vector<Token>& found, std::size_t limit) const {
  const Character* const end = text.data() + text.size();
  for (const Character* at = text.data(); at < end && found.size() < limit;) {
    if (const std::size_t length = special_name_length(at, end)) {
      const Character* const after = at + length;
      split_word(at, at + 2, found);  // <|
      split_word(at + 2, after - 2, found);
      split_word(after - 2, after, found);  // |>
      at = after;
      continue;
    }
    const std::size_t length = word_length(at, end);
    split_word(at, at + length, found);
    at += std::max<std::size_t>(length, 1);  // past white space
  }
}

void BytePair::split_word(const Character* begin, const Character* end,
                          std::vector<Token>& found) const {
  std::vector<Symbol> symbols = symbols_of(begin, end);
  merge_all(symbols);
  for (const Symbol& symbol : symbols) {
    if (!symbol.gone) found.push_back(symbol.token);
  }
}

// One for each byte.
std::vector<BytePair::Symbol> BytePair::symbols_of(const Character* begin,
                                                   const Character* end) const {
  std::vector<Symbol> symbols;
  std::string bytes;
  for (const Character* c = begin; c < end; ++c) {
    bytes.clear();
    append_utf8(bytes, c->code);
    for (std::size_t i = 0; i < bytes.size(); ++i) {
      const bool last = c + 1 == end && i + 1 == bytes.size();
      const auto byte = static_cast<unsigned char>(bytes[i]);
      const std::size_t place = symbols.size();
      symbols.push_back({{(last ? last_bytes_ : bytes_)[byte], c->origin},
                         place ? place - 1 : no_symbol,
                         last ? no_symbol : place + 1});
    }
  }
  return symbols;
}

const BytePair::Merge* BytePair::merge_of(std::int32_t first, std::int32_t second) const {
  const auto found = merges_.find(key_of(first, second));
  return found == merges_.end() ? nullptr : &found->second;
}

// The merge of the lowest rank first, and of equal ones the leftmost.
void BytePair::merge_all(std::vector<Symbol>& symbols) const {
  using Planned = std::tuple<std::size_t, std::size_t, std::int32_t>;  // rank, place, id
  std::priority_queue<Planned, std::vector<Planned>, std::greater<>> queue;
  const auto plan = [&](std::size_t place) {
    if (place == no_symbol || symbols[place].next == no_symbol) return;
    const Symbol& second = symbols[symbols[place].next];
    const Merge* merge = merge_of(symbols[place].token.id, second.token.id);
    if (merge) queue.emplace(merge->rank, place, merge->id);
  };
  for (std::size_t place = 0; place < symbols.size(); ++place) plan(place);
  while (!queue.empty()) {
    const auto [rank, place, id] = queue.top();
    queue.pop();
    Symbol& first = symbols[place];
    if (first.gone || first.next == no_symbol) continue;
    Symbol& second = symbols[first.next];
    const Merge* merge = merge_of(first.token.id, second.token.id);
    if (!merge || merge->id != id) continue;  // one of the two was merged meanwhile
    first.token.id = id;
    first.next = second.next;
    second.gone = true;
    if (first.next != no_symbol) symbols[first.next].previous = place;
    plan(first.previous);
    plan(place);
  }
}

}  // namespace trt_pipeline::internal
