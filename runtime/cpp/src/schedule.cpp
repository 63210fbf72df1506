#include "schedule.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "arguments.hpp"
#include "errors.hpp"

namespace trt_pipeline::internal {
namespace {

constexpr double karras_rho = 7;
// Steps of the solver that consistency models were distilled from: original_inference_steps.
constexpr std::int64_t distilled_steps = 50;

// numpy.linspace.
Doubles linspace(double start, double stop, std::int64_t count) {
  Doubles points;
  const double step = count > 1 ? (stop - start) / static_cast<double>(count - 1) : 0;
  for (std::int64_t i = 0; i < count; ++i) {
    points.push_back(static_cast<double>(i) * step + start);
  }
  if (count > 1) points.back() = stop;
  return points;
}

// numpy.interp at one point.
double interpolate(double x, const Doubles& xs, const Doubles& ys) {
  if (x >= xs.back()) return ys.back();
  if (x < xs.front()) return ys.front();
  const auto after = std::upper_bound(xs.begin(), xs.end(), x) - xs.begin();
  const auto j = static_cast<std::size_t>(after - 1);
  if (xs[j] == x) return ys[j];
  const double slope = (ys[j + 1] - ys[j]) / (xs[j + 1] - xs[j]);
  return slope * (x - xs[j]) + ys[j];
}

Doubles indices(std::size_t count) {
  Doubles numbers(count);
  std::iota(numbers.begin(), numbers.end(), 0.0);
  return numbers;
}

std::int64_t rounded(double number) {
  return static_cast<std::int64_t>(std::nearbyint(number));  // half to even, as NumPy
}

Timesteps trailing(std::int64_t total, std::int64_t points) {
  // NumPy's arange: its rounding error can append a timestep of -1, which diffusers keeps.
  const double start = static_cast<double>(total);
  const double step = -start / static_cast<double>(points);
  const double delta = (start + step) - start;
  const auto length = static_cast<std::int64_t>(std::ceil((0 - start) / step));
  Timesteps timesteps;
  for (std::int64_t i = 0; i < std::min(points, length); ++i) {
    const double at = i == 1 ? start + step : start + static_cast<double>(i) * delta;
    timesteps.push_back(rounded(at) - 1);
  }
  return timesteps;
}

Timesteps spaced(const ScheduleSpec& schedule, std::int64_t total, std::int64_t points) {
  Timesteps timesteps;
  if (schedule.timestep_spacing == "trailing") return trailing(total, points);
  if (schedule.timestep_spacing == "linspace") {
    for (double at : linspace(0, static_cast<double>(total - 1), points)) {
      timesteps.push_back(rounded(at));
    }
  } else {
    for (std::int64_t i = 0; i < points; ++i) {
      timesteps.push_back(i * (total / points) + schedule.steps_offset);
    }
  }
  std::ranges::reverse(timesteps);
  return timesteps;
}

Timesteps inside(const ScheduleSpec& schedule, std::int64_t steps, Timesteps timesteps) {
  const std::int64_t total = schedule.training_steps();
  if (timesteps[0] >= total) {
    throw InvalidInputError(concat("num_inference_steps is ", steps, ", but with steps_offset ",
                                   schedule.steps_offset, " that would begin at timestep ",
                                   timesteps[0], " and the schedule ends at ", total - 1,
                                   ". Use fewer steps."));
  }
  return timesteps;
}

// The schedule of CompVis' own code, where "linear" betas are the squares of evenly spaced √β. It
// keeps the published first and last beta, to the six decimals that float32 leaves of them.
ScheduleSpec trained_schedule(const ScheduleSpec& published) {
  const Doubles& alphas = published.alphas_cumprod;
  const auto beta = [&](std::size_t t) { return 1 - alphas[t] / (t ? alphas[t - 1] : 1.0); };
  const auto root = [](double number) { return std::pow(std::nearbyint(number * 1e6) / 1e6, 0.5); };
  constexpr double no_signal = 1e-6;
  if (alphas.back() < no_signal)
    throw InvalidInputError(
        "schedule is \"trained\", but the noise schedule of this bundle ends without signal, which "
        "no model of CompVis was trained with. Use schedule=\"published\".");
  ScheduleSpec trained = published;
  double product = 1;
  const Doubles roots =
      linspace(root(beta(0)), root(beta(alphas.size() - 1)), published.training_steps());
  for (std::size_t t = 0; t < roots.size(); ++t) {
    product *= 1 - roots[t] * roots[t];
    trained.alphas_cumprod[t] = product;
  }
  trained.steps_offset = 1;
  trained.set_alpha_to_one = false;
  return trained;
}

}  // namespace

ScheduleSpec choose_schedule(const ScheduleSpec& published, const std::string& name,
                             const std::string& timestep_spacing) {
  ScheduleSpec schedule = name == "published" ? published : trained_schedule(published);
  if (!timestep_spacing.empty()) schedule.timestep_spacing = timestep_spacing;
  return schedule;
}

Timesteps inference_timesteps(const ScheduleSpec& schedule, std::int64_t steps) {
  const std::int64_t total = schedule.training_steps();
  checked_integer("num_inference_steps", steps, 1, total);
  return inside(schedule, steps, spaced(schedule, total, steps));
}

Doubles fractional_timesteps(const ScheduleSpec& schedule, std::int64_t steps) {
  const Timesteps whole = inference_timesteps(schedule, steps);
  if (schedule.timestep_spacing != "linspace") return as_doubles(whole);
  Doubles even = linspace(0, static_cast<double>(schedule.training_steps() - 1), steps);
  for (double& at : even) at = static_cast<float>(at);
  std::ranges::reverse(even);
  return even;
}

Timesteps timesteps_above_end(const ScheduleSpec& schedule, std::int64_t steps) {
  const std::int64_t total = schedule.training_steps();
  checked_integer("num_inference_steps", steps, 1, total - 1);
  const std::int64_t points = schedule.timestep_spacing == "trailing" ? steps : steps + 1;
  Timesteps timesteps = spaced(schedule, total, points);
  timesteps.resize(std::min(timesteps.size(), static_cast<std::size_t>(steps)));
  return inside(schedule, steps, timesteps);
}

Timesteps distilled_timesteps(const ScheduleSpec& schedule, std::int64_t steps, double strength) {
  const std::int64_t total = schedule.training_steps();
  if (total < distilled_steps) {
    throw InvalidInputError(concat("the schedule has ", counted(total, "timestep"),
                                   ", but lcm and tcd need at least ", distilled_steps,
                                   ". Use another sampler."));
  }
  checked_integer("num_inference_steps", steps, 1, distilled_steps);
  const auto count = static_cast<std::int64_t>(static_cast<double>(distilled_steps) * strength);
  if (steps > count) {
    throw InvalidInputError(concat(
        "num_inference_steps is ", steps, ", but a strength of ", strength, " leaves ", count,
        " of the ", distilled_steps, " timesteps that the model was distilled for. Use fewer ",
        "steps, or a strength of at least ",
        static_cast<double>(steps) / static_cast<double>(distilled_steps), "."));
  }
  const double stride = static_cast<double>(count) / static_cast<double>(steps);
  Timesteps timesteps;
  for (std::int64_t i = 0; i < steps; ++i) {
    const auto skipped = static_cast<std::int64_t>(std::floor(static_cast<double>(i) * stride));
    timesteps.push_back((count - skipped) * (total / distilled_steps) - 1);
  }
  return timesteps;
}

double alpha_at(const ScheduleSpec& schedule, std::int64_t timestep) {
  const Doubles& alphas = schedule.alphas_cumprod;
  if (timestep < 0) return schedule.set_alpha_to_one ? 1.0 : alphas[0];
  return alphas.at(static_cast<std::size_t>(timestep));
}

Doubles training_sigmas(const ScheduleSpec& schedule) {
  Doubles sigmas;
  for (double alpha : schedule.alphas_cumprod) sigmas.push_back(std::sqrt(1 / alpha - 1));
  return sigmas;
}

Doubles sigmas_at(const ScheduleSpec& schedule, const Doubles& timesteps) {
  const Doubles known = training_sigmas(schedule), times = indices(known.size());
  Doubles sigmas;
  for (double at : timesteps) sigmas.push_back(interpolate(at, times, known));
  sigmas.push_back(0);
  return sigmas;
}

Doubles karras_sigmas(const Doubles& sigmas, std::int64_t steps) {
  const double high = std::pow(std::ranges::max(sigmas), 1 / karras_rho);
  const double low = std::pow(std::ranges::min(sigmas), 1 / karras_rho);
  Doubles levels;
  for (double part : linspace(0, 1, steps)) {
    levels.push_back(std::pow(high + part * (low - high), karras_rho));
  }
  levels.push_back(0);
  return levels;
}

Doubles timesteps_of(const ScheduleSpec& schedule, const Doubles& sigmas) {
  Doubles known = training_sigmas(schedule);
  for (double& sigma : known) sigma = std::log(sigma);
  const Doubles times = indices(known.size());
  Doubles timesteps;
  for (std::size_t i = 0; i + 1 < sigmas.size(); ++i) {
    timesteps.push_back(interpolate(std::log(sigmas[i]), known, times));
  }
  return timesteps;
}

Doubles as_doubles(const Timesteps& timesteps) {
  return {timesteps.begin(), timesteps.end()};
}

}  // namespace trt_pipeline::internal
