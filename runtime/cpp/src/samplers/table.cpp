#include "table.hpp"

#include <cmath>

namespace trt_pipeline::internal {

SamplerTable::SamplerTable(const Doubles& times, const Doubles& levels,
                           const std::vector<Row>& rows, bool draws_noise, double initial_scale)
    : timesteps(times.begin(), times.end()),
      alphas_cumprod(levels.begin(), levels.end()),
      draws_noise(draws_noise),
      initial_scale(static_cast<float>(initial_scale)) {
  for (const Row& row : rows) {
    const std::array<double, 8> numbers = {row.p,    row.q,    row.a,    row.b[0],
                                           row.b[1], row.b[2], row.b[3], row.s};
    auto& rounded = coefficients.emplace_back();
    for (std::size_t i = 0; i < 8; ++i) rounded[i] = static_cast<float>(numbers[i]);
  }
}

Prediction predicted_noise(const std::string& prediction_type, double alpha) {
  if (prediction_type == "sample") {
    return {1 / std::sqrt(1 - alpha), -std::sqrt(alpha / (1 - alpha))};
  }
  if (prediction_type == "v_prediction") {  // arXiv:2202.00512, appendix D
    return {std::sqrt(1 - alpha), std::sqrt(alpha)};
  }
  return {0, 1};
}

Prediction predicted_sample(const std::string& prediction_type, double alpha) {
  const auto [p, q] = predicted_noise(prediction_type, alpha);
  const double noise = std::sqrt(1 - alpha);
  return {(1 - noise * p) / std::sqrt(alpha), -noise * q / std::sqrt(alpha)};
}

}  // namespace trt_pipeline::internal
