#include "samplers.hpp"

#include "../arguments.hpp"

namespace trt_pipeline::internal {

std::string sampler_names() {
  std::string names;
#define TRT_PIPELINE_SAMPLER(function, name) enlist(names, name);
#include "trt_pipeline_settings.inc"
  return names;
}

bool is_sampler(const std::string& name) {
#define TRT_PIPELINE_SAMPLER(function, known) \
  if (name == known) return true;
#include "trt_pipeline_settings.inc"
  return false;
}

SamplerTable sampler_table(const std::string& sampler, const ScheduleSpec& schedule,
                           std::int64_t num_inference_steps, double eta, std::size_t start) {
  check_choice("sampler", sampler, sampler_names());
  if (sampler == "ddim") return ddim(schedule, num_inference_steps, start, eta);
  if (sampler == "tcd") return tcd(schedule, num_inference_steps, start, eta);
  if (eta != 0) {
    throw InvalidInputError(concat("eta must be 0 with sampler ", sampler, ", got ", eta,
                                   "; only ddim and tcd have an eta."));
  }
#define TRT_PIPELINE_SAMPLER(function, name) \
  if (sampler == name) return function(schedule, num_inference_steps, start);
#include "trt_pipeline_settings.inc"
  throw InvalidInputError("sampler " + sampler + " has no table.");
}

}  // namespace trt_pipeline::internal
