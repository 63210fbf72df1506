#include "start.hpp"

#include <algorithm>

#include "graph_outputs.hpp"

namespace trt_pipeline::internal {
namespace {

Tensor drawn_noise(const Plan& plan, std::size_t samples) {
  Shape shape = plan.shape;
  shape[0] = samples;
  Tensor noise(DType::float32, shape);
  std::ranges::copy(plan.noise->draw(samples, count_of(shape) / samples),
                    noise.as<float>().begin());
  return noise;
}

// [B, C, h, w], for what the encoder gives of `entries` pictures.
Tensor posterior_noise(const Plan& plan, std::size_t entries) {
  return repeated(drawn_noise(plan, plan.shares_draws ? entries : plan.count()), plan.count());
}

// Latents [B, C, h, w] from the distributions of the pictures that stand for them.
Tensor sampled(const Posterior& posterior, Tensor noise) {
  const std::size_t count = noise.shape[0];
  const Tensor means = repeated(posterior.mean, count), stds = repeated(posterior.std, count);
  const auto mean = means.as<float>(), std = stds.as<float>();
  const auto numbers = noise.as<float>();
  for (std::size_t i = 0; i < numbers.size(); ++i) numbers[i] = mean[i] + std[i] * numbers[i];
  return noise;
}

Tensor scaled(Tensor latents, float factor) {
  for (float& number : latents.as<float>()) number *= factor;
  return latents;
}

std::size_t masked_pictures(const ImageInput& image) {
  return std::max(image.images(), image.masks());
}

// uint8 [B, h, w], 1 where each picture of a call is painted again.
Tensor repainted(const Plan& plan, const ModelSpec& model) {
  const auto factor = static_cast<std::size_t>(model.vae_scale_factor);
  return repeated(repainted_latents(*plan.image, factor, plan.seamless), plan.count());
}

// Of the pictures without what is painted again, one for each image or each mask, whichever are
// more.
Posterior masked_posterior(const ImageInput& image, FirstStage& first_stage) {
  const std::size_t count = masked_pictures(image);
  Tensor masks(DType::uint8, {image.masks(), image.pixels.shape[1], image.pixels.shape[2]});
  std::ranges::copy(image.repainted, masks.as<std::uint8_t>().begin());
  return first_stage.encode(repeated(image.pixels, count), repeated(masks, count));
}

// float32 [B, 1 + C, h, w]: the mask, then the latents of the pictures without that part.
Tensor masked_condition(const Plan& plan, const ModelSpec& model, FirstStage& first_stage) {
  const Tensor again = repainted(plan, model);
  const Tensor latents = sampled(masked_posterior(*plan.image, first_stage),
                                 posterior_noise(plan, masked_pictures(*plan.image)));
  Shape shape = plan.shape;
  ++shape[1];
  Tensor condition(DType::float32, shape);
  const auto mask = again.as<std::uint8_t>();
  const auto numbers = latents.as<float>();
  const std::size_t area = shape[2] * shape[3], channels = plan.shape[1] * area;
  auto to = condition.as<float>().begin();
  for (std::size_t i = 0; i < plan.count(); ++i) {
    to = std::copy_n(mask.begin() + static_cast<std::ptrdiff_t>(i * area), area, to);
    to = std::copy_n(numbers.begin() + static_cast<std::ptrdiff_t>(i * channels), channels, to);
  }
  return condition;
}

}  // namespace

Start start_of(const Plan& plan, const ModelSpec& model, FirstStage& first_stage) {
  const std::size_t count = plan.count();
  const bool sees_masked = model.condition == "masked_image";
  const bool sees_image = model.condition == "image";
  Start start;
  std::optional<Tensor> clean;  // the latents of the given pictures
  if (plan.low_resolution) start.condition = repeated(*plan.low_resolution, count);
  if (plan.image && sees_image) {
    start.condition = repeated(first_stage.encode(plan.image->pixels).mean, count);
  } else if (plan.image && !(sees_masked && plan.from_noise)) {
    const Posterior posterior = first_stage.encode(plan.image->pixels);
    clean = sampled(posterior, posterior_noise(plan, plan.image->images()));
  }
  Tensor noise = plan.latents ? *plan.latents : drawn_noise(plan, count);
  if (!plan.from_noise) {
    start.latents = noised(*clean, noise, plan.table.alphas_cumprod[0]);
  } else {
    start.latents = scaled(noise, plan.table.initial_scale);
  }
  if (sees_masked) {
    start.condition = masked_condition(plan, model, first_stage);
  } else if (plan.masked()) {
    posterior_noise(plan, masked_pictures(*plan.image));  // of what diffusers encodes in vain
    start.known.emplace(KnownLatents{std::move(*clean), std::move(noise), repainted(plan, model)});
  }
  return start;
}

}  // namespace trt_pipeline::internal
