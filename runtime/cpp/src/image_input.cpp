#include "image_input.hpp"

#include <algorithm>
#include <cmath>

#include "arguments.hpp"
#include "errors.hpp"

namespace trt_pipeline::internal {
namespace {

constexpr double default_strength = 0.8;      // as in diffusers
constexpr std::uint8_t mask_threshold = 128;  // grey level from which a pixel is repainted
constexpr std::int64_t max_side = 1 << 16;
constexpr std::int32_t enlarged_multiple = 32;
constexpr std::size_t channels = 3;

void check_entries(const char* name, std::size_t entries, std::size_t pictures,
                   std::int32_t copies) {
  const bool one_a_prompt = entries * static_cast<std::size_t>(copies) == pictures;
  if (entries == 1 || entries == pictures || one_a_prompt) return;
  throw InvalidInputError(concat(name, " has ", counted(entries, "entry", "entries"), " for ",
                                 counted(pictures, "picture"),
                                 "; give one for all, or one a picture."));
}

// What a model does with a picture that it must have.
const char* use_of(const std::string& condition) {
  if (condition == "low_resolution") return "enlarges pictures";
  return condition == "image" ? "changes one as the prompt says" : "paints a part of image again";
}

std::size_t area_of(const trt_pipeline_settings& settings) {
  return static_cast<std::size_t>(settings.image_height) *
         static_cast<std::size_t>(settings.image_width);
}

}  // namespace

void check_image(const trt_pipeline_settings& settings, std::size_t pictures,
                 const std::string& condition) {
  const bool enlarged = condition == "low_resolution";
  if (!settings.image && !condition.empty()) {
    throw InvalidInputError(concat("image is missing; this model ", use_of(condition), "."));
  }
  if (!settings.mask_image && condition == "masked_image") {
    throw InvalidInputError(concat("mask_image is missing; this model ", use_of(condition), "."));
  }
  const bool is_plain = !settings.overlay || std::string_view(settings.overlay) == "none";
  if (!settings.mask_image && !is_plain) {
    throw InvalidInputError("overlay is given without mask_image.");
  }
  if (!settings.image) {
    if (settings.mask_image) throw InvalidInputError("mask_image is given without image.");
    if (!std::isnan(settings.strength)) {
      throw InvalidInputError("strength is given without image.");
    }
    return;
  }
  checked_integer("image_height", settings.image_height, 1, max_side);
  checked_integer("image_width", settings.image_width, 1, max_side);
  const bool fits = settings.image_height % enlarged_multiple == 0 &&
                    settings.image_width % enlarged_multiple == 0;
  if (enlarged && !fits) {
    throw InvalidInputError(concat("image is ", settings.image_width, "x", settings.image_height,
                                   " pixels, expected multiples of ", enlarged_multiple,
                                   "; this library does not resize."));
  }
  check_entries("image", settings.image_count, pictures, settings.num_images_per_prompt);
  if (!settings.mask_image) return;
  check_entries("mask_image", settings.mask_image_count, pictures, settings.num_images_per_prompt);
}

double strength_of(const trt_pipeline_settings& settings) {
  const double usual = settings.mask_image ? 1.0 : default_strength;
  return std::isnan(settings.strength) ? usual : settings.strength;
}

std::size_t first_step(const trt_pipeline_settings& settings) {
  const double strength = strength_of(settings);
  const std::int64_t steps = settings.num_inference_steps;
  const auto left =
      std::min(static_cast<std::int64_t>(static_cast<double>(steps) * strength), steps);
  if (left < 1) {
    throw InvalidInputError(concat("strength ", strength, " of ", counted(steps, "step"),
                                   " leaves none; use more steps, or a strength of ",
                                   1 / static_cast<double>(steps), " or more."));
  }
  return static_cast<std::size_t>(steps - left);
}

ImageInput image_input(const trt_pipeline_settings& settings) {
  ImageInput image{{DType::uint8,
                    {settings.image_count, static_cast<std::size_t>(settings.image_height),
                     static_cast<std::size_t>(settings.image_width), channels}},
                   {}};
  const auto pixels = image.pixels.as<std::uint8_t>();
  std::copy_n(settings.image, pixels.size(), pixels.begin());
  if (!settings.mask_image) return image;
  const auto* mask = settings.mask_image;
  std::transform(mask, mask + settings.mask_image_count * area_of(settings),
                 std::back_inserter(image.repainted),
                 [](std::uint8_t level) { return level >= mask_threshold; });
  return image;
}

Tensor low_resolution(const trt_pipeline_settings& settings) {
  const std::size_t area = area_of(settings), bytes = area * channels;
  Tensor tensor(DType::float32,
                {settings.image_count, channels, static_cast<std::size_t>(settings.image_height),
                 static_cast<std::size_t>(settings.image_width)});
  const auto numbers = tensor.as<float>();
  for (std::size_t at = 0; at < numbers.size(); ++at) {
    const std::size_t plane = at / bytes * channels + at % channels;
    const float level = static_cast<float>(settings.image[at]) / 255.0f;
    numbers[plane * area + at % bytes / channels] = 2 * level - 1;
  }
  return tensor;
}

}  // namespace trt_pipeline::internal
