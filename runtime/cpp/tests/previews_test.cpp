#include "previews.hpp"

#include <doctest/doctest.h>

#include "golden.hpp"

using namespace trt_pipeline::internal;

TEST_CASE("latents give Python's previews, to 1 of 255") {
  const auto expected = golden("previews.json");
  Tensor latents(DType::float32, expected["shape"].get<Shape>());
  std::ranges::copy(expected["latents"].get<std::vector<float>>(), latents.as<float>().begin());
  const Tensor pixels = preview_pixels(latents, expected["map"]);
  CHECK(pixels.shape == Shape{2, 3, 5, 3});
  for (std::size_t i = 0; i < pixels.bytes.size(); ++i) {
    CHECK(std::abs(pixels.as<std::uint8_t>()[i] - expected["pixels"][i].get<int>()) <= 1);
  }
}

TEST_CASE("latents that are NaN have a preview all the same") {
  Tensor latents(DType::float32, {1, 1, 1, 1});
  latents.as<float>()[0] = NAN;
  CHECK(preview_pixels(latents, {{1, 0}, {1, 0}, {1, 0}}).bytes.size() == 3);
}
