#include <algorithm>
#include <cmath>

#include "../arguments.hpp"
#include "samplers.hpp"

namespace trt_pipeline::internal {

SamplerTable ddim(const ScheduleSpec& schedule, std::int64_t steps, std::size_t start, double eta) {
  checked_real("eta", eta, 0, 1);
  const Timesteps timesteps = without_first(inference_timesteps(schedule, steps), start);
  const std::int64_t stride = schedule.training_steps() / steps;
  std::vector<Row> rows;
  Doubles levels;
  for (std::int64_t t : timesteps) {
    const double alpha = alpha_at(schedule, t);
    const double alpha_prev = alpha_at(schedule, t - stride);
    levels.push_back(alpha);
    const double sigma = eta * std::sqrt((1 - alpha_prev) / (1 - alpha) * (1 - alpha / alpha_prev));
    const double direction = std::sqrt(std::max(1 - alpha_prev - sigma * sigma, 0.0));
    const auto [p, q] = predicted_noise(schedule.prediction, alpha);
    const double a = std::sqrt(alpha_prev / alpha);
    rows.push_back({p, q, a, {direction - a * std::sqrt(1 - alpha)}, sigma});
  }
  levels.push_back(alpha_at(schedule, timesteps.back() - stride));
  return {as_doubles(timesteps), levels, rows, eta > 0 ? rows.size() : 0};
}

}  // namespace trt_pipeline::internal
