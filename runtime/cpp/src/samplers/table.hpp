// The table that every sampler fills.
//
// A step computes m0 = p·x + q·output and x' = a·x + b0·m0 + b1·m1 + b2·m2 + b3·m3 + s·z from the
// latents x, the model's output, the earlier m0 and standard normal noise z. The latents are those
// the model was trained on, x = √ᾱ·x0 + √(1-ᾱ)·ε, in every sampler.
#pragma once

#include <array>
#include <string>
#include <vector>

#include "../schedule.hpp"

namespace trt_pipeline::internal {

struct Row {
  double p = 0, q = 0, a = 0;
  std::array<double, 4> b{};
  double s = 0;
};

// Everything a sampler does, one row a step.
struct SamplerTable {
  // All numbers are rounded to float32; initial_scale is what turns the first standard normal noise
  // into the latents.
  SamplerTable(const Doubles& timesteps, const Doubles& alphas_cumprod,
               const std::vector<Row>& rows, std::size_t noisy_steps = 0, double initial_scale = 1);

  std::vector<float> timesteps;                    // [N], what the time embedding sees
  std::vector<std::array<float, 8>> coefficients;  // [N]: p, q, a, b0, b1, b2, b3, s
  // [N + 1], the noise level of the latents before each step, and after the last.
  std::vector<float> alphas_cumprod;
  std::size_t noisy_steps;  // how many of the steps, from the first, take fresh noise
  float initial_scale;
};

// A list without its first entries.
template <class T>
std::vector<T> without_first(std::vector<T> list, std::size_t count) {
  list.erase(list.begin(), list.begin() + static_cast<std::ptrdiff_t>(count));
  return list;
}

// p and q that turn the model's output into the noise or the sample that it predicts:
// p·x + q·output.
struct Prediction {
  double p, q;
};
Prediction predicted_noise(const PredictionSpec& prediction, double alpha);
Prediction predicted_sample(const PredictionSpec& prediction, double alpha);

}  // namespace trt_pipeline::internal
