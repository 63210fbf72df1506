// Samplers of consistency models, which jump to a sample in each step and add noise to go on; m0 is
// the predicted sample.
#include <cmath>

#include "../arguments.hpp"
#include "samplers.hpp"

namespace trt_pipeline::internal {
namespace {

constexpr double timestep_scaling = 10, sigma_data = 0.5;

// The timestep that a step of tcd goes to before it adds noise; rounded down in float32, as
// diffusers does.
std::int64_t noised_from(std::int64_t following, double eta) {
  return static_cast<std::int64_t>(
      std::floor(static_cast<float>(1 - eta) * static_cast<float>(following)));
}

}  // namespace

SamplerTable lcm(const ScheduleSpec& schedule, std::int64_t steps, std::size_t start) {
  const Timesteps timesteps = without_first(distilled_timesteps(schedule, steps), start);
  Doubles levels;
  for (std::int64_t t : timesteps) levels.push_back(alpha_at(schedule, t));
  levels.push_back(1);
  std::vector<Row> rows;
  for (std::size_t i = 0; i < timesteps.size(); ++i) {
    const double scaled = timestep_scaling * static_cast<double>(timesteps[i]);
    const double spread = scaled * scaled + sigma_data * sigma_data;
    const double c_skip = sigma_data * sigma_data / spread, c_out = scaled / std::sqrt(spread);
    const double signal = std::sqrt(levels[i + 1]);
    const auto [p, q] = predicted_sample(schedule.prediction, levels[i]);
    rows.push_back({p, q, signal * c_skip, {signal * c_out}, std::sqrt(1 - levels[i + 1])});
  }
  return {as_doubles(timesteps), levels, rows, rows.size() - 1};
}

SamplerTable tcd(const ScheduleSpec& schedule, std::int64_t steps, std::size_t start, double eta) {
  checked_real("eta", eta, 0, 1);
  const Timesteps timesteps = without_first(distilled_timesteps(schedule, steps), start);
  std::vector<Row> rows;
  Doubles levels{alpha_at(schedule, timesteps[0])};
  for (std::size_t i = 0; i < timesteps.size(); ++i) {
    const std::int64_t following = i + 1 < timesteps.size() ? timesteps[i + 1] : 0;
    const double alpha = levels[i], alpha_prev = alpha_at(schedule, following);
    const double alpha_below = alpha_at(schedule, noised_from(following, eta));
    const double kept = std::sqrt((1 - alpha_below) / (1 - alpha));
    const double reached = std::sqrt(alpha_below) - kept * std::sqrt(alpha);
    const double signal = std::sqrt(alpha_prev / alpha_below);
    const auto [p, q] = predicted_sample(schedule.prediction, alpha);
    rows.push_back(
        {p, q, signal * kept, {signal * reached}, std::sqrt(1 - alpha_prev / alpha_below)});
    levels.push_back(alpha_prev);
  }
  return {as_doubles(timesteps), levels, rows, eta > 0 ? rows.size() - 1 : 0};
}

}  // namespace trt_pipeline::internal
