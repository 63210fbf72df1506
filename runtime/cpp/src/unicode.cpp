#include "unicode.hpp"

#include <utf8proc.h>

#include <algorithm>
#include <cstdint>
#include <iterator>

namespace trt_pipeline::internal {
namespace {

struct CodeRange {
  char32_t first, last;
};
// Every stride-th code point from first to last shifts by the same difference.
struct Shift {
  char32_t first, last, stride;
  std::int32_t by;
};

#include "unicode_tables.inc"

constexpr CodeRange white_spaces[] = {
    {0x9, 0xd},       {0x20, 0x20},     {0x85, 0x85},     {0xa0, 0xa0},     {0x1680, 0x1680},
    {0x2000, 0x200a}, {0x2028, 0x2029}, {0x202f, 0x202f}, {0x205f, 0x205f}, {0x3000, 0x3000}};
constexpr CodeRange chinese[] = {{0x3400, 0x4dbf},   {0x4e00, 0x9fff},   {0xf900, 0xfaff},
                                 {0x20000, 0x2a6df}, {0x2a700, 0x2b81f}, {0x2b920, 0x2ceaf},
                                 {0x2f800, 0x2fa1f}};
constexpr CodeRange hangul_syllables[] = {{0xac00, 0xd7a3}};

constexpr char32_t capital_i_with_dot = 0x130;
constexpr char32_t dot_above = 0x307;

// The last of the sorted rows that begins at or before code; null if code is not within it.
template <class Row, std::size_t N>
const Row* find(const Row (&rows)[N], char32_t code) {
  const Row* after = std::upper_bound(std::begin(rows), std::end(rows), code,
                                      [](char32_t c, const Row& row) { return c < row.first; });
  return after != std::begin(rows) && code <= after[-1].last ? after - 1 : nullptr;
}

// 0 for marks that a newer Unicode has.
int combining_class(char32_t code) {
  if (!find(ordered_marks, code)) return 0;
  return utf8proc_get_property(static_cast<utf8proc_int32_t>(code))->combining_class;
}

// Canonical ordering: marks that follow a starter are sorted by class, equal ones kept in place.
// Their origins stay where they are, as in the tokenizers package.
void order_marks(Characters& text) {
  auto at = text.begin();
  while (at != text.end()) {
    const auto starts = [](const Character& c) { return combining_class(c.code) == 0; };
    const auto first = std::find_if_not(at, text.end(), starts);
    at = std::find_if(first, text.end(), starts);
    std::vector<char32_t> codes;
    for (auto mark = first; mark != at; ++mark) codes.push_back(mark->code);
    std::ranges::stable_sort(codes, {}, combining_class);
    for (std::size_t i = 0; i < codes.size(); ++i)
      first[static_cast<std::ptrdiff_t>(i)].code = codes[i];
  }
}

Characters decompose(const Characters& text) {
  Characters parts;
  for (const Character& c : text) {
    if (!find(decomposed, c.code) && !find(hangul_syllables, c.code)) {
      parts.push_back(c);
      continue;
    }
    utf8proc_int32_t codes[8];
    int boundary = 0;
    const auto count = utf8proc_decompose_char(static_cast<utf8proc_int32_t>(c.code), codes, 8,
                                               UTF8PROC_DECOMPOSE, &boundary);
    for (utf8proc_ssize_t i = 0; i < std::min<utf8proc_ssize_t>(count, 8); ++i) {
      parts.push_back({static_cast<char32_t>(codes[i]), c.origin});
    }
  }
  order_marks(parts);
  return parts;
}

// The character that two make together; 0 if they stay two, as those do that only a newer Unicode
// joins.
char32_t composite(char32_t first, char32_t second) {
  utf8proc_int32_t pair[] = {static_cast<utf8proc_int32_t>(first),
                             static_cast<utf8proc_int32_t>(second)};
  const auto options = static_cast<utf8proc_option_t>(UTF8PROC_COMPOSE | UTF8PROC_STABLE);
  if (utf8proc_normalize_utf32(pair, 2, options) != 1) return 0;
  const auto whole = static_cast<char32_t>(pair[0]);
  return find(decomposed, whole) || find(hangul_syllables, whole) ? whole : 0;
}

}  // namespace

std::optional<std::u32string> decode_utf8(std::string_view bytes, std::size_t* wrong) {
  std::u32string text;
  std::size_t at = 0;
  while (at < bytes.size()) {
    utf8proc_int32_t code = 0;
    const auto length =
        utf8proc_iterate(reinterpret_cast<const utf8proc_uint8_t*>(bytes.data()) + at,
                         static_cast<utf8proc_ssize_t>(bytes.size() - at), &code);
    if (length <= 0) {
      if (wrong) *wrong = at;
      return std::nullopt;
    }
    text += static_cast<char32_t>(code);
    at += static_cast<std::size_t>(length);
  }
  return text;
}

void append_utf8(std::string& bytes, char32_t code) {
  utf8proc_uint8_t encoded[4];
  const auto length = utf8proc_encode_char(static_cast<utf8proc_int32_t>(code), encoded);
  bytes.append(reinterpret_cast<const char*>(encoded), static_cast<std::size_t>(length));
}

bool is_whitespace(char32_t code) {
  return find(white_spaces, code);
}

bool is_punctuation(char32_t code) {
  return find(punctuation, code);
}

bool is_word(char32_t code) {
  return find(words, code);
}

bool is_chinese(char32_t code) {
  return find(chinese, code);
}

bool is_letter(char32_t code) {
  return find(letters, code);
}

bool is_number(char32_t code) {
  return find(numbers, code);
}

Characters clean(const Characters& text) {
  Characters kept;
  for (const Character& c : text) {
    if (!find(removed, c.code)) kept.push_back({is_whitespace(c.code) ? U' ' : c.code, c.origin});
  }
  return kept;
}

Characters space_chinese(const Characters& text) {
  Characters spaced;
  for (const Character& c : text) {
    const bool around = is_chinese(c.code);
    if (around) spaced.push_back({U' ', c.origin});
    spaced.push_back(c);
    if (around) spaced.push_back({U' ', c.origin});
  }
  return spaced;
}

Characters strip_accents(const Characters& text) {
  Characters parts = decompose(text);
  std::erase_if(parts, [](const Character& c) { return find(nonspacing_marks, c.code); });
  return parts;
}

Characters lower_case(const Characters& text) {
  Characters small;
  for (const Character& c : text) {
    if (c.code == capital_i_with_dot) {
      small.push_back({U'i', c.origin});
      small.push_back({dot_above, c.origin});
      continue;
    }
    const Shift* shift = find(lower_cases, c.code);
    const bool shifts = shift && (c.code - shift->first) % shift->stride == 0;
    const std::int32_t by = shifts ? shift->by : 0;
    small.push_back({static_cast<char32_t>(static_cast<std::int32_t>(c.code) + by), c.origin});
  }
  return small;
}

// Unicode's canonical composition: a character joins the last starter unless one between them has
// a combining class as high as its own. Those between then come from one character later.
Characters compose(const Characters& text) {
  Characters composed;
  std::size_t starter = 0;
  bool has_starter = false;
  int last_class = 0;
  for (const Character& c : decompose(text)) {
    const int own_class = combining_class(c.code);
    const bool adjacent = has_starter && starter + 1 == composed.size();
    if (has_starter && (adjacent || last_class < own_class)) {
      if (const char32_t whole = composite(composed[starter].code, c.code)) {
        composed[starter].code = whole;
        std::size_t origin = c.origin;
        for (std::size_t i = composed.size(); i-- > starter + 1;) {
          std::swap(composed[i].origin, origin);
        }
        continue;
      }
    }
    if (own_class == 0) {
      starter = composed.size();
      has_starter = true;
    }
    last_class = own_class;
    composed.push_back(c);
  }
  return composed;
}

// A blank is where the last of the run was, as in the tokenizers package.
Characters join_whitespace(const Characters& text) {
  Characters joined;
  bool in_run = false;
  for (const Character& c : text) {
    const bool blank = is_whitespace(c.code);
    if (blank && in_run) {
      joined.back().origin = c.origin;
    } else {
      joined.push_back({blank ? U' ' : c.code, c.origin});
    }
    in_run = blank;
  }
  return joined;
}

}  // namespace trt_pipeline::internal
