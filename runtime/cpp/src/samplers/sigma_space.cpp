// Samplers that solve dx_σ/dσ = ε, where x_σ = x0 + σ·ε is the latents divided by √ᾱ. Their rows
// are brought back to the latents that the model knows, x = x_σ / √(1+σ²).
#include <algorithm>
#include <cmath>

#include "samplers.hpp"

namespace trt_pipeline::internal {
namespace {

constexpr std::size_t lms_order = 4;

// What a step adds to x_σ: b·(m0..m3) + s·z.
struct Change {
  std::array<double, 4> b{};
  double s = 0;
};

// diffusers starts leading steps from √(1+σ²) times the noise, others from σ times it.
SamplerTable table(const ScheduleSpec& schedule, const Doubles& timesteps, const Doubles& sigmas,
                   const std::vector<Change>& changes, std::size_t noisy_steps = 0) {
  const auto scale = [&](std::size_t i) { return 1 / std::sqrt(1 + sigmas[i] * sigmas[i]); };
  std::vector<Row> rows;
  Doubles levels;
  for (std::size_t i = 0; i < changes.size(); ++i) {
    const auto [p, q] = predicted_noise(schedule.prediction, scale(i) * scale(i));
    Row row{p, q, scale(i + 1) / scale(i), changes[i].b, scale(i + 1) * changes[i].s};
    for (double& weight : row.b) weight *= scale(i + 1);
    rows.push_back(row);
    levels.push_back(scale(i) * scale(i));
  }
  levels.push_back(scale(changes.size()) * scale(changes.size()));
  const double initial = schedule.timestep_spacing == "leading" ? 1.0 : sigmas[0] * scale(0);
  return {timesteps, levels, rows, noisy_steps, initial};
}

// Coefficients, lowest power first, of ∏(x - root).
Doubles polynomial(const Doubles& roots) {
  Doubles product = {1};
  for (double root : roots) {
    product.push_back(0);
    for (std::size_t i = product.size() - 1; i > 0; --i) {
      product[i] = product[i - 1] - root * product[i];
    }
    product[0] *= -root;
  }
  return product;
}

// The integral of a polynomial from 0 to x.
double integral(const Doubles& coefficients, double x) {
  double sum = 0;
  for (std::size_t i = coefficients.size(); i-- > 0;) {
    sum = sum * x + coefficients[i] / static_cast<double>(i + 1);
  }
  return sum * x;
}

// Integrals from known[0] to `then` of the Lagrange polynomials through known.
std::array<double, 4> adams_bashforth(const Doubles& known, double then) {
  std::array<double, 4> weights{};
  for (std::size_t i = 0; i < known.size(); ++i) {
    Doubles others;
    double scale = 1;
    for (std::size_t j = 0; j < known.size(); ++j) {
      if (j == i) continue;
      others.push_back(known[j] - known[0]);
      scale *= known[i] - known[j];
    }
    weights[i] = integral(polynomial(others), then - known[0]) / scale;
  }
  return weights;
}

// Euler's method.
SamplerTable along(const ScheduleSpec& schedule, const Doubles& timesteps, const Doubles& sigmas) {
  std::vector<Change> changes;
  for (std::size_t i = 0; i < timesteps.size(); ++i) {
    changes.push_back({{sigmas[i + 1] - sigmas[i]}, 0});
  }
  return table(schedule, timesteps, sigmas, changes);
}

}  // namespace

SamplerTable euler(const ScheduleSpec& schedule, std::int64_t steps, std::size_t start) {
  const Doubles timesteps = without_first(fractional_timesteps(schedule, steps), start);
  return along(schedule, timesteps, sigmas_at(schedule, timesteps));
}

SamplerTable euler_karras(const ScheduleSpec& schedule, std::int64_t steps, std::size_t start) {
  Doubles ends = sigmas_at(schedule, fractional_timesteps(schedule, steps));
  ends.pop_back();
  const Doubles sigmas = without_first(karras_sigmas(ends, steps), start);
  return along(schedule, timesteps_of(schedule, sigmas), sigmas);
}

// Euler's method down to σ_down, then noise up to the next σ.
SamplerTable euler_ancestral(const ScheduleSpec& schedule, std::int64_t steps, std::size_t start) {
  const Doubles timesteps = without_first(fractional_timesteps(schedule, steps), start);
  const Doubles sigmas = sigmas_at(schedule, timesteps);
  std::vector<Change> changes;
  for (std::size_t i = 0; i < timesteps.size(); ++i) {
    const double now = sigmas[i], then = sigmas[i + 1];
    const double up = then * std::sqrt(1 - (then / now) * (then / now));
    changes.push_back({{then * then / now - now}, up});
  }
  return table(schedule, timesteps, sigmas, changes, timesteps.size());
}

// Linear multistep of order 4 on uneven steps. As in diffusers, the first steps after a start have
// the weights of all steps, of which those of outputs before the start come to nothing.
SamplerTable lms(const ScheduleSpec& schedule, std::int64_t steps, std::size_t start) {
  const Doubles timesteps = fractional_timesteps(schedule, steps);
  const Doubles sigmas = sigmas_at(schedule, timesteps);
  std::vector<Change> changes;
  for (std::size_t step = start; step < timesteps.size(); ++step) {
    Doubles known;
    for (std::size_t back = 0; back < std::min(lms_order, step + 1); ++back) {
      known.push_back(sigmas[step - back]);
    }
    changes.push_back({adams_bashforth(known, sigmas[step + 1]), 0});
  }
  return table(schedule, without_first(timesteps, start), without_first(sigmas, start), changes);
}

}  // namespace trt_pipeline::internal
