#include "pipeline.hpp"

#include <algorithm>

#include "arguments.hpp"
#include "callbacks.hpp"
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

Tokenizers tokenizers_of(const Bundle& bundle) {
  Tokenizers tokenizers;
  if (!takes_prompts(bundle)) return tokenizers;
  const auto add = [&](const TokenizerSpec& spec) {
    std::map<std::string, std::filesystem::path> files;
    for (const auto& [what, name] : spec.files) files.emplace(what, bundle.file(name));
    tokenizers.emplace_back(files, spec);
  };
  add(*bundle.manifest.tokenizer);
  if (encodes_texts_twice(bundle)) add(*bundle.manifest.tokenizer_2);
  return tokenizers;
}

}  // namespace

Pipeline::Pipeline(Bundle bundle, const std::string& backend, std::int32_t threads,
                   const std::string& safety_checker, Log log)
    : log_(std::move(log)),
      bundle_(known(std::move(bundle))),
      tokenizers_(tokenizers_of(bundle_)),
      choice_(open_backend(bundle_, backend, threads)),
      conditioning_(bundle_, *choice_.backend),
      denoiser_(choice_.backend->open("denoiser")),
      cached_denoiser_(bundle_, *choice_.backend, "cached_denoiser"),
      first_stage_(bundle_, *choice_.backend) {
  if (!safety_checker.empty()) {
    check_choice("safety_checker", safety_checker, "bundle");
    if (!bundle_.manifest.graphs.contains("safety_checker")) {
      throw InvalidInputError(concat("safety_checker is \"bundle\", but ", bundle_.path.string(),
                                     " has none. Export its checkpoint with --safety-checker."));
    }
    safety_checker_.emplace(bundle_, *choice_.backend);
  }
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
  if (safety_checker_ && settings.output == TRT_PIPELINE_OUTPUT_LATENTS) {
    throw InvalidInputError("output of latents would go around the safety checker.");
  }
  return checked(bundle_, tokenizers_, settings, [this](const std::string& text) { warn(text); });
}

InputIds Pipeline::tokenize(const std::string& text) const {
  if (tokenizers_.empty()) throw InvalidInputError("this model takes no texts.");
  return tokenizers_[0].encode(text, "text", [this](const std::string& message) { warn(message); });
}

Pipeline::Encoded Pipeline::encode(const Plan& plan) {
  // Graphs are compiled for a part while others are, or run.
  const auto prepare = [&](std::size_t samples, std::size_t rows) {
    const Sizes sizes{{"batch", samples},
                      {"rows", rows},
                      {"latent_height", plan.shape[2]},
                      {"latent_width", plan.shape[3]}};
    denoiser_->prepare(sizes);
    if (plan.decodes() && !plan.tile && !plan.tiny) first_stage_.prepare(sizes);
  };
  Start start = start_of(plan, bundle_.manifest.model, first_stage_);
  Conditions conditions = conditioning_.conditions(plan, start.condition, prepare);
  return {std::move(start), std::move(conditions)};
}

// At once where the denoiser can and nothing looks at the steps or differs between them.
Tensor Pipeline::denoise(const Plan& plan, Encoded encoded) {
  const auto interval = static_cast<std::size_t>(plan.settings.cache_interval);
  const Denoisers denoisers{*denoiser_, interval > 1 ? &cached_denoiser_.opened() : nullptr,
                            interval};
  const Listeners listeners = listeners_of(
      plan.settings, [this](const Tensor& latents) { return first_stage_.preview(latents); });
  const auto& [guided, unguided] = encoded.conditions;
  std::vector<const Parts*> parts;
  for (const bool step : plan.guided) parts.push_back(step ? &guided : &unguided);
  const bool loops = dynamic_cast<LoopGraph*>(denoiser_.get()) != nullptr;
  const bool alike =
      std::ranges::all_of(parts, [&](const Parts* one) { return *one == *parts[0]; });
  if (!loops || !alike || encoded.start.known || listeners.after) {
    return internal::denoise(denoisers, std::move(encoded.start.latents), parts, plan.table,
                             *plan.noise, encoded.start.known, listeners);
  }
  const auto log = [this](const std::string& reason) {
    log_(TRT_PIPELINE_INFO, concat("the loop is enqueued step by step: ", reason));
  };
  return denoise_at_once(denoisers, std::move(encoded.start.latents), *parts[0], plan.table,
                         *plan.noise, listeners.before, log);
}

Pictures Pipeline::decode(Plan plan, Tensor latents) {
  if (!plan.decodes()) return {plan.shape, std::move(latents), std::move(plan.seeds), {}};
  Tensor pixels = first_stage_.decode(latents, plan.tile, plan.tiny);
  if (plan.seamless) pixels = paste(pixels, *plan.image);
  std::vector<std::uint8_t> unsafe = check_safety(pixels);
  return {plan.shape, std::move(pixels), std::move(plan.seeds), std::move(unsafe)};
}

std::vector<std::uint8_t> Pipeline::check_safety(Tensor& pixels) {
  if (!safety_checker_) return {};
  std::vector<std::uint8_t> unsafe = safety_checker_->blacken(pixels);
  const auto count = std::ranges::count(unsafe, 1);
  if (count) {
    warn(concat("the safety checker made ", counted(count, "picture"),
                " black. Try another prompt or seed."));
  }
  return unsafe;
}

}  // namespace trt_pipeline::internal
