#include "../src/backends/halves.hpp"

#include <doctest/doctest.h>

#include <numeric>

namespace trt_pipeline::internal {
namespace {

Tensor counting(Shape shape, float start) {
  Tensor tensor(DType::float32, std::move(shape));
  std::iota(tensor.as<float>().begin(), tensor.as<float>().end(), start);
  return tensor;
}

std::vector<float> numbers(const TensorView& view) {
  const auto* first = static_cast<const float*>(view.data);
  return {first, first + count_of(view.shape)};
}

TEST_CASE("a step parts into its first and last rows, of which one has all that is no prediction") {
  Tensor rows(DType::int32, {2});
  const Tensor text = counting({2, 1, 2}, 1), guidance = counting({2, 2}, 5);
  const Tensor coefficients = counting({1, 8}, 10), latents = counting({1, 1, 1, 1}, 0);
  const auto halves = halve({{"rows", rows},
                             {"text_kv", text},
                             {"guidance", guidance},
                             {"coefficients", coefficients},
                             {"latents", latents}});
  REQUIRE(halves);
  CHECK(numbers(halves->first.at("text_kv")) == std::vector<float>{1, 2});
  CHECK(numbers(halves->second.at("text_kv")) == std::vector<float>{3, 4});
  CHECK(numbers(halves->first.at("guidance")) == std::vector<float>{5, 7});
  CHECK(numbers(halves->second.at("guidance")) == std::vector<float>{6, 8});
  CHECK(numbers(halves->first.at("coefficients")) == numbers(coefficients));
  CHECK(numbers(halves->second.at("coefficients")) ==
        std::vector<float>{0, 11, 0, 13, 0, 0, 0, 0});
  CHECK(halves->second.at("rows").shape == Shape{1});
  CHECK(halves->second.at("latents").data == latents.bytes.data());
}

TEST_CASE("an odd number of rows and a model without them stay together") {
  const Tensor rows(DType::int32, {3});
  CHECK_FALSE(halve({{"rows", rows}}));
  CHECK_FALSE(halve({}));
}

TEST_CASE("latents and the newest prediction add up, features follow each other") {
  const auto half = [](float start) {
    return Tensors{{"next_latents", counting({1, 1, 1, 2}, start)},
                   {"next_history", counting({3, 1, 1, 1, 2}, start)},
                   {"features", counting({1, 1, 1, 1}, start)}};
  };
  const Tensors joined = join(half(1), half(10));
  CHECK(numbers(joined.at("next_latents")) == std::vector<float>{11, 13});
  CHECK(numbers(joined.at("next_history")) == std::vector<float>{11, 13, 3, 4, 5, 6});
  CHECK(numbers(joined.at("features")) == std::vector<float>{1, 10});
}

}  // namespace
}  // namespace trt_pipeline::internal
