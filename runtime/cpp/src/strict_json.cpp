#include "strict_json.hpp"

#include <set>
#include <vector>

#include "decoding.hpp"
#include "errors.hpp"

namespace trt_pipeline::internal {
namespace {

constexpr int max_nesting = 100;  // levels of lists and objects that are read at all

// Refuses deep nesting, and two entries of one name, of which readers differ in which they take.
class StrictReading {
 public:
  bool operator()(int depth, Json::parse_event_t event, const Json& parsed) {
    if (depth > max_nesting) throw FormatError("it is nested too deeply");
    if (event == Json::parse_event_t::object_start) names_.emplace_back();
    if (event == Json::parse_event_t::object_end) names_.pop_back();
    if (event == Json::parse_event_t::key && !names_.back().insert(parsed).second) {
      throw FormatError(concat("entry ", brief(parsed), " is there twice"));
    }
    return true;
  }

 private:
  std::vector<std::set<std::string>> names_;  // of each object that is open
};

}  // namespace

Json strict_json(const std::string& text) {
  // nlohmann skips a byte order mark, Python does not.
  if (text.starts_with("\xef\xbb\xbf")) throw FormatError("it begins with a byte order mark");
  // nlohmann ends there, Python does not.
  if (text.find('\0') != std::string::npos) throw FormatError("it has a NUL character");
  return Json::parse(text, StrictReading());
}

}  // namespace trt_pipeline::internal
