// Tensors in host memory, as they flow between graphs by name.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <numeric>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace trt_pipeline::internal {

enum class DType { float32, float16, int32, uint8 };

inline std::size_t item_size(DType dtype) {
  switch (dtype) {
    case DType::float32:
    case DType::int32:
      return 4;
    case DType::float16:
      return 2;
    case DType::uint8:
      return 1;
  }
  return 0;
}

inline const char* name_of(DType dtype) {
  switch (dtype) {
    case DType::float32:
      return "float32";
    case DType::float16:
      return "float16";
    case DType::int32:
      return "int32";
    case DType::uint8:
      return "uint8";
  }
  return "?";
}

using Shape = std::vector<std::size_t>;

inline std::size_t count_of(const Shape& shape) {
  return std::accumulate(shape.begin(), shape.end(), std::size_t{1}, std::multiplies<>());
}

// Which of K entries belongs to a sample, where each stands for as many samples that follow each
// other.
inline std::size_t entry_of(std::size_t sample, std::size_t entries, std::size_t samples) {
  return sample * entries / samples;
}

// A tensor that owns its bytes, in C order.
struct Tensor {
  Tensor() = default;
  Tensor(DType dtype, Shape shape)
      : dtype(dtype), shape(std::move(shape)), bytes(count_of(this->shape) * item_size(dtype)) {}

  template <class T>
  std::span<T> as() {
    return {reinterpret_cast<T*>(bytes.data()), bytes.size() / sizeof(T)};
  }
  template <class T>
  std::span<const T> as() const {
    return {reinterpret_cast<const T*>(bytes.data()), bytes.size() / sizeof(T)};
  }

  DType dtype = DType::float32;
  Shape shape;
  std::vector<std::byte> bytes;
};

// A tensor that someone else owns, for the length of a call.
struct TensorView {
  TensorView(const Tensor& tensor)  // NOLINT: a tensor passes where a view is asked for
      : dtype(tensor.dtype), shape(tensor.shape), data(tensor.bytes.data()) {}
  TensorView(DType dtype, Shape shape, const void* data)
      : dtype(dtype), shape(std::move(shape)), data(data) {}

  std::size_t bytes() const { return count_of(shape) * item_size(dtype); }

  DType dtype;
  Shape shape;
  const void* data;
};

inline Tensor copied(const TensorView& view) {
  Tensor tensor(view.dtype, view.shape);
  std::copy_n(static_cast<const std::byte*>(view.data), tensor.bytes.size(), tensor.bytes.data());
  return tensor;
}

using TensorViews = std::map<std::string, TensorView, std::less<>>;
using Tensors = std::map<std::string, Tensor, std::less<>>;

// (2, 3), as error messages show shapes.
inline std::string describe(const Shape& shape) {
  std::string text = "(";
  for (std::size_t i = 0; i < shape.size(); ++i) {
    text += (i ? ", " : "") + std::to_string(shape[i]);
  }
  return text + ")";
}

}  // namespace trt_pipeline::internal
