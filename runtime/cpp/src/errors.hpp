// The errors inside the library; c_api.cpp turns each into a status and a message.
//
// Every message says what was wrong, what was expected and what to do.
#pragma once

#include <sstream>
#include <stdexcept>
#include <string>

#include "trt_pipeline.h"

namespace trt_pipeline::internal {

class Error : public std::runtime_error {
 public:
  Error(trt_pipeline_status status, const std::string& message)
      : std::runtime_error(message), status(status) {}

  const trt_pipeline_status status;
};

template <trt_pipeline_status Status>
class ErrorOf : public Error {
 public:
  explicit ErrorOf(const std::string& message) : Error(Status, message) {}
};

using InvalidInputError = ErrorOf<TRT_PIPELINE_INVALID_INPUT>;
using BundleError = ErrorOf<TRT_PIPELINE_BUNDLE_ERROR>;
using BundleVersionError = ErrorOf<TRT_PIPELINE_BUNDLE_VERSION_ERROR>;
using IntegrityError = ErrorOf<TRT_PIPELINE_INTEGRITY_ERROR>;
using BackendError = ErrorOf<TRT_PIPELINE_BACKEND_ERROR>;
using MissingBackendError = ErrorOf<TRT_PIPELINE_MISSING_BACKEND>;
using CancelledError = ErrorOf<TRT_PIPELINE_CANCELLED>;

// The parts of a message, one after another.
template <class... Parts>
std::string concat(const Parts&... parts) {
  std::ostringstream text;
  (text << ... << parts);
  return text.str();
}

// Adds one more to a list in a message.
inline void enlist(std::string& list, const std::string& one, const char* separator = ", ") {
  if (!list.empty()) list += separator;
  list += one;
}

// A number and what it counts, such as "1 thread" or "2 threads".
template <class Number>
std::string counted(Number count, const std::string& one, const std::string& many = {}) {
  return concat(count, " ", count == 1 ? one : many.empty() ? one + "s" : many);
}

}  // namespace trt_pipeline::internal
