#include "samplers.hpp"

#include "../arguments.hpp"

namespace trt_pipeline::internal {

SamplerTable sampler_table(const std::string& sampler, const ScheduleSpec& schedule,
                           std::int64_t num_inference_steps, double eta, std::size_t start) {
  if (sampler == "ddim") return ddim(schedule, num_inference_steps, start, eta);
  const bool has_eta = eta != 0;
  std::string known;
#define TRT_PIPELINE_SAMPLER(function, name)                          \
  if (sampler == name && !has_eta) {                                  \
    return function(schedule, num_inference_steps, start);            \
  }                                                                   \
  enlist(known, name);
#include "trt_pipeline_settings.inc"
  check_choice("sampler", sampler, known);
  throw InvalidInputError(
      concat("eta must be 0 with sampler ", sampler, ", got ", eta, "; only ddim has an eta."));
}

}  // namespace trt_pipeline::internal
