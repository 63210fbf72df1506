#include "../src/backends/row_parts.hpp"

#include <doctest/doctest.h>

#include <algorithm>

namespace trt_pipeline::internal {
namespace {

Tensor of(Shape shape, std::vector<float> numbers) {
  Tensor tensor(DType::float32, std::move(shape));
  std::copy(numbers.begin(), numbers.end(), tensor.as<float>().begin());
  return tensor;
}

std::vector<float> numbers(const TensorView& tensor) {
  const auto* const values = static_cast<const float*>(tensor.data);
  return {values, values + count_of(tensor.shape)};
}

// One sample of one pixel that three rows mix.
Tensors step() {
  Tensor rows(DType::int32, {3});
  return {{"rows", rows},
          {"context_kv", of({3, 1, 1}, {1, 2, 3})},
          {"guidance", of({1, 3}, {-5, 4, 2})},
          {"coefficients", of({1, 8}, {2, 3, 0.5f, 7, 11, 13, 17, 19})},
          {"latents", of({1, 1, 1, 1}, {10})},
          {"history", of({3, 1, 1, 1, 1}, {1, 2, 3})},
          {"condition", of({3, 1, 1, 1}, {-1, -2, -3})},
          {"time_embeds", of({3, 2}, {8, 9, 18, 19, 28, 29})},
          {"noise", of({1, 1, 1, 1}, {0.25f})}};
}

TensorViews views(const Tensors& tensors) {
  return {tensors.begin(), tensors.end()};
}

TEST_CASE("parts have equally many rows, each a sample of its own, and repeat the last one") {
  const Tensors whole = step();
  const auto parts = row_parts(views(whole), 2);
  REQUIRE(parts.size() == 2);
  CHECK(numbers(parts[0].inputs().at("context_kv")) == std::vector<float>{1, 2});
  CHECK(numbers(parts[1].inputs().at("context_kv")) == std::vector<float>{3, 3});
  CHECK(numbers(parts[1].inputs().at("latents")) == std::vector<float>{10, 10});
  CHECK(numbers(parts[1].inputs().at("time_embeds")) == std::vector<float>{28, 29, 28, 29});
  CHECK(numbers(parts[1].inputs().at("condition")) == std::vector<float>{-3, -3});
  const Tensors others = prediction_inputs(parts[1].inputs().at("latents").shape);
  CHECK(numbers(others.at("guidance")) == std::vector<float>{1, 0, 0, 1});
  CHECK(others.at("rows").as<std::int32_t>()[1] == 1);
}

TEST_CASE("the shapes of parts are known before their numbers") {
  const Tensors whole = step();
  std::map<std::string, Shape> shapes, expected;
  for (const auto& [name, tensor] : whole) shapes[name] = tensor.shape;
  const auto parts = row_parts(views(whole), 2);
  for (const auto& [name, view] : parts[0].inputs()) expected[name] = view.shape;
  CHECK(part_shapes(shapes, 2) == expected);
}

TEST_CASE("rows that follow each other are not copied") {
  const Tensors whole = step();
  const auto parts = row_parts(views(whole), 2);
  CHECK(parts[0].inputs().at("context_kv").data == whole.at("context_kv").bytes.data());
}

TEST_CASE("guidance and the sampler's update follow for all rows at once") {
  const auto part = [](float first, float second) {
    return Tensors{{"next_latents", of({2, 1, 1, 1}, {0, 0})},
                   {"next_history", of({3, 2, 1, 1, 1}, {first, second, 0, 0, 0, 0})},
                   {"features", of({2, 1, 1, 1}, {first, second})}};
  };
  const Tensors whole = step();
  const Tensors first = part(1, 2), second = part(3, 99);
  const Tensors made = step_of(views(whole), {views(first), views(second)});
  const float m0 = 2 * 10 + 3 * (-5 * 1 + 4 * 2 + 2 * 3);  // 47
  CHECK(numbers(made.at("next_history")) == std::vector<float>{m0, 1, 2});
  CHECK(numbers(made.at("next_latents")) ==
        std::vector<float>{0.5f * 10 + 7 * m0 + 11 * 1 + 13 * 2 + 17 * 3 + 19 * 0.25f});
  CHECK(numbers(made.at("features")) == std::vector<float>{1, 2, 3});
}

}  // namespace
}  // namespace trt_pipeline::internal
