#include "requests.hpp"

#include <cmath>

#include "arguments.hpp"
#include "errors.hpp"
#include "super_resolution.hpp"

namespace trt_pipeline::internal {
namespace {

constexpr double sum_tolerance = 1e-6;
constexpr double most_weight = 1e6;  // either way

InputIds ids_of(const Pipeline& pipeline, const trt_pipeline_text& text, const std::string& name) {
  if (text.text && text.input_ids) {
    throw InvalidInputError(concat(name, " has a text and input_ids; give one."));
  }
  if (text.input_ids) {
    return pipeline.tokenizer()->padded(text.input_ids, text.input_id_count, name);
  }
  if (!text.text) throw InvalidInputError(concat(name, " has neither a text nor input_ids."));
  return pipeline.tokenize(text.text, name);
}

Mixture mixture_of(const Pipeline& pipeline, const trt_pipeline_prompt& prompt,
                   const std::string& name) {
  if (!prompt.texts || prompt.text_count == 0) {
    throw InvalidInputError(concat(name, " has no texts, expected at least one."));
  }
  Mixture mixture;
  double total = 0;
  for (std::size_t i = 0; i < prompt.text_count; ++i) {
    const trt_pipeline_text& text = prompt.texts[i];
    total += checked_real(name + ": weight", text.weight, -most_weight, most_weight);
    mixture.push_back({ids_of(pipeline, text, name), text.weight});
  }
  if (!(std::abs(total - 1) <= sum_tolerance)) {
    throw InvalidInputError(concat(name, ": its weights sum to ", total, ", expected 1."));
  }
  return mixture;
}

std::vector<Mixture> mixtures_of(const Pipeline& pipeline, const trt_pipeline_settings& settings,
                                 std::size_t times) {
  if (settings.prompt && settings.prompt_count) {
    throw InvalidInputError("prompt and prompts both say what to show; give one.");
  }
  if (!settings.prompt && !(settings.prompts && settings.prompt_count)) {
    throw InvalidInputError("there is neither a prompt nor prompts.");
  }
  const trt_pipeline_text plain_text{settings.prompt, nullptr, 0, 1.0};
  const trt_pipeline_prompt plain{&plain_text, 1};
  const trt_pipeline_prompt* prompts = settings.prompt ? &plain : settings.prompts;
  const std::size_t count = settings.prompt ? 1 : settings.prompt_count;
  std::vector<Mixture> mixtures;
  for (std::size_t i = 0; i < count; ++i) {
    const Mixture mixture = mixture_of(pipeline, prompts[i], concat("prompt ", i));
    mixtures.insert(mixtures.end(), times, mixture);
  }
  return mixtures;
}

void check_count(const char* name, const void* list, std::size_t entries, std::size_t pictures) {
  if (!list || entries != pictures) {
    throw InvalidInputError(concat(name, " has ", entries, " entries for ", pictures, " images."));
  }
}

std::vector<InputIds> negatives_of(const Pipeline& pipeline, const trt_pipeline_settings& settings,
                                   std::size_t pictures) {
  if (!settings.negative_prompt_count) {
    const char* text = settings.negative_prompt ? settings.negative_prompt : "";
    return std::vector<InputIds>(pictures, pipeline.tokenize(text, "negative_prompt"));
  }
  if (settings.negative_prompt) {
    throw InvalidInputError("negative_prompt and negative_prompts are both given; give one.");
  }
  check_count("negative_prompts", settings.negative_prompts, settings.negative_prompt_count,
              pictures);
  std::vector<InputIds> negatives;
  for (std::size_t i = 0; i < pictures; ++i) {
    negatives.push_back(
        ids_of(pipeline, settings.negative_prompts[i], concat("negative_prompt ", i)));
  }
  return negatives;
}

std::vector<double> scales_of(const trt_pipeline_settings& settings, std::size_t pictures) {
  std::vector<double> scales(pictures, settings.guidance_scale);
  if (settings.guidance_scale_count) {
    check_count("guidance_scales", settings.guidance_scales, settings.guidance_scale_count,
                pictures);
    scales.assign(settings.guidance_scales, settings.guidance_scales + pictures);
  }
  for (double scale : scales) {
    checked_real("guidance_scale", scale, -guidance_limit, guidance_limit);
  }
  return scales;
}

// InvalidInputError for settings that are about prompts, which the model does not take.
void refuse_prompts(const trt_pipeline_settings& settings) {
  const bool texts = settings.prompt || settings.prompt_count || settings.negative_prompt_count ||
                     (settings.negative_prompt && *settings.negative_prompt);
  const bool guided = settings.guidance_scale != 1 || settings.guidance_scale_count;
  if (texts || guided) {
    throw InvalidInputError(concat(texts ? "a prompt" : "guidance_scale",
                                   " is given, but this model makes pictures without prompts."));
  }
}

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

OnStepEnd on_step_end_of(const Pipeline& pipeline, const trt_pipeline_settings& settings) {
  if (!settings.callback_on_step_end) return {};
  return [call = settings.callback_on_step_end, user_data = settings.callback_user_data,
          &map = pipeline.bundle().manifest.preview](const Step& step) {
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

GivenImage image_of(const trt_pipeline_settings& settings) {
  GivenImage image;
  image.pixels = settings.image;
  image.mask = settings.mask_image;
  if (settings.image) {
    image.count = settings.image_count;
    image.mask_count = settings.mask_image_count;
    constexpr std::int64_t most = 1 << 16;
    image.height =
        static_cast<std::int32_t>(checked_integer("image_height", settings.image_height, 1, most));
    image.width =
        static_cast<std::int32_t>(checked_integer("image_width", settings.image_width, 1, most));
  }
  if (settings.strength != TRT_PIPELINE_DEFAULT_STRENGTH) image.strength = settings.strength;
  return image;
}

// A picture's own size times the model's factor, which takes nothing but the picture.
void enlarge(const Manifest& manifest, const trt_pipeline_settings& settings,
             const GivenImage& given, Request& request) {
  check_low_resolution(given, request.count);
  if (settings.height || settings.width || given.mask || given.strength) {
    throw InvalidInputError(
        "height, width, mask_image or strength is given, but this model enlarges an image by "
        "its own factor.");
  }
  const std::int64_t factor = manifest.model.vae_scale_factor;
  const auto enlarged = [&](const char* name, std::int32_t side, const Range& range) {
    checked_integer(name, side, range[0] / factor, range[1] / factor);
    return static_cast<std::int32_t>(side * factor);
  };
  request.height = enlarged("image_height", given.height, manifest.limits.height);
  request.width = enlarged("image_width", given.width, manifest.limits.width);
  request.low_resolution = given;
}

// The size of the pictures, and what they begin with or are made of.
void add_sizes(const Pipeline& pipeline, const trt_pipeline_settings& settings, Request& request) {
  request.height = settings.height;
  request.width = settings.width;
  const GivenImage given = image_of(settings);
  switch (pipeline.kind()) {
    case Kind::text_to_image:
      request.image = given;
      return;
    case Kind::unconditional:
      if (given.pixels || given.mask || given.strength) {
        throw InvalidInputError(
            "image, mask_image or strength is given, but this model makes pictures from noise "
            "alone.");
      }
      return;
    case Kind::super_resolution:
      enlarge(pipeline.bundle().manifest, settings, given, request);
  }
}

}  // namespace

void require(const void* pointer, const char* name) {
  if (!pointer) throw InvalidInputError(concat(name, " is NULL."));
}

InputIds tokenized(const Pipeline& pipeline, const char* text) {
  if (!pipeline.tokenizer()) throw InvalidInputError("this model takes no texts.");
  return pipeline.tokenize(text, "text");
}

Request request_of(const Pipeline& pipeline, const trt_pipeline_settings& settings) {
  require(settings.schedule, "schedule");
  if (settings.seed_count) require(settings.seeds, "seeds");
  if (settings.latents_count) require(settings.latents, "latents");
  if (settings.image_count) require(settings.image, "image");
  if (settings.mask_image_count) require(settings.mask_image, "mask_image");
  checked_integer("noise", settings.noise, TRT_PIPELINE_NOISE_SEED, TRT_PIPELINE_NOISE_TORCH);
  checked_integer("output", settings.output, TRT_PIPELINE_OUTPUT_PIXELS,
                  TRT_PIPELINE_OUTPUT_LATENTS);
  Request request;
  request.count = static_cast<std::size_t>(
      checked_integer("num_images_per_prompt", settings.num_images_per_prompt, 1, 10000));
  if (pipeline.tokenizer()) {
    request.mixtures = mixtures_of(pipeline, settings, request.count);
    request.count = request.mixtures.size();
    request.negatives = negatives_of(pipeline, settings, request.count);
    request.scales = scales_of(settings, request.count);
  } else {
    refuse_prompts(settings);
  }
  add_sizes(pipeline, settings, request);
  const std::int32_t steps = settings.num_inference_steps;
  request.num_inference_steps = steps ? steps : default_steps(pipeline.kind());
  request.guidance_interval = {settings.guidance_interval[0], settings.guidance_interval[1]};
  request.eta = settings.eta;
  if (settings.sampler) request.sampler = settings.sampler;
  request.schedule = settings.schedule;
  if (settings.timestep_spacing) request.timestep_spacing = settings.timestep_spacing;
  request.torch_noise = settings.noise == TRT_PIPELINE_NOISE_TORCH;
  if (settings.seed_count)
    request.seeds.assign(settings.seeds, settings.seeds + settings.seed_count);
  request.latents = settings.latents;
  request.latents_count = settings.latents_count;
  request.cache_interval = settings.cache_interval;
  request.vae_tile_size = settings.vae_tile_size;
  request.decode = settings.output == TRT_PIPELINE_OUTPUT_PIXELS;
  request.listeners = {on_step_of(settings), on_step_end_of(pipeline, settings)};
  return request;
}

}  // namespace trt_pipeline::internal
