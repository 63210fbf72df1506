#include "names.hpp"

#include <utf8proc.h>

#include <algorithm>
#include <cstdlib>
#include <map>
#include <memory>

#include "decoding.hpp"
#include "errors.hpp"
#include "unicode.hpp"

namespace trt_pipeline::internal {
namespace {

// A control, a separator other than the blank, or no character at all, as in Python's isprintable.
bool is_unprintable(char32_t code) {
  switch (utf8proc_category(static_cast<utf8proc_int32_t>(code))) {
    case UTF8PROC_CATEGORY_CN:
    case UTF8PROC_CATEGORY_CC:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_CS:
    case UTF8PROC_CATEGORY_CO:
    case UTF8PROC_CATEGORY_ZL:
    case UTF8PROC_CATEGORY_ZP:
      return true;
    case UTF8PROC_CATEGORY_ZS:
      return code != U' ';
    default:
      return false;
  }
}

bool is_plain(const std::string& part) {
  return !part.empty() && part != "." && part != "..";
}

// What lies between the slashes.
std::vector<std::string> parts_of(const std::string& name) {
  std::vector<std::string> parts;
  std::size_t start = 0;
  for (std::size_t end = name.find('/'); end != std::string::npos; end = name.find('/', start)) {
    parts.push_back(name.substr(start, end - start));
    start = end + 1;
  }
  parts.push_back(name.substr(start));
  return parts;
}

// File systems take parts of 255 bytes, of which names aside need some.
constexpr std::size_t max_parts = 16, max_part_bytes = 200;

bool is_too_long(const std::string& name) {
  const auto parts = parts_of(name);
  return parts.size() > max_parts ||
         std::ranges::any_of(parts, [](const auto& part) { return part.size() > max_part_bytes; });
}

// Whether a name leads out of the bundle, or is not written the plain way.
bool leaves(const std::string& name) {
  const auto characters = decode_utf8(name);
  if (!characters || std::ranges::any_of(*characters, is_unprintable)) return true;
  return name.find_first_of("\\:") != std::string::npos ||
         !std::ranges::all_of(parts_of(name), is_plain);
}

std::string mapped(const std::string& text, int options) {
  utf8proc_uint8_t* made = nullptr;
  const utf8proc_ssize_t length =
      utf8proc_map(reinterpret_cast<const utf8proc_uint8_t*>(text.data()),
                   static_cast<utf8proc_ssize_t>(text.size()), &made,
                   static_cast<utf8proc_option_t>(options | UTF8PROC_STABLE));
  const std::unique_ptr<utf8proc_uint8_t, decltype(&std::free)> owned(made, std::free);
  if (length < 0) throw FormatError(concat("file name ", brief(Json(text)), " is not text"));
  return {reinterpret_cast<const char*>(made), static_cast<std::size_t>(length)};
}

// The same for names that differ by case or by how Unicode composes a letter.
std::string folded(const std::string& name) {
  return mapped(mapped(mapped(name, UTF8PROC_DECOMPOSE), UTF8PROC_CASEFOLD), UTF8PROC_COMPOSE);
}

void check_folders(const std::string& name, const std::map<std::string, std::string>& taken) {
  for (std::size_t end = name.find('/'); end != std::string::npos; end = name.find('/', end + 1)) {
    const std::string folder = name.substr(0, end);
    if (taken.contains(folded(folder))) {
      throw FormatError(
          concat(brief(Json(folder)), " is a file, and a folder of ", brief(Json(name))));
    }
  }
}

}  // namespace

void check_names(const std::vector<std::string>& names) {
  for (const std::string& name : names) {
    if (leaves(name))
      throw FormatError(concat("file name ", brief(Json(name)), " leaves the bundle"));
    if (is_too_long(name)) {
      throw FormatError(concat("file name ", brief(Json(name)), " is too long or too deep"));
    }
  }
  std::map<std::string, std::string> taken;
  for (const char* own : {manifest_name, signature_name}) taken.emplace(folded(own), own);
  for (const std::string& name : names) {
    const auto [other, is_new] = taken.emplace(folded(name), name);
    if (!is_new) {
      throw FormatError(concat("file name ", brief(Json(name)), " is too much like ",
                               brief(Json(other->second))));
    }
  }
  for (const std::string& name : names) check_folders(name, taken);
}

}  // namespace trt_pipeline::internal
