// Checks of single arguments; the error names the argument, its value and what is allowed.
#pragma once

#include <cmath>
#include <cstdint>
#include <limits>
#include <string>

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

}  // namespace trt_pipeline::internal
