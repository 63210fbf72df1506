#include "inpainting.hpp"

#include <doctest/doctest.h>

#include "golden.hpp"

using namespace trt_pipeline::internal;

namespace {

template <class T>
Tensor tensor_of(DType dtype, const Shape& shape, const nlohmann::json& numbers) {
  Tensor tensor(dtype, shape);
  const auto values = numbers.get<std::vector<T>>();
  std::ranges::copy(values, tensor.as<T>().begin());
  return tensor;
}

ImageInput image_of(const nlohmann::json& expected) {
  Shape shape = expected["shape"];
  shape.push_back(3);
  return {tensor_of<std::uint8_t>(DType::uint8, shape, expected["given"]), expected["repainted"]};
}

// 1 where latents stay.
std::vector<int> kept_of(const Tensor& repainted) {
  std::vector<int> kept;
  for (const std::uint8_t one : repainted.as<std::uint8_t>()) kept.push_back(!one);
  return kept;
}

}  // namespace

TEST_CASE("pasting gives Python's pictures, to 1 of 255") {
  for (const auto& expected : golden("inpainting.json")) {
    const ImageInput image = image_of(expected);
    const Tensor painted =
        tensor_of<std::uint8_t>(DType::uint8, image.pixels.shape, expected["painted"]);
    const Tensor merged = paste(painted, image);
    int largest = 0;
    for (std::size_t i = 0; i < merged.bytes.size(); ++i) {
      const int off = merged.as<std::uint8_t>()[i] - expected["merged"][i].get<int>();
      largest = std::max(largest, std::abs(off));
    }
    CHECK(largest <= 1);  // sums in another order may round the other way
  }
}

TEST_CASE("known latents are put back as in Python") {
  for (const auto& expected : golden("inpainting.json")) {
    const Shape shape = expected["latents_shape"];
    const auto floats = [&](const char* name) {
      return tensor_of<float>(DType::float32, shape, expected[name]);
    };
    const ImageInput image = image_of(expected);
    const KnownLatents known{floats("clean"), floats("noise"),
                             repainted_latents(image, expected["factor"], false)};
    CHECK(kept_of(known.repainted) == expected["kept"].get<std::vector<int>>());
    CHECK(kept_of(repainted_latents(image, expected["factor"], true)) ==
          expected["untouched"].get<std::vector<int>>());
    Tensor latents = floats("latents");
    known.restore(latents, expected["alpha"]);
    for (std::size_t i = 0; i < latents.as<float>().size(); ++i) {
      CHECK(float32_steps(latents.as<float>()[i], expected["restored"][i]) <= 1);
    }
  }
}
