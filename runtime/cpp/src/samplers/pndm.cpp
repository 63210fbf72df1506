#include <algorithm>
#include <array>
#include <cmath>

#include "samplers.hpp"

namespace trt_pipeline::internal {
namespace {

using StepWeights = std::array<double, 4>;  // of m0..m3

// The first rows; row 1's output is never used again.
constexpr StepWeights opening[] = {{24. / 24, 0, 0, 0},
                                   {12. / 24, 12. / 24, 0, 0},
                                   {36. / 24, 0, -12. / 24, 0},
                                   {46. / 24, -32. / 24, 0, 10. / 24}};
constexpr std::size_t opening_rows = std::size(opening);
constexpr StepWeights fourth_order = {55. / 24, -59. / 24, 37. / 24, -9. / 24};  // all other rows

// One step from alpha to alpha_prev; eq. 9 simplified.
Row transfer(const ScheduleSpec& schedule, double alpha, double alpha_prev,
             const StepWeights& weights) {
  const double decay = std::sqrt(alpha_prev / alpha);
  const double drift = std::sqrt(1 - alpha_prev) - decay * std::sqrt(1 - alpha);
  const auto [p, q] = predicted_noise(schedule.prediction, alpha);
  Row row{0, 1, decay + drift * p, {}, 0};
  for (std::size_t i = 0; i < weights.size(); ++i) row.b[i] = drift * q * weights[i];
  return row;
}

// Let row 1 start again from the noise x0, which is (x - b[0][0]·m1) / a[0] there. Its m0 holds
// all of the next latents but m1's part, so that row 4 can tell m1 from them.
void repeat_first_step(std::vector<Row>& rows) {
  Row& row = rows[1];
  row.p = row.a / rows[0].a;
  row.q = row.b[0];
  row.a = 0;
  row.b = {1, row.b[1] - row.p * rows[0].b[0], 0, 0};
}

// Let row 4 use the first output, which is a row older than m3. Rows 1 to 3 made the latents
// there: x = known·(m0, m1, m2, m3) + share·first.
void recall_first_output(std::vector<Row>& rows) {
  const auto& r = rows;
  const StepWeights known = {0, r[3].b[0], r[3].a * r[2].b[0] + r[3].b[1], r[3].a * r[2].a};
  const double share = r[3].a * (r[2].a * r[1].b[1] + r[2].b[2]) + r[3].b[3];
  const double recalled = r[4].b[3] / share;
  rows[4].b[3] = 0;
  rows[4].a += recalled;
  for (std::size_t i = 0; i < known.size(); ++i) rows[4].b[i] -= recalled * known[i];
}

}  // namespace

SamplerTable pndm(const ScheduleSpec& schedule, std::int64_t steps, std::size_t start) {
  Timesteps all = inference_timesteps(schedule, steps);
  const std::int64_t stride = schedule.training_steps() / steps;
  if (all.size() > 1) all.insert(all.begin() + 1, all[1]);
  // As in diffusers: the row that a start leaves out is the repeated one.
  const Timesteps timesteps = without_first(all, start);
  std::vector<Row> rows;
  Doubles levels;
  for (std::size_t i = 0; i < timesteps.size(); ++i) {
    const std::int64_t origin = timesteps[i] + (i == 1 ? stride : 0);
    levels.push_back(alpha_at(schedule, timesteps[i]));
    rows.push_back(transfer(schedule, alpha_at(schedule, origin),
                            alpha_at(schedule, origin - stride),
                            i < opening_rows ? opening[i] : fourth_order));
  }
  // The last row starts at its own timestep unless it is the repeated one.
  levels.push_back(alpha_at(schedule, timesteps.back() - (rows.size() == 2 ? 0 : stride)));
  if (rows.size() > 1) repeat_first_step(rows);
  if (rows.size() > opening_rows) recall_first_output(rows);
  return {as_doubles(timesteps), levels, rows};
}

}  // namespace trt_pipeline::internal
