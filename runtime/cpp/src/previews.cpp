#include "previews.hpp"

#include <cmath>

namespace trt_pipeline::internal {

Tensor preview_pixels(const Tensor& latents, const PreviewMap& map) {
  const Shape& shape = latents.shape;
  const std::size_t channels = shape[1], area = shape[2] * shape[3];
  const auto numbers = latents.as<float>();
  Tensor pixels(DType::uint8, {shape[0], shape[2], shape[3], map.size()});
  const auto bytes = pixels.as<std::uint8_t>();
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    const std::vector<double>& row = map[i % map.size()];
    const std::size_t pixel = i / map.size();
    const std::size_t first = pixel / area * channels * area + pixel % area;
    auto value = static_cast<float>(row.back());
    for (std::size_t c = 0; c < channels; ++c) {
      value += static_cast<float>(row[c]) * numbers[first + c * area];
    }
    const float level = std::nearbyint((value + 1) * 127.5f);
    bytes[i] = static_cast<std::uint8_t>(std::fmax(0.0f, std::fmin(level, 255.0f)));  // NaN too
  }
  return pixels;
}

}  // namespace trt_pipeline::internal
