#include "pipeline.hpp"

#include <algorithm>

#include "capabilities.hpp"
#include "errors.hpp"
#include "samplers/samplers.hpp"

namespace trt_pipeline::internal {
namespace {

// The bundle, if this library can run it.
Bundle known(Bundle bundle) {
  check_graphs(bundle);
  const std::string& sampler = bundle.manifest.defaults.sampler;
  if (!is_sampler(sampler)) {
    throw BundleError(concat(bundle.path.string(), ": its sampler is ", brief(Json(sampler)),
                             ", but this release knows ", sampler_names(),
                             ". Use a newer release."));
  }
  return bundle;
}

std::optional<Tokenizer> tokenizer_of(const Bundle& bundle) {
  if (!takes_prompts(bundle)) return std::nullopt;
  const TokenizerSpec& spec = *bundle.manifest.tokenizer;
  std::map<std::string, std::filesystem::path> files;
  for (const auto& [what, name] : spec.files) files.emplace(what, bundle.file(name));
  return Tokenizer(files, spec);
}

}  // namespace

Pipeline::Pipeline(Bundle bundle, const std::string& backend, std::int32_t threads, Log log)
    : log_(std::move(log)),
      bundle_(known(std::move(bundle))),
      tokenizer_(tokenizer_of(bundle_)),
      choice_(open_backend(bundle_, backend, threads)),
      conditioning_(bundle_, *choice_.backend),
      denoiser_(choice_.backend->open("denoiser")),
      cached_denoiser_(bundle_, *choice_.backend, "cached_denoiser"),
      first_stage_(bundle_, *choice_.backend) {
  log_(TRT_PIPELINE_INFO, concat("backend ", choice_.backend->name(), " for ",
                                 bundle_.manifest.model.name, ": ", choice_.reason));
}

Pictures Pipeline::generate(const trt_pipeline_settings& settings) {
  Plan plan = check(settings);
  Encoded encoded = encode(plan);
  Tensor latents = denoise(plan, std::move(encoded));
  return decode(std::move(plan), std::move(latents));
}

Plan Pipeline::check(const trt_pipeline_settings& settings) const {
  return checked(bundle_, tokenizer(), settings, [this](const std::string& text) { warn(text); });
}

InputIds Pipeline::tokenize(const std::string& text) const {
  if (!tokenizer_) throw InvalidInputError("this model takes no texts.");
  return tokenizer_->encode(text, "text", [this](const std::string& message) { warn(message); });
}

Pipeline::Encoded Pipeline::encode(const Plan& plan) {
  // Graphs are compiled for a part while others are, or run.
  const auto prepare = [&](std::size_t samples, std::size_t rows) {
    const Sizes sizes{{"batch", samples},
                      {"rows", rows},
                      {"latent_height", plan.shape[2]},
                      {"latent_width", plan.shape[3]}};
    denoiser_->prepare(sizes);
    if (plan.decodes() && !plan.tile) first_stage_.prepare(sizes);
  };
  Encoded encoded{conditioning_.conditions(plan, prepare), {}, {}};
  begin(plan, encoded);
  return encoded;
}

// The latents that denoising begins with, and what it must not change.
void Pipeline::begin(const Plan& plan, Encoded& encoded) {
  if (plan.latents) {
    encoded.latents = *plan.latents;
    return;
  }
  const Shape& shape = plan.shape;
  Tensor drawn(DType::float32, shape);
  std::ranges::copy(plan.noise->draw(shape[0], count_of(shape) / shape[0]),
                    drawn.as<float>().begin());
  encoded.latents = drawn;
  for (float& number : encoded.latents.as<float>()) number *= plan.table.initial_scale;
  if (!plan.image) return;
  const float level = plan.table.alphas_cumprod[0];
  Tensor clean = first_stage_.encode(plan.image->pixels);
  if (!plan.from_noise) encoded.latents = noised(clean, drawn, level);
  if (plan.image->repainted.empty()) return;
  const auto factor = static_cast<std::size_t>(bundle_.manifest.model.vae_scale_factor);
  encoded.known.emplace(
      KnownLatents{std::move(clean), std::move(drawn), kept_latents(*plan.image, factor)});
  encoded.known->restore(encoded.latents, level);
}

// At once where the denoiser can and nothing looks at the steps or differs between them.
Tensor Pipeline::denoise(const Plan& plan, Encoded encoded) {
  const auto interval = static_cast<std::size_t>(plan.settings.cache_interval);
  const Denoisers denoisers{*denoiser_, interval > 1 ? &cached_denoiser_.opened() : nullptr,
                            interval};
  const auto& [guided, unguided] = encoded.conditions;
  std::vector<const Parts*> parts;
  for (const bool step : plan.guided) parts.push_back(step ? &guided : &unguided);
  const bool loops = dynamic_cast<LoopGraph*>(denoiser_.get()) != nullptr;
  const bool alike =
      std::ranges::all_of(parts, [&](const Parts* one) { return *one == *parts[0]; });
  if (!loops || !alike || encoded.known || plan.listeners.after) {
    return internal::denoise(denoisers, std::move(encoded.latents), parts, plan.table, *plan.noise,
                             encoded.known, plan.listeners);
  }
  const auto log = [this](const std::string& reason) {
    log_(TRT_PIPELINE_INFO, concat("the loop is enqueued step by step: ", reason));
  };
  return denoise_at_once(denoisers, std::move(encoded.latents), *parts[0], plan.table, *plan.noise,
                         plan.listeners.before, log);
}

Pictures Pipeline::decode(Plan plan, Tensor latents) {
  if (!plan.decodes()) return {plan.shape, std::move(latents), std::move(plan.seeds)};
  Tensor pixels = first_stage_.decode(latents, plan.tile);
  if (plan.image && !plan.image->repainted.empty()) pixels = paste(pixels, *plan.image);
  return {plan.shape, std::move(pixels), std::move(plan.seeds)};
}

}  // namespace trt_pipeline::internal
