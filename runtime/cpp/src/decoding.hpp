// JSON values to C++ values, strictly: what is missing, unknown or of another type is refused.
#pragma once

#include <cstdint>
#include <functional>
#include <initializer_list>
#include <nlohmann/json.hpp>
#include <set>
#include <stdexcept>
#include <string>
#include <vector>

namespace trt_pipeline::internal {

using Json = nlohmann::json;

// The manifest does not follow the format; caught where the bundle's folder is known.
class FormatError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// A value together with what errors call it.
struct Entry {
  const Json& value;
  std::string where;

  std::string string() const;
  std::string one_of(std::initializer_list<const char*> choices) const;
  std::int64_t integer() const;
  double number() const;
  bool boolean() const;
  bool is_null() const { return value.is_null(); }
  std::vector<Entry> list() const;
  // A list of exactly `count` values.
  std::vector<Entry> list_of(std::size_t count) const;
  // The names and values of an object.
  std::vector<std::pair<std::string, Entry>> items() const;

  // FormatError for an entry of any content that is nested too deep.
  void check_depth() const;

  [[noreturn]] void refuse(const std::string& expected) const;
};

// A value as errors show it: cut short, ASCII, and never a whole tree.
std::string brief(const Json& value);

// An object whose names are known: each is to be taken once, then finish() refuses the rest.
class Object {
 public:
  explicit Object(const Entry& entry);

  // The entry of that name; FormatError if it is missing.
  Entry operator[](const std::string& name);
  bool has(const std::string& name) const { return entry_.value.contains(name); }
  // FormatError for an entry that was not taken.
  void finish() const;
  // FormatError that the values of this object do not fit.
  [[noreturn]] void refuse(const std::string& problem) const;

 private:
  Entry entry_;
  std::set<std::string> taken_;
};

}  // namespace trt_pipeline::internal
