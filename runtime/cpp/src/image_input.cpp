#include "image_input.hpp"

#include <algorithm>

#include "arguments.hpp"
#include "errors.hpp"

namespace trt_pipeline::internal {
namespace {

constexpr double default_strength = 0.8;      // as in diffusers
constexpr std::uint8_t mask_threshold = 128;  // grey level from which a pixel is painted anew

}  // namespace

void check_entries(const char* name, std::size_t entries, std::size_t pictures) {
  if (entries != 1 && entries != pictures) {
    throw InvalidInputError(concat(name, " has ", entries, " entries for ", pictures, " images."));
  }
}

void check_image(const GivenImage& given, std::size_t pictures) {
  if (!given.pixels) {
    if (given.mask) throw InvalidInputError("mask_image is given without image.");
    if (given.strength) throw InvalidInputError("strength is given without image.");
    return;
  }
  check_entries("image", given.count, pictures);
  if (given.mask) check_entries("mask_image", given.mask_count, pictures);
}

std::size_t first_step(const GivenImage& given, std::int64_t num_inference_steps) {
  if (!given.pixels) return 0;
  const double usual = given.mask ? 1.0 : default_strength;
  const double strength = checked_real("strength", given.strength.value_or(usual), 0, 1);
  const std::int64_t steps =
      checked_integer("num_inference_steps", num_inference_steps, 1, 1'000'000);
  const auto left =
      std::min(static_cast<std::int64_t>(static_cast<double>(steps) * strength), steps);
  if (left < 1) {
    throw InvalidInputError(concat("strength ", strength, " of ", steps,
                                   " steps leaves none; at least ", 1 / static_cast<double>(steps),
                                   " leaves one."));
  }
  return static_cast<std::size_t>(steps - left);
}

std::optional<ImageInput> image_input(const GivenImage& given, std::size_t pictures) {
  if (!given.pixels) return std::nullopt;
  const auto height = static_cast<std::size_t>(given.height);
  const auto width = static_cast<std::size_t>(given.width);
  const std::size_t area = height * width;
  ImageInput image{{DType::uint8, {pictures, height, width, 3}}, {}};
  const auto pixels = image.pixels.as<std::uint8_t>();
  for (std::size_t i = 0; i < pixels.size(); ++i) {
    pixels[i] = given.pixels[i % (given.count * area * 3)];
  }
  if (!given.mask) return image;
  image.repainted.reserve(pictures * area);
  for (std::size_t i = 0; i < pictures * area; ++i) {
    image.repainted.push_back(given.mask[i % (given.mask_count * area)] >= mask_threshold);
  }
  return image;
}

}  // namespace trt_pipeline::internal
