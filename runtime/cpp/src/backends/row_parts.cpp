#include "row_parts.hpp"

#include <algorithm>
#include <array>
#include <span>

#include "backend.hpp"

namespace trt_pipeline::internal {
namespace {

// In which the rows of a step run side by side, where there are as many threads: half the threads
// wait for each other after every layer, which takes a fifth off a small model's step.
constexpr std::size_t max_parts = 2;
// A step's inputs that have an entry for each row.
constexpr std::array<const char*, 4> per_row{"context_kv", "condition", "time_embeds", "features"};
// Coefficients p, q, a, b0, … with which a step's m0 is the predicted noise itself.
constexpr std::array<float, 8> prediction{0, 1};

template <class T>
std::span<const T> values(const TensorView& view) {
  return {static_cast<const T*>(view.data), count_of(view.shape)};
}

std::size_t part_size(std::size_t rows, std::size_t count) {
  return (rows + count - 1) / count;
}

bool follow_each_other(const std::vector<std::size_t>& entries) {
  for (std::size_t i = 1; i < entries.size(); ++i) {
    if (entries[i] != entries[0] + i) return false;
  }
  return true;
}

RowPart part_of(const TensorViews& step, const std::vector<std::size_t>& numbers) {
  const auto all_samples = values<std::int32_t>(step.at("rows"));
  std::vector<std::size_t> samples;
  for (std::size_t number : numbers)
    samples.push_back(static_cast<std::size_t>(all_samples[number]));
  RowPart part;
  for (const char* name : per_row) {
    const auto found = step.find(name);
    if (found != step.end()) part.take(name, found->second, numbers);
  }
  part.take("latents", step.at("latents"), samples);
  return part;
}

// The first rows of a tensor [k, …] of all parts, one after the other.
Tensor joined(const std::vector<TensorViews>& parts, const char* name, std::size_t rows) {
  const TensorView& front = parts.front().at(name);
  const std::size_t per_part = front.shape[0], bytes = front.bytes() / per_part;
  Shape shape = front.shape;
  shape[0] = rows;
  Tensor tensor(front.dtype, shape);
  for (std::size_t row = 0; row < rows; ++row) {
    const auto* const part = static_cast<const std::byte*>(parts[row / per_part].at(name).data);
    std::copy_n(part + row % per_part * bytes, bytes, tensor.bytes.data() + row * bytes);
  }
  return tensor;
}

}  // namespace

void RowPart::take(const std::string& name, const TensorView& whole,
                   const std::vector<std::size_t>& entries) {
  Shape shape = whole.shape;
  const std::size_t bytes = whole.bytes() / shape[0];
  shape[0] = entries.size();
  const auto entry = [&](std::size_t number) {
    return static_cast<const std::byte*>(whole.data) + number * bytes;
  };
  if (follow_each_other(entries)) {
    inputs_.emplace(name, TensorView(whole.dtype, shape, entry(entries[0])));
    return;
  }
  Tensor& copy = copies_.emplace_back(whole.dtype, shape);
  for (std::size_t i = 0; i < entries.size(); ++i) {
    std::copy_n(entry(entries[i]), bytes, copy.bytes.data() + i * bytes);
  }
  inputs_.emplace(name, copy);
}

std::size_t part_count(std::size_t rows, std::size_t threads) {
  return std::min({max_parts, threads, rows});
}

std::vector<RowPart> row_parts(const TensorViews& step, std::size_t count) {
  const std::size_t rows = step.at("rows").shape[0], size = part_size(rows, count);
  std::vector<RowPart> parts;
  for (std::size_t start = 0; start < size * count; start += size) {
    std::vector<std::size_t> numbers;
    for (std::size_t i = start; i < start + size; ++i) numbers.push_back(std::min(i, rows - 1));
    parts.push_back(part_of(step, numbers));
  }
  return parts;
}

std::map<std::string, Shape> part_shapes(const std::map<std::string, Shape>& step,
                                         std::size_t count) {
  std::map<std::string, Shape> part;
  const auto take = [&](const char* name) {
    const auto found = step.find(name);
    if (found == step.end()) return;
    part[name] = found->second;
    part[name][0] = part_size(step.at("rows")[0], count);
  };
  std::ranges::for_each(per_row, take);
  take("latents");
  return part;
}

Tensors prediction_inputs(const Shape& latents) {
  const std::size_t count = latents[0];
  Shape history = latents;
  history.insert(history.begin(), remembered);
  Tensor coefficients(DType::float32, {count, prediction.size()});
  Tensor rows(DType::int32, {count}), guidance(DType::float32, {count, count});
  for (std::size_t i = 0; i < count; ++i) {
    std::copy(prediction.begin(), prediction.end(),
              coefficients.as<float>().begin() + i * prediction.size());
    rows.as<std::int32_t>()[i] = static_cast<std::int32_t>(i);
    guidance.as<float>()[i * count + i] = 1;
  }
  Tensors inputs;
  inputs.emplace("history", Tensor(DType::float32, history));
  inputs.emplace("noise", Tensor(DType::float32, latents));
  inputs.emplace("coefficients", std::move(coefficients));
  inputs.emplace("rows", std::move(rows));
  inputs.emplace("guidance", std::move(guidance));
  return inputs;
}

Tensors step_of(const TensorViews& step, const std::vector<TensorViews>& parts) {
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
    const auto predictions = values<float>(parts[row / per_part].at("next_history"));
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
