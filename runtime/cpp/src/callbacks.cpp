#include "callbacks.hpp"

#include "errors.hpp"

namespace trt_pipeline::internal {
namespace {

OnStep on_step_of(const trt_pipeline_settings& settings) {
  if (!settings.progress) return [](std::size_t, std::size_t) {};
  return [progress = settings.progress, user_data = settings.progress_user_data](
             std::size_t step, std::size_t steps) {
    if (progress(user_data, step, steps)) {
      throw CancelledError(
          concat("cancelled by the progress callback before step ", step, " of ", steps, "."));
    }
  };
}

OnStepEnd on_step_end_of(const trt_pipeline_settings& settings, const Preview& preview) {
  if (!settings.callback_on_step_end) return {};
  return [call = settings.callback_on_step_end, user_data = settings.callback_user_data,
          preview](const Step& step) {
    const ToldStep told(step, preview);
    if (call(user_data, &told)) {
      throw CancelledError(
          concat("cancelled after step ", step.index + 1, " of ", step.steps, "."));
    }
    check_finite(step.latents);
  };
}

}  // namespace

ToldStep::ToldStep(const Step& step, const Preview& preview)
    : trt_pipeline_step{step.index,
                        step.steps,
                        step.timestep,
                        step.latents.as<float>().data(),
                        step.latents.shape[0],
                        step.latents.shape[1],
                        step.latents.shape[2],
                        step.latents.shape[3]},
      source_(step.latents),
      preview_(preview) {}

const Tensor& ToldStep::previewed() const {
  if (made_.bytes.empty()) made_ = preview_(source_);
  return made_;
}

Listeners listeners_of(const trt_pipeline_settings& settings, const Preview& preview) {
  return {on_step_of(settings), on_step_end_of(settings, preview)};
}

}  // namespace trt_pipeline::internal
