#include "halves.hpp"

#include <algorithm>
#include <array>

namespace trt_pipeline::internal {
namespace {

// Of the coefficients p, q, a, b0, b1, b2, b3, s those that the predictions are multiplied with.
constexpr std::array<float, 8> predicted{0, 1, 0, 1, 0, 0, 0, 0};

std::span<const float> floats(const TensorView& view) {
  return {static_cast<const float*>(view.data), count_of(view.shape)};
}

// Rows [start, start + rows) of a tensor, in place.
TensorView cut(const TensorView& view, std::size_t start, std::size_t rows) {
  Shape shape = view.shape;
  shape[0] = rows;
  const std::size_t row = view.bytes() / view.shape[0];
  return {view.dtype, shape, static_cast<const std::byte*>(view.data) + start * row};
}

// The columns [start, start + rows) of guidance [B, M].
Tensor columns(const TensorView& guidance, std::size_t start, std::size_t rows) {
  const std::size_t samples = guidance.shape[0], width = guidance.shape[1];
  Tensor taken(DType::float32, {samples, rows});
  for (std::size_t sample = 0; sample < samples; ++sample) {
    std::copy_n(floats(guidance).data() + sample * width + start, rows,
                taken.as<float>().data() + sample * rows);
  }
  return taken;
}

Tensor of_predictions(const TensorView& coefficients) {
  Tensor made(DType::float32, coefficients.shape);
  const auto given = floats(coefficients);
  const auto target = made.as<float>();
  for (std::size_t i = 0; i < given.size(); ++i) target[i] = given[i] * predicted[i % 8];
  return made;
}

void add(std::span<float> target, std::span<const float> more) {
  std::transform(target.begin(), target.end(), more.begin(), target.begin(), std::plus<>());
}

Tensor stacked(const Tensor& first, const Tensor& second) {
  Shape shape = first.shape;
  shape[0] += second.shape[0];
  Tensor tensor(first.dtype, shape);
  const auto middle = std::copy(first.bytes.begin(), first.bytes.end(), tensor.bytes.begin());
  std::copy(second.bytes.begin(), second.bytes.end(), middle);
  return tensor;
}

}  // namespace

std::optional<Halves> halve(const TensorViews& step) {
  const auto found = step.find("rows");
  const std::size_t rows = found == step.end() ? 0 : found->second.shape[0];
  if (rows == 0 || rows % 2) return std::nullopt;
  const std::size_t half = rows / 2;
  const TensorView& guidance = step.at("guidance");
  Halves halves{columns(guidance, 0, half), columns(guidance, half, half),
                of_predictions(step.at("coefficients")), step, step};
  for (const char* name : {"rows", "text_kv", "features"}) {
    const auto by_row = step.find(name);
    if (by_row == step.end()) continue;
    halves.first.insert_or_assign(name, cut(by_row->second, 0, half));
    halves.second.insert_or_assign(name, cut(by_row->second, half, half));
  }
  halves.first.insert_or_assign("guidance", halves.first_guidance);
  halves.second.insert_or_assign("guidance", halves.second_guidance);
  halves.second.insert_or_assign("coefficients", halves.second_coefficients);
  return halves;
}

Tensors join(Tensors first, const Tensors& second) {
  const Tensor& latents = second.at("next_latents");
  add(first.at("next_latents").as<float>(), latents.as<float>());
  const std::size_t newest = count_of(latents.shape);  // of next_history [3, B, C, h, w]
  add(first.at("next_history").as<float>().first(newest),
      second.at("next_history").as<float>().first(newest));
  const auto features = first.find("features");
  if (features != first.end()) features->second = stacked(features->second, second.at("features"));
  return first;
}

}  // namespace trt_pipeline::internal
