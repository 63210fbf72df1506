// The project's types in TensorRT's terms, and what TensorRT says of failures.
#pragma once

#include <NvInfer.h>

#include <algorithm>
#include <mutex>
#include <string>

#include "../errors.hpp"
#include "../tensor.hpp"

namespace trt_pipeline::internal {

inline nvinfer1::DataType data_type(DType dtype) {
  switch (dtype) {
    case DType::float32:
      return nvinfer1::DataType::kFLOAT;
    case DType::float16:
      return nvinfer1::DataType::kHALF;
    case DType::int32:
      return nvinfer1::DataType::kINT32;
    case DType::uint8:
      return nvinfer1::DataType::kUINT8;
  }
  throw BackendError("a tensor of a type that TensorRT lacks.");
}

inline nvinfer1::Dims dims_of(const Shape& shape) {
  nvinfer1::Dims dims{};
  dims.nbDims = static_cast<std::int32_t>(shape.size());
  std::ranges::copy(shape, dims.d);
  return dims;
}

// Keeps the last error for the exception that follows it. Calls of several threads share it.
class Logger : public nvinfer1::ILogger {
 public:
  void log(Severity severity, const char* message) noexcept override {
    if (severity > Severity::kERROR) return;
    try {
      const std::lock_guard lock(mutex_);
      last_ = message;
    } catch (...) {  // out of memory: the error goes on without its text
    }
  }

  std::string last() {
    const std::lock_guard lock(mutex_);
    return last_.empty() ? "no reason given" : last_;
  }

 private:
  std::string last_;
  std::mutex mutex_;
};

}  // namespace trt_pipeline::internal
