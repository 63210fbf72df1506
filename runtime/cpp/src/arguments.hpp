// Checks of single arguments; the error names the argument, its value and what is allowed.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <string>
#include <string_view>

#include "errors.hpp"

namespace trt_pipeline::internal {

inline std::int64_t checked_integer(const std::string& name, std::int64_t value, std::int64_t low,
                                    std::int64_t high) {
  if (value < low || value > high) {
    throw InvalidInputError(
        concat(name, " must be an integer from ", low, " to ", high, ", got ", value, "."));
  }
  return value;
}

inline double checked_real(const std::string& name, double value,
                           double low = -std::numeric_limits<double>::infinity(),
                           double high = std::numeric_limits<double>::infinity()) {
  if (!std::isfinite(value) || value < low || value > high) {
    const std::string bounds = std::isinf(low) ? "" : concat(" from ", low, " to ", high);
    throw InvalidInputError(concat(name, " must be a finite number", bounds, ", got ", value, "."));
  }
  return value;
}

// Two numbers of which the second is not smaller.
inline void check_interval(const std::string& name, double start, double stop, double low,
                           double high) {
  for (double end : {start, stop}) checked_real(name, end, low, high);
  if (start > stop) {
    throw InvalidInputError(
        concat(name, " must not stop before it starts, got ", start, " to ", stop, "."));
  }
}

// choices: as the table of settings lists them, with a comma and a blank between two.
inline void check_choice(const std::string& name, std::string_view value,
                         std::string_view choices) {
  for (std::string_view left = choices; !left.empty();) {
    const std::size_t end = std::min(left.find(", "), left.size());
    if (value == left.substr(0, end)) return;
    left.remove_prefix(std::min(end + 2, left.size()));
  }
  throw InvalidInputError(concat(name, " must be one of ", choices, ", got '", value, "'."));
}

// Of a list with an entry for each picture.
inline void check_one_a_picture(const std::string& name, std::size_t entries,
                                std::size_t pictures) {
  if (entries == pictures) return;
  throw InvalidInputError(concat(name, " has ", counted(entries, "entry", "entries"),
                                 ", expected ", pictures, ", one a picture."));
}

}  // namespace trt_pipeline::internal
