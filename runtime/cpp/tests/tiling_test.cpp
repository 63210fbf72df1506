#include "tiling.hpp"

#include <doctest/doctest.h>

#include "golden.hpp"

using namespace trt_pipeline::internal;

namespace {

// The decoder of the golden file, `checkered`.
Tensor checkered(const Tensor& latents, std::size_t factor) {
  const Shape& shape = latents.shape;
  Tensor pixels(DType::uint8, {shape[0], shape[2] * factor, shape[3] * factor, 3});
  auto to = pixels.as<std::uint8_t>().begin();
  for (std::size_t b = 0; b < shape[0]; ++b) {
    for (std::size_t y = 0; y < pixels.shape[1]; ++y) {
      for (std::size_t x = 0; x < pixels.shape[2]; ++x) {
        for (std::size_t c = 0; c < 3; ++c) {
          const std::size_t row = (b * 3 + c) * shape[2] + y / factor;
          const float level = latents.as<float>()[row * shape[3] + x / factor];
          const float darker = (y + x) % 2 ? 1.0f : static_cast<float>(2.0 / 3);
          *to++ = static_cast<std::uint8_t>(level * darker * 255.0f);
        }
      }
    }
  }
  return pixels;
}

}  // namespace

TEST_CASE("tiles give Python's pixels") {
  for (const auto& expected : golden("tiling.json")) {
    const std::size_t factor = expected["factor"];
    Tensor latents(DType::float32, expected["shape"].get<Shape>());
    std::ranges::copy(expected["latents"].get<std::vector<float>>(), latents.as<float>().begin());
    const auto decode = [&](const Tensor& one) { return checkered(one, factor); };
    const Tensor pixels = decode_in_tiles(decode, latents, expected["tile"], factor);
    const auto bytes = pixels.as<std::uint8_t>();
    CHECK(std::vector(bytes.begin(), bytes.end()) ==
          expected["pixels"].get<std::vector<std::uint8_t>>());
  }
}

TEST_CASE("no tile is larger than asked for") {
  const Tensor latents(DType::float32, {1, 3, 40, 23});
  decode_in_tiles(
      [](const Tensor& one) {
        CHECK(one.shape[2] <= 9);
        CHECK(one.shape[3] <= 9);
        return checkered(one, 1);
      },
      latents, 9, 1);
}
