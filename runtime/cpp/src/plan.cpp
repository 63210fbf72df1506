#include "plan.hpp"

#include <algorithm>
#include <cmath>
#include <map>

#include "arguments.hpp"
#include "errors.hpp"
#include "samplers/samplers.hpp"
#include "settings.hpp"

namespace trt_pipeline::internal {
namespace {

constexpr std::int64_t max_copies = 10'000;  // of a prompt
constexpr std::size_t min_tile = 8;          // latents; a smaller one would show little but seams

void check_pointers(const trt_pipeline_settings& settings) {
  if (settings.seed_count) require(settings.seeds, "seeds");
  if (settings.latents_count) require(settings.latents, "latents");
  if (settings.guidance_scale_count) require(settings.guidance_scales, "guidance_scales");
  if (settings.image_guidance_scale_count) {
    require(settings.image_guidance_scales, "image_guidance_scales");
  }
  if (settings.image_count) require(settings.image, "image");
  if (settings.mask_image_count) require(settings.mask_image, "mask_image");
}

void check_enums(const trt_pipeline_settings& settings) {
  checked_integer("noise", settings.noise, TRT_PIPELINE_NOISE_SEED, TRT_PIPELINE_NOISE_TORCH);
  checked_integer("output", settings.output, TRT_PIPELINE_OUTPUT_PIXELS,
                  TRT_PIPELINE_OUTPUT_LATENTS);
}

// Settings that a bundle's model has no use for, and why.
std::map<std::string, std::string> refused_by(const Bundle& bundle) {
  std::map<std::string, std::string> refused;
  const auto refuse = [&](std::initializer_list<const char*> names, const char* reason) {
    for (const char* name : names) refused[name] = reason;
  };
  if (!takes_prompts(bundle)) {
    refuse({"prompt", "negative_prompt", "guidance_scale", "guidance_interval"},
           "this model makes pictures without prompts");
  }
  if (embeds_guidance(bundle)) {
    refuse({"negative_prompt", "guidance_interval"}, "this model has guidance built in");
  }
  if (enlarges(bundle)) {
    refuse({"strength", "mask_image", "overlay"}, "this model enlarges an image by its own factor");
  } else if (changes_images(bundle)) {
    refuse({"strength", "mask_image", "overlay"}, "this model changes all of an image from noise");
  } else if (!begins_with_pictures(bundle)) {
    refuse({"image", "strength", "mask_image", "overlay"},
           "this bundle has no encoder for pictures");
  }
  if (!changes_images(bundle)) {
    refuse({"image_guidance_scale"}, "this model is not one that changes an image by a prompt");
  }
  if (!bundle.manifest.graphs.contains("tiny_decoder")) {
    refuse({"decoder"},
           "this bundle has no tiny_decoder. Export its checkpoint with --tiny-decoder");
  }
  if (!embeds_sizes(bundle)) {
    refuse({"original_size", "crops_coords_top_left", "target_size"},
           "this model knows nothing of sizes");
  }
  if (!bundle.manifest.graphs.contains("cached_denoiser")) {
    refuse({"cache_interval"}, "this bundle has no cached_denoiser. Export its checkpoint again");
  }
  return refused;
}

// A setting's value as errors quote it; empty if it was left out.
std::string asked(const trt_pipeline_settings& settings, const std::string& name) {
  if (name == "prompt" && settings.prompt_count) return "given";
  if (name == "negative_prompt" && settings.negative_prompt_count) return "given";
  if (name == "guidance_scale" && settings.guidance_scale_count) return "given";
  if (name == "guidance_scale" && settings.guidance_scale == 1) return "";
  if (name == "image_guidance_scale" && settings.image_guidance_scale_count) return "given";
  return quoted(settings, name);
}

void refuse_what_does_not_apply(const Bundle& bundle, const trt_pipeline_settings& settings) {
  for (const auto& [name, reason] : refused_by(bundle)) {
    const std::string value = asked(settings, name);
    if (!value.empty()) {
      throw InvalidInputError(concat(name, " is ", value, ", but ", reason, "."));
    }
  }
}

// The values of a setting that may be one a picture; `shared` where they are not given.
std::vector<double> one_a_picture(const char* name, double trt_pipeline_settings::* setting,
                                  const double* given, std::size_t count, double shared,
                                  std::size_t pictures) {
  if (!count) return std::vector<double>(pictures, shared);
  check_one_a_picture(concat(name, "s"), count, pictures);
  trt_pipeline_settings one = default_settings();
  std::vector<double> values;
  for (std::size_t i = 0; i < pictures; ++i) {
    one.*setting = checked_real(name, given[i]);
    check_settings(one);
    values.push_back(given[i]);
  }
  return values;
}

std::vector<GuidanceScales> scales_of(const Bundle& bundle, const trt_pipeline_settings& settings,
                                      std::size_t pictures) {
  std::vector<GuidanceScales> scales(pictures);
  if (!takes_prompts(bundle)) return scales;
  using Settings = trt_pipeline_settings;
  const auto text =
      one_a_picture("guidance_scale", &Settings::guidance_scale, settings.guidance_scales,
                    settings.guidance_scale_count, settings.guidance_scale, pictures);
  const auto image = one_a_picture(
      "image_guidance_scale", &Settings::image_guidance_scale, settings.image_guidance_scales,
      settings.image_guidance_scale_count, settings.image_guidance_scale, pictures);
  const bool above_1_only = bundle.manifest.model.guides_above_1_only && !embeds_guidance(bundle);
  for (std::size_t i = 0; i < pictures; ++i) {
    const auto own = changes_images(bundle) ? std::optional(image[i]) : std::nullopt;
    scales[i] = guiding(text[i], own, above_1_only);
  }
  return scales;
}

std::size_t side_of(const char* name, std::int32_t asked, std::int32_t of_image,
                    const Range& limits, std::int64_t factor) {
  if (of_image && asked && asked != of_image) {
    throw InvalidInputError(concat(name, " is ", asked, ", but that of image is ", of_image,
                                   "; this library does not resize."));
  }
  const std::int32_t pixels = of_image ? of_image : asked;
  if (pixels % factor || pixels < limits[0] || pixels > limits[1]) {
    throw InvalidInputError(concat(name, " must be a multiple of ", factor, " from ", limits[0],
                                   " to ", limits[1], ", got ", pixels, "."));
  }
  return static_cast<std::size_t>(pixels / factor);
}

Shape shape_of(const Bundle& bundle, const trt_pipeline_settings& settings, std::size_t count) {
  const ModelSpec& model = bundle.manifest.model;
  const Limits& limits = bundle.manifest.limits;
  const bool enlarged = enlarges(bundle);
  const auto scale = static_cast<std::int32_t>(enlarged ? model.vae_scale_factor : 1);
  const bool pictured = settings.image != nullptr;
  return {count, static_cast<std::size_t>(model.latent_channels),
          side_of("height", settings.height, pictured ? settings.image_height * scale : 0,
                  limits.height, model.vae_scale_factor),
          side_of("width", settings.width, pictured ? settings.image_width * scale : 0,
                  limits.width, model.vae_scale_factor)};
}

struct Source {
  std::unique_ptr<NoiseStream> stream;
  std::vector<std::uint64_t> seeds;
};

template <class Stream>
std::unique_ptr<NoiseStream> per_sample(const std::vector<std::uint64_t>& seeds) {
  std::vector<std::unique_ptr<NoiseStream>> streams;
  for (std::uint64_t seed : seeds) streams.push_back(std::make_unique<Stream>(seed));
  return std::make_unique<PerSample>(std::move(streams));
}

Source noise_of(const trt_pipeline_settings& settings, std::size_t pictures) {
  const std::vector<std::uint64_t> given(settings.seeds, settings.seeds + settings.seed_count);
  if (settings.noise == TRT_PIPELINE_NOISE_SEED) {
    auto seeds = image_seeds(given, pictures);
    return {per_sample<SeedNoise>(seeds), std::move(seeds)};
  }
  if (given.size() == 1) return {std::make_unique<TorchGenerator>(given[0]), {}};
  if (given.size() != pictures) {
    throw InvalidInputError(concat("seeds has ", counted(given.size(), "entry", "entries"), " for ",
                                   counted(pictures, "picture"),
                                   "; torch's noise needs one, or one a picture."));
  }
  return {per_sample<TorchGenerator>(given), {}};
}

// The starting noise of the caller.
std::optional<Tensor> latents_of(const trt_pipeline_settings& settings, const Shape& shape,
                                 bool from_noise) {
  if (!settings.latents) return std::nullopt;
  if (!from_noise) {
    throw InvalidInputError("latents and image both say what to begin with; give one.");
  }
  Tensor latents(DType::float32, shape);
  const auto numbers = latents.as<float>();
  if (settings.latents_count != numbers.size()) {
    throw InvalidInputError(concat("latents hold ", settings.latents_count, " numbers, expected ",
                                   numbers.size(), " for the shape ", describe(shape), "."));
  }
  std::copy_n(settings.latents, numbers.size(), numbers.begin());
  check_finite(latents);
  return latents;
}

// height, width: of the pictures in pixels, which take the place of sizes that are left out.
TimeIds time_ids_of(const trt_pipeline_settings& settings, std::size_t height, std::size_t width) {
  const auto or_own = [&](const std::int32_t* size) {
    return size[0] ? std::array{static_cast<float>(size[0]), static_cast<float>(size[1])}
                   : std::array{static_cast<float>(height), static_cast<float>(width)};
  };
  const auto original = or_own(settings.original_size), target = or_own(settings.target_size);
  const auto* const crop = settings.crops_coords_top_left;
  return {original[0], original[1], static_cast<float>(crop[0]), static_cast<float>(crop[1]),
          target[0],   target[1]};
}

// The side of the decoder's tiles in latents; 0 decodes at once.
std::size_t tile_of(std::int32_t vae_tile_size, std::size_t factor) {
  if (!vae_tile_size) return 0;
  const auto pixels = static_cast<std::size_t>(vae_tile_size);
  if (pixels % factor || pixels < min_tile * factor) {
    throw InvalidInputError(concat("vae_tile_size must be a multiple of ", factor, " from ",
                                   min_tile * factor, ", got ", pixels, "."));
  }
  return pixels / factor;
}

}  // namespace

Plan checked(const Bundle& bundle, const Tokenizers& tokenizers, const trt_pipeline_settings& given,
             const Warn& warn) {
  const Manifest& manifest = bundle.manifest;
  const bool enlarged = enlarges(bundle), prompted = !tokenizers.empty();
  check_pointers(given);
  check_enums(given);
  check_settings(given);
  refuse_what_does_not_apply(bundle, given);
  const auto copies = static_cast<std::size_t>(
      checked_integer("num_images_per_prompt", given.num_images_per_prompt, 1, max_copies));
  Prompts prompts;
  if (prompted) {
    prompts = read_prompts(given, tokenizers, manifest.model.zeros_for_empty_prompt, warn);
  }
  const std::size_t images = enlarged ? std::max<std::size_t>(given.image_count, 1) : 1;
  const std::size_t count = prompted ? prompts.mixtures.size() : copies * images;
  check_image(given, count, manifest.model.condition);

  const trt_pipeline_settings settings = completed(given, manifest.defaults);
  const Shape shape = shape_of(bundle, settings, count);
  const auto factor = static_cast<std::size_t>(manifest.model.vae_scale_factor);
  const bool begins = settings.image && begins_with_pictures(bundle);
  const std::size_t start = begins ? first_step(settings) : 0;
  SamplerTable table =
      sampler_table(settings.sampler,
                    choose_schedule(manifest.schedule, settings.schedule,
                                    settings.timestep_spacing ? settings.timestep_spacing : ""),
                    settings.num_inference_steps, settings.eta, start);
  auto guided = guided_steps({settings.guidance_interval[0], settings.guidance_interval[1]},
                             table.timesteps.size());
  auto [noise, seeds] = noise_of(settings, count);
  std::optional<ImageInput> image;
  std::optional<Tensor> enlarged_image;
  if (enlarged) enlarged_image = low_resolution(settings);
  if (!enlarged && settings.image) image = image_input(settings);
  const bool masked = settings.mask_image != nullptr;
  const bool from_noise = !begins || (masked && start == 0);
  return {.settings = settings,
          .shape = shape,
          .table = std::move(table),
          .guided = std::move(guided),
          .prompts = std::move(prompts),
          .scales = scales_of(bundle, settings, count),
          .noise = std::move(noise),
          .seeds = std::move(seeds),
          .image = std::move(image),
          .low_resolution = std::move(enlarged_image),
          .from_noise = from_noise,
          .shares_draws =
              settings.noise == TRT_PIPELINE_NOISE_TORCH && (masked || settings.seed_count == 1),
          .seamless = masked && std::string_view(settings.overlay) == "seamless",
          .latents = latents_of(settings, shape, from_noise),
          .tile = tile_of(settings.vae_tile_size, factor),
          .time_ids = time_ids_of(settings, shape[2] * factor, shape[3] * factor),
          .tiny = std::string_view(settings.decoder) == "tiny"};
}

}  // namespace trt_pipeline::internal
