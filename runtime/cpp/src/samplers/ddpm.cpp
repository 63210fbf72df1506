#include <algorithm>
#include <cmath>

#include "samplers.hpp"

namespace trt_pipeline::internal {
namespace {

// The last step lands on the predicted sample; at timestep 0 it draws no noise.
SamplerTable table(const ScheduleSpec& schedule, std::int64_t steps, std::size_t start,
                   bool posterior) {
  const Timesteps timesteps = without_first(inference_timesteps(schedule, steps), start);
  Doubles levels;
  for (std::int64_t t : timesteps) levels.push_back(alpha_at(schedule, t));
  levels.push_back(1);
  std::vector<Row> rows;
  const auto noisy_steps = static_cast<std::size_t>(
      std::ranges::count_if(timesteps, [](std::int64_t t) { return t > 0; }));
  for (std::size_t i = 0; i < timesteps.size(); ++i) {
    const double alpha = levels[i], alpha_prev = levels[i + 1];
    const double beta = 1 - alpha / alpha_prev;
    const double kept = (1 - alpha_prev) / (1 - alpha);
    const double variance = posterior ? kept * beta : beta;
    const auto [p, q] = predicted_sample(schedule.prediction, alpha);
    const double b0 = std::sqrt(alpha_prev) * beta / (1 - alpha);
    rows.push_back({p,
                    q,
                    std::sqrt(alpha / alpha_prev) * kept,
                    {b0},
                    timesteps[i] > 0 ? std::sqrt(variance) : 0});
  }
  return {as_doubles(timesteps), levels, rows, noisy_steps};
}

}  // namespace

SamplerTable ddpm(const ScheduleSpec& schedule, std::int64_t steps, std::size_t start) {
  return table(schedule, steps, start, true);
}

SamplerTable ddpm_fixed_large(const ScheduleSpec& schedule, std::int64_t steps, std::size_t start) {
  return table(schedule, steps, start, false);
}

}  // namespace trt_pipeline::internal
