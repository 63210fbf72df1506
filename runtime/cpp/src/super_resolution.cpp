#include "super_resolution.hpp"

#include "arguments.hpp"
#include "errors.hpp"

namespace trt_pipeline::internal {
namespace {

constexpr std::int32_t multiple = 32;
constexpr std::size_t channels = 3;

}  // namespace

void check_low_resolution(const GivenImage& given, std::size_t pictures) {
  if (!given.pixels) {
    throw InvalidInputError("there is no image, but this model enlarges pictures.");
  }
  if (given.height % multiple || given.width % multiple) {
    throw InvalidInputError(concat("image is ", given.width, "x", given.height,
                                   " pixels, expected multiples of ", multiple,
                                   "; this library does not resize."));
  }
  check_entries("image", given.count, pictures);
}

Tensor low_resolution(const GivenImage& given, std::size_t start, std::size_t count) {
  const auto height = static_cast<std::size_t>(given.height);
  const auto width = static_cast<std::size_t>(given.width);
  const std::size_t area = height * width;
  Tensor tensor(DType::float32, {count, channels, height, width});
  const auto numbers = tensor.as<float>();
  for (std::size_t sample = 0; sample < count; ++sample) {
    const std::uint8_t* picture = given.pixels + (start + sample) % given.count * area * channels;
    for (std::size_t i = 0; i < area * channels; ++i) {
      const std::size_t plane = sample * channels + i % channels;
      numbers[plane * area + i / channels] = 2 * (static_cast<float>(picture[i]) / 255.0f) - 1;
    }
  }
  return tensor;
}

}  // namespace trt_pipeline::internal
