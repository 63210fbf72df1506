// Samplers as tables: one row of coefficients for each step of the denoiser.
#pragma once

#include <string>

#include "table.hpp"

namespace trt_pipeline::internal {

// All samplers' names, with a comma and a blank between two.
std::string sampler_names();

bool is_sampler(const std::string& name);

// The table of the sampler with that name; each follows the defaults of diffusers' scheduler.
// start: how many of the first steps to leave out, less than num_inference_steps.
// InvalidInputError for an unknown name, an eta that the sampler lacks, or steps that it refuses.
SamplerTable sampler_table(const std::string& sampler, const ScheduleSpec& schedule,
                           std::int64_t num_inference_steps, double eta, std::size_t start = 0);

// DDIM, arXiv:2010.02502, eq. 12 and 16; m0 is the predicted noise. eta: 0 is deterministic, 1 is
// DDPM.
SamplerTable ddim(const ScheduleSpec& schedule, std::int64_t steps, std::size_t start,
                  double eta = 0);

// DDPM, arXiv:2006.11239, eq. 7, with the variance of the posterior or of the forward step; m0 is
// the predicted sample.
SamplerTable ddpm(const ScheduleSpec& schedule, std::int64_t steps, std::size_t start);
SamplerTable ddpm_fixed_large(const ScheduleSpec& schedule, std::int64_t steps, std::size_t start);

// PLMS, arXiv:2202.09778, eq. 9 and 12, started without Runge-Kutta; m0 is the model's output. The
// first step is repeated, so there is a row more than `steps` if that is over 1.
SamplerTable pndm(const ScheduleSpec& schedule, std::int64_t steps, std::size_t start);

// k-diffusion's samplers (arXiv:2206.00364), which solve dx_σ/dσ = ε; m0 is the predicted noise.
// euler_karras: Karras' noise levels between the first and the last of euler's.
SamplerTable euler(const ScheduleSpec& schedule, std::int64_t steps, std::size_t start);
SamplerTable euler_karras(const ScheduleSpec& schedule, std::int64_t steps, std::size_t start);
SamplerTable euler_ancestral(const ScheduleSpec& schedule, std::int64_t steps, std::size_t start);
SamplerTable lms(const ScheduleSpec& schedule, std::int64_t steps, std::size_t start);

// Second-order exponential integrators in -log σ; m0 is the predicted sample. DPM-Solver++(2M),
// arXiv:2211.01095, along the schedule's or Karras' noise levels, and UniPC, arXiv:2302.04867.
SamplerTable dpmsolver(const ScheduleSpec& schedule, std::int64_t steps, std::size_t start);
SamplerTable dpmsolver_karras(const ScheduleSpec& schedule, std::int64_t steps, std::size_t start);
SamplerTable unipc(const ScheduleSpec& schedule, std::int64_t steps, std::size_t start);

// Samplers of consistency models: arXiv:2310.04378, and arXiv:2402.19159, whose γ is eta. m0 is the
// predicted sample.
SamplerTable lcm(const ScheduleSpec& schedule, std::int64_t steps, std::size_t start);
SamplerTable tcd(const ScheduleSpec& schedule, std::int64_t steps, std::size_t start,
                 double eta = 0);

}  // namespace trt_pipeline::internal
