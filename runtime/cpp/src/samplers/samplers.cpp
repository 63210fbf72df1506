#include "samplers.hpp"

#include "../errors.hpp"

namespace trt_pipeline::internal {
namespace {

struct Named {
  const char* name;
  SamplerTable (*table)(const ScheduleSpec&, std::int64_t, std::size_t);
};
constexpr Named without_eta[] = {{"euler", euler},
                                 {"euler_ancestral", euler_ancestral},
                                 {"pndm", pndm},
                                 {"lms", lms},
                                 {"dpmsolver++", dpmsolver},
                                 {"dpmsolver++_karras", dpmsolver_karras},
                                 {"unipc", unipc}};

}  // namespace

SamplerTable sampler_table(const std::string& sampler, const ScheduleSpec& schedule,
                           std::int64_t num_inference_steps, double eta, std::size_t start) {
  if (sampler == "ddim") return ddim(schedule, num_inference_steps, eta, start);
  std::string known = "ddim";
  for (const Named& named : without_eta) {
    known += std::string(", ") + named.name;
    if (sampler != named.name) continue;
    if (eta != 0) {
      throw InvalidInputError(
          concat("eta must be 0 with sampler ", sampler, ", got ", eta, "; only ddim has an eta."));
    }
    return named.table(schedule, num_inference_steps, start);
  }
  throw InvalidInputError(concat("sampler must be one of ", known, ", got '", sampler, "'."));
}

}  // namespace trt_pipeline::internal
