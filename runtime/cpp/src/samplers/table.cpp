#include "table.hpp"

#include <cmath>

namespace trt_pipeline::internal {

SamplerTable::SamplerTable(const Doubles& times, const Doubles& levels,
                           const std::vector<Row>& rows, std::size_t noisy_steps, double initial_scale)
    : timesteps(times.begin(), times.end()),
      alphas_cumprod(levels.begin(), levels.end()),
      noisy_steps(noisy_steps),
      initial_scale(static_cast<float>(initial_scale)) {
  for (const Row& row : rows) {
    const std::array<double, 8> numbers = {row.p,    row.q,    row.a,    row.b[0],
                                           row.b[1], row.b[2], row.b[3], row.s};
    auto& rounded = coefficients.emplace_back();
    for (std::size_t i = 0; i < 8; ++i) rounded[i] = static_cast<float>(numbers[i]);
  }
}

// From output = u·x0 + w·ε and x = √ᾱ·x0 + √(1-ᾱ)·ε.
Prediction predicted_noise(const PredictionSpec& prediction, double alpha) {
  const double signal = std::sqrt(alpha), noise = std::sqrt(1 - alpha);
  const auto mixed = [&](const std::array<double, 3>& factors) {
    return factors[0] + factors[1] * signal + factors[2] * noise;
  };
  const double u = mixed(prediction.sample), w = mixed(prediction.noise);
  const double determinant = signal * w - noise * u;
  return {(0 - u) / determinant, signal / determinant};
}

Prediction predicted_sample(const PredictionSpec& prediction, double alpha) {
  const auto [p, q] = predicted_noise(prediction, alpha);
  const double noise = std::sqrt(1 - alpha);
  return {(1 - noise * p) / std::sqrt(alpha), -noise * q / std::sqrt(alpha)};
}

}  // namespace trt_pipeline::internal
