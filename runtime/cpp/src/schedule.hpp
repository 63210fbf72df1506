// Which timesteps and noise levels of the training schedule a sampler visits.
//
// σ = √((1-ᾱ)/ᾱ) is the noise level relative to the clean sample. InvalidInputError for a number
// of steps outside the schedule.
#pragma once

#include <string>
#include <vector>

#include "manifest.hpp"

namespace trt_pipeline::internal {

using Timesteps = std::vector<std::int64_t>;
using Doubles = std::vector<double>;

// The schedule as the bundle has it ("published") or as CompVis trained with it ("trained").
// timestep_spacing: as diffusers names them; empty is the bundle's.
ScheduleSpec choose_schedule(const ScheduleSpec& published, const std::string& name,
                             const std::string& timestep_spacing = {});

// The visited timesteps [N], falling: arXiv:2305.08891, table 2, rounded as diffusers does.
Timesteps inference_timesteps(const ScheduleSpec& schedule, std::int64_t steps);

// inference_timesteps, but linspace is rounded to float32 only.
Doubles fractional_timesteps(const ScheduleSpec& schedule, std::int64_t steps);

// N + 1 timesteps without the last where the spacing would end at 0, before any steps_offset.
Timesteps timesteps_above_end(const ScheduleSpec& schedule, std::int64_t steps);

// The visited ones [N], falling, of the 50 timesteps that a consistency model was trained for.
Timesteps distilled_timesteps(const ScheduleSpec& schedule, std::int64_t steps);

// alphas_cumprod at a timestep; before the first training timestep, the final alpha.
double alpha_at(const ScheduleSpec& schedule, std::int64_t timestep);

// σ at every training timestep, rising.
Doubles training_sigmas(const ScheduleSpec& schedule);

// σ at each timestep, interpolated between training timesteps, and a final 0: [N + 1].
Doubles sigmas_at(const ScheduleSpec& schedule, const Doubles& timesteps);

// From the highest to the lowest of sigmas, even in σ^(1/7), and a final 0: [steps + 1].
// arXiv:2206.00364, eq. 5.
Doubles karras_sigmas(const Doubles& sigmas, std::int64_t steps);

// Where each sigma but the final 0 is among the training timesteps, interpolated in log σ: [N].
Doubles timesteps_of(const ScheduleSpec& schedule, const Doubles& sigmas);

Doubles as_doubles(const Timesteps& timesteps);

}  // namespace trt_pipeline::internal
