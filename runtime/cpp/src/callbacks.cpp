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

OnStepEnd on_step_end_of(const trt_pipeline_settings& settings, const PreviewMap& map) {
  if (!settings.callback_on_step_end) return {};
  return [call = settings.callback_on_step_end, user_data = settings.callback_user_data,
          &map](const Step& step) {
    const Tensor preview = map.empty() ? Tensor() : preview_pixels(step.latents, map);
    const Shape& shape = step.latents.shape;
    const trt_pipeline_step told{step.index,
                                 step.steps,
                                 step.timestep,
                                 step.latents.as<float>().data(),
                                 shape[0],
                                 shape[1],
                                 shape[2],
                                 shape[3],
                                 map.empty() ? nullptr : preview.as<std::uint8_t>().data()};
    if (call(user_data, &told)) {
      throw CancelledError(
          concat("cancelled after step ", step.index + 1, " of ", step.steps, "."));
    }
    check_finite(step.latents);
  };
}

}  // namespace

Listeners listeners_of(const trt_pipeline_settings& settings, const PreviewMap& map) {
  return {on_step_of(settings), on_step_end_of(settings, map)};
}

}  // namespace trt_pipeline::internal
