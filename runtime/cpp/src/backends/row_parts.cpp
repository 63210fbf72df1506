#include "row_parts.hpp"

#include <algorithm>
#include <array>
#include <span>

#include "backend.hpp"

namespace trt_pipeline::internal {
namespace {

// Coefficients p, q, a, b0, … with which a step's m0 is the predicted noise itself.
constexpr std::array<float, 8> prediction{0, 1};

template <class T>
std::span<const T> values(const TensorView& view) {
  return {static_cast<const T*>(view.data), count_of(view.shape)};
}

// The entries of a tensor that numbers names, one after the other.
Tensor taken(const TensorView& view, const std::vector<std::size_t>& numbers) {
  Shape shape = view.shape;
  const std::size_t bytes = view.bytes() / shape[0];
  shape[0] = numbers.size();
  Tensor tensor(view.dtype, shape);
  for (std::size_t i = 0; i < numbers.size(); ++i) {
    std::copy_n(static_cast<const std::byte*>(view.data) + numbers[i] * bytes, bytes,
                tensor.bytes.data() + i * bytes);
  }
  return tensor;
}

Tensors part_of(const TensorViews& step, const std::vector<std::size_t>& numbers) {
  const std::size_t count = numbers.size();
  std::vector<std::size_t> samples;
  for (std::size_t number : numbers) {
    samples.push_back(static_cast<std::size_t>(values<std::int32_t>(step.at("rows"))[number]));
  }
  Tensors part;
  for (const char* name : {"text_kv", "features"}) {
    const auto found = step.find(name);
    if (found != step.end()) part.emplace(name, taken(found->second, numbers));
  }
  Tensor latents = taken(step.at("latents"), samples);
  Shape history = latents.shape;
  history.insert(history.begin(), remembered);
  part.emplace("history", Tensor(DType::float32, history));
  part.emplace("noise", Tensor(DType::float32, latents.shape));
  part.emplace("latents", std::move(latents));
  part.emplace("time_embeds", taken(step.at("time_embeds"), samples));
  Tensor coefficients(DType::float32, {count, prediction.size()});
  Tensor rows(DType::int32, {count}), guidance(DType::float32, {count, count});
  for (std::size_t i = 0; i < count; ++i) {
    std::copy(prediction.begin(), prediction.end(),
              coefficients.as<float>().begin() + i * prediction.size());
    rows.as<std::int32_t>()[i] = static_cast<std::int32_t>(i);
    guidance.as<float>()[i * count + i] = 1;
  }
  part.emplace("coefficients", std::move(coefficients));
  part.emplace("rows", std::move(rows));
  part.emplace("guidance", std::move(guidance));
  return part;
}

// The first rows of a tensor [k, …] of all parts, one after the other.
Tensor joined(const std::vector<Tensors>& parts, const char* name, std::size_t rows) {
  const Tensor& front = parts.front().at(name);
  const std::size_t per_part = front.shape[0], bytes = front.bytes.size() / per_part;
  Shape shape = front.shape;
  shape[0] = rows;
  Tensor tensor(front.dtype, shape);
  for (std::size_t row = 0; row < rows; ++row) {
    std::copy_n(parts[row / per_part].at(name).bytes.data() + row % per_part * bytes, bytes,
                tensor.bytes.data() + row * bytes);
  }
  return tensor;
}

}  // namespace

std::vector<Tensors> row_parts(const TensorViews& step, std::size_t count) {
  const std::size_t rows = step.at("rows").shape[0], size = (rows + count - 1) / count;
  std::vector<Tensors> parts;
  for (std::size_t start = 0; start < size * count; start += size) {
    std::vector<std::size_t> numbers;
    for (std::size_t i = start; i < start + size; ++i) numbers.push_back(std::min(i, rows - 1));
    parts.push_back(part_of(step, numbers));
  }
  return parts;
}

Tensors step_of(const TensorViews& step, const std::vector<Tensors>& parts) {
  const auto latents = values<float>(step.at("latents")), noise = values<float>(step.at("noise"));
  const auto history = values<float>(step.at("history"));
  const auto guidance = values<float>(step.at("guidance"));
  const auto coefficients = values<float>(step.at("coefficients"));
  const Shape& shape = step.at("latents").shape;
  const std::size_t rows = step.at("rows").shape[0], batch = shape[0];
  const std::size_t total = latents.size(), size = total / batch;

  const std::size_t per_part = parts.front().at("next_latents").shape[0];
  std::vector<float> mixed(total);
  for (std::size_t row = 0; row < rows; ++row) {
    const auto predictions = parts[row / per_part].at("next_history").as<float>();
    const float* const predicted = predictions.data() + row % per_part * size;
    for (std::size_t i = 0; i < total; ++i) {
      mixed[i] += guidance[i / size * rows + row] * predicted[i % size];
    }
  }
  Shape three = shape;
  three.insert(three.begin(), remembered);
  Tensor next_latents(DType::float32, shape), next_history(DType::float32, three);
  const auto update = next_latents.as<float>(), newest = next_history.as<float>();
  for (std::size_t i = 0; i < total; ++i) {
    const float* const c = coefficients.data() + i / size * prediction.size();
    const float m0 = c[0] * latents[i] + c[1] * mixed[i];
    update[i] = c[2] * latents[i] + c[3] * m0 + c[4] * history[i] + c[5] * history[total + i] +
                c[6] * history[2 * total + i] + c[7] * noise[i];
    newest[i] = m0;
  }
  std::copy_n(history.begin(), 2 * total, newest.begin() + total);

  Tensors made;
  made.emplace("next_latents", std::move(next_latents));
  made.emplace("next_history", std::move(next_history));
  if (parts.front().contains("features")) made.emplace("features", joined(parts, "features", rows));
  return made;
}

}  // namespace trt_pipeline::internal
