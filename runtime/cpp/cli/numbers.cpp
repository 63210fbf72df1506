#include "numbers.hpp"

#include <cctype>
#include <regex>

namespace trt_pipeline::cli {
namespace {

constexpr const char* largest = "18446744073709551615";

bool is_digit(char c) {
  return std::isdigit(static_cast<unsigned char>(c)) != 0;
}

std::string without_underscores(std::string text) {
  for (std::size_t at = 1; at + 1 < text.size(); ++at) {
    if (text[at] == '_' && is_digit(text[at - 1]) && is_digit(text[at + 1])) text.erase(at, 1);
  }
  return text;
}

// Writes an integer in the way that CLI11 reads as it is meant; what is wrong, if it is none.
std::string rewrite(std::string& text) {
  static const std::regex integer("([+-]?)0*([0-9]+)");
  const std::string plain = without_underscores(text);
  std::smatch found;
  if (!std::regex_match(plain, found, integer)) return "Value " + text + " is no integer";
  const std::string digits = found[2];
  const std::size_t most = std::char_traits<char>::length(largest);
  if (digits.size() > most || (digits.size() == most && digits > largest)) {
    return "Value " + text + " is too large";
  }
  text = found[1].str() + digits;
  return {};
}

std::string refuse_hexadecimal(std::string& text) {
  return text.find_first_of("xX") == std::string::npos ? "" : "Value " + text + " is no number";
}

}  // namespace

CLI::Validator decimal() {
  return {rewrite, ""};
}

CLI::Validator no_hexadecimal() {
  return {refuse_hexadecimal, ""};
}

}  // namespace trt_pipeline::cli
