#include "decoding.hpp"

#include <algorithm>

#include "errors.hpp"

namespace trt_pipeline::internal {
namespace {

constexpr std::size_t max_quoted = 80;
constexpr int max_levels = 32;  // levels of lists and objects in an entry of any content

bool reaches(const Json& value, int levels) {
  if (levels == 0) return true;
  return value.is_structured() &&
         std::ranges::any_of(value, [&](const Json& one) { return reaches(one, levels - 1); });
}

}  // namespace

std::string brief(const Json& value) {
  if (value.is_object()) return "an object";
  if (value.is_array()) return "a list";
  const std::string text = value.dump(-1, ' ', true);
  return text.size() <= max_quoted ? text : text.substr(0, max_quoted);
}

void Entry::refuse(const std::string& expected) const {
  throw FormatError(concat(where, " is ", brief(value), ", expected ", expected));
}

std::string Entry::string() const {
  if (!value.is_string()) refuse("a string");
  return value.get<std::string>();
}

std::string Entry::one_of(std::initializer_list<const char*> choices) const {
  std::string expected;
  for (const char* choice : choices) {
    if (value.is_string() && value.get_ref<const std::string&>() == choice) return choice;
    enlist(expected, choice, " or ");
  }
  refuse(expected);
}

std::int64_t Entry::integer() const {
  const bool fits = value.is_number_unsigned()
                        ? value.get<std::uint64_t>() <= std::uint64_t{INT64_MAX}
                        : value.is_number_integer();
  if (!fits) refuse("an integer");
  return value.get<std::int64_t>();
}

double Entry::number() const {
  if (!value.is_number()) refuse("a number");
  return value.get<double>();
}

bool Entry::boolean() const {
  if (!value.is_boolean()) refuse("true or false");
  return value.get<bool>();
}

std::vector<Entry> Entry::list() const {
  if (!value.is_array()) refuse("a list");
  std::vector<Entry> entries;
  for (const Json& one : value) {
    entries.push_back({one, concat(where, "[", entries.size(), "]")});
  }
  return entries;
}

std::vector<Entry> Entry::list_of(std::size_t count) const {
  auto entries = list();
  if (entries.size() != count) {
    const std::string found = counted(entries.size(), "entry", "entries");
    throw FormatError(concat(where, " has ", found, ", expected ", count));
  }
  return entries;
}

std::vector<std::pair<std::string, Entry>> Entry::items() const {
  if (!value.is_object()) refuse("an object");
  std::vector<std::pair<std::string, Entry>> entries;
  for (const auto& [name, one] : value.items()) {
    entries.emplace_back(name, Entry{one, where + "." + name});
  }
  return entries;
}

void Entry::check_depth() const {
  if (reaches(value, max_levels)) {
    throw FormatError(concat(where, " is nested more than ", max_levels, " levels deep"));
  }
}

Object::Object(const Entry& entry) : entry_(entry) {
  if (!entry.value.is_object()) entry.refuse("an object");
}

Entry Object::operator[](const std::string& name) {
  if (!has(name)) throw FormatError(concat(entry_.where, ".", name, " is missing"));
  taken_.insert(name);
  return {entry_.value[name], entry_.where + "." + name};
}

void Object::finish() const {
  for (const auto& [name, value] : entry_.value.items()) {
    if (!taken_.contains(name)) {
      throw FormatError(concat(entry_.where, " has an unknown entry ", brief(Json(name))));
    }
  }
}

void Object::refuse(const std::string& problem) const {
  throw FormatError(concat(entry_.where, ": ", problem));
}

}  // namespace trt_pipeline::internal
