#include "added_tokens.hpp"

#include <algorithm>

namespace trt_pipeline::internal {
namespace {

bool touches_word(const Characters& text, std::size_t start, std::size_t end) {
  return (start > 0 && is_word(text[start - 1].code)) ||
         (end < text.size() && is_word(text[end].code));
}

// Where the white space before `start` begins.
std::size_t left_of_blanks(const Characters& text, std::size_t start) {
  while (start > 0 && is_whitespace(text[start - 1].code)) --start;
  return start;
}

std::size_t right_of_blanks(const Characters& text, std::size_t end) {
  while (end < text.size() && is_whitespace(text[end].code)) ++end;
  return end;
}

}  // namespace

bool AddedTokens::add(const std::u32string& form, const AddedToken& token) {
  std::vector<Form>& forms = by_first_[form.front()];
  const auto is_new = [&](const Form& one) { return one.characters != form; };
  if (!std::ranges::all_of(forms, is_new)) return false;
  const auto shorter = std::ranges::find_if(
      forms, [&](const Form& one) { return one.characters.size() < form.size(); });
  forms.insert(shorter, {form, &token});
  return true;
}

std::vector<Piece> AddedTokens::split(const Characters& text) const {
  std::vector<Piece> pieces;
  std::size_t done = 0;
  for (std::size_t at = 0; at < text.size();) {
    const Form* found = longest_at(text, at);
    if (!found) {
      ++at;
      continue;
    }
    const AddedToken& token = *found->token;
    std::size_t start = at, end = at + found->characters.size();
    at = end;
    if (token.single_word && touches_word(text, start, end)) continue;
    if (token.lstrip) start = std::max(left_of_blanks(text, start), done);
    if (token.rstrip) end = right_of_blanks(text, end);
    if (done < start) pieces.push_back({done, start, nullptr});
    pieces.push_back({start, end, &token});
    done = end;
  }
  if (done < text.size()) pieces.push_back({done, text.size(), nullptr});
  return pieces;
}

const AddedTokens::Form* AddedTokens::longest_at(const Characters& text, std::size_t at) const {
  const auto forms = by_first_.find(text[at].code);
  if (forms == by_first_.end()) return nullptr;
  for (const Form& form : forms->second) {
    const auto same = [](char32_t code, const Character& c) { return code == c.code; };
    if (form.characters.size() <= text.size() - at &&
        std::equal(form.characters.begin(), form.characters.end(),
                   text.begin() + static_cast<std::ptrdiff_t>(at), same)) {
      return &form;
    }
  }
  return nullptr;
}

}  // namespace trt_pipeline::internal
