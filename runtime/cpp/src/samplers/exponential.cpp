// Second-order exponential integrators in λ = -log σ, half the log-SNR; m0 is the predicted
// sample. Their last step goes to σ = 0, an infinite λ, and lands on m0.
#include <cmath>

#include "../arguments.hpp"
#include "samplers.hpp"

namespace trt_pipeline::internal {
namespace {

using Weights = std::vector<std::array<double, 3>>;  // [N], of m0, m1, m2

// The share √ᾱ of the clean sample in the latents.
double signal(double sigma) {
  return 1 / std::sqrt(1 + sigma * sigma);
}

// How step i shrinks the noise in the latents.
double decay(const Doubles& sigmas, std::size_t i) {
  return sigmas[i + 1] * signal(sigmas[i + 1]) / (sigmas[i] * signal(sigmas[i]));
}

// How much of the predicted sample step i adds: √ᾱ'·(1 - e^-h), e^-h = σ'/σ.
double gain(const Doubles& sigmas, std::size_t i) {
  return signal(sigmas[i + 1]) * (1 - sigmas[i + 1] / sigmas[i]);
}

// The length of step i in λ.
double length(const Doubles& sigmas, std::size_t i) {
  return std::log(sigmas[i] / sigmas[i + 1]);
}

// DPM-Solver++(2M), also UniP-2. The first step, which has no history, and the last are of order 1.
Weights predictor(const Doubles& sigmas) {
  const std::size_t steps = sigmas.size() - 1;
  Weights weights;
  for (std::size_t i = 0; i < steps; ++i) {
    const bool second = i > 0 && i + 1 < steps;
    const double slope = second ? length(sigmas, i) / length(sigmas, i - 1) / 2 : 0;
    const double factor = gain(sigmas, i);
    weights.push_back({factor * (1 + slope), factor * -slope, 0});
  }
  return weights;
}

// What UniC-2 adds to the latents before step i > 0. Knowing m0, it repeats the previous step: the
// mix old·D1 + new·(m0 - m1) replaces D1 / 2, where D1 = (m1 - m2) / r, r = h_previous / h. The
// first correction has no D1.
std::array<double, 3> corrector(const Doubles& sigmas, std::size_t i) {
  const double h = length(sigmas, i - 1);
  double older = 0, newer = 0.5;
  if (i > 1) {
    const double r = length(sigmas, i - 2) / h;
    const double phi_1 = std::expm1(-h);
    const double phi_2 = -phi_1 / h - 1;
    const double phi_3 = -phi_2 / h - 0.5;
    const double excess = (phi_2 - 2 * phi_3) / phi_1 / (1 + r);
    older = (excess - 0.5) / r;
    newer = phi_2 / phi_1 - excess;
  }
  const double factor = gain(sigmas, i - 1);
  return {factor * newer, factor * (older - newer), factor * -older};
}

SamplerTable table(const ScheduleSpec& schedule, const Timesteps& timesteps, const Doubles& sigmas,
                   const Weights& weights) {
  std::vector<Row> rows;
  Doubles levels;
  for (double sigma : sigmas) levels.push_back(signal(sigma) * signal(sigma));
  for (std::size_t i = 0; i < weights.size(); ++i) {
    const auto [p, q] = predicted_sample(schedule.prediction, levels[i]);
    const auto& [b0, b1, b2] = weights[i];
    rows.push_back({p, q, decay(sigmas, i), {b0, b1, b2, 0}, 0});
  }
  return {as_doubles(timesteps), levels, rows};
}

}  // namespace

SamplerTable dpmsolver(const ScheduleSpec& schedule, std::int64_t steps, std::size_t start) {
  const Timesteps timesteps = without_first(timesteps_above_end(schedule, steps), start);
  const Doubles sigmas = sigmas_at(schedule, as_doubles(timesteps));
  return table(schedule, timesteps, sigmas, predictor(sigmas));
}

SamplerTable dpmsolver_karras(const ScheduleSpec& schedule, std::int64_t steps, std::size_t start) {
  checked_integer("num_inference_steps", steps, 1, schedule.training_steps());
  const Doubles sigmas = without_first(karras_sigmas(training_sigmas(schedule), steps), start);
  Timesteps nearest;
  for (double at : timesteps_of(schedule, sigmas)) {
    nearest.push_back(static_cast<std::int64_t>(std::nearbyint(at)));  // half to even, as NumPy
  }
  return table(schedule, nearest, sigmas, predictor(sigmas));
}

// Its corrected sample is the predicted one, x, plus a mix of m0, m1 and m2, so one row corrects
// and predicts.
SamplerTable unipc(const ScheduleSpec& schedule, std::int64_t steps, std::size_t start) {
  const Timesteps timesteps = without_first(timesteps_above_end(schedule, steps), start);
  const Doubles sigmas = sigmas_at(schedule, as_doubles(timesteps));
  Weights weights = predictor(sigmas);
  for (std::size_t i = 1; i < weights.size(); ++i) {
    const auto correction = corrector(sigmas, i);
    for (std::size_t j = 0; j < 3; ++j) weights[i][j] += decay(sigmas, i) * correction[j];
  }
  return table(schedule, timesteps, sigmas, weights);
}

}  // namespace trt_pipeline::internal
