#include "first_stage.hpp"

#include <algorithm>

#include "capabilities.hpp"
#include "errors.hpp"
#include "graph_outputs.hpp"
#include "tiling.hpp"

namespace trt_pipeline::internal {

FirstStage::FirstStage(const Bundle& bundle, Backend& backend)
    : bundle_(bundle),
      decoder_(backend.open("decoder")),
      tiny_decoder_(bundle, backend, "tiny_decoder"),
      encoder_(bundle, backend, "encoder") {}

Posterior FirstStage::encode(const Tensor& pixels, const std::optional<Tensor>& masks) {
  Graph& encoder = encoder_.opened();
  const ModelSpec& model = bundle_.manifest.model;
  const auto factor = static_cast<std::size_t>(model.vae_scale_factor);
  const std::size_t count = pixels.shape[0], height = pixels.shape[1], width = pixels.shape[2];
  const Tensor all = masks ? *masks : Tensor(DType::uint8, {count, height, width});
  std::vector<SharedTensor> means, stds;
  for_parts(bundle_, count, [&](std::size_t start, std::size_t size) {
    const Shape latents = {size, static_cast<std::size_t>(model.latent_channels), height / factor,
                           width / factor};
    TensorViews inputs = {{"image", rows_of(pixels, start, size)}};
    if (encodes_masked(bundle_)) inputs.emplace("mask", rows_of(all, start, size));
    const auto outputs =
        outputs_of(encoder, inputs, {{"latents_mean", latents}, {"latents_std", latents}});
    means.push_back(one_output(outputs, "latents_mean"));
    stds.push_back(one_output(outputs, "latents_std"));
  });
  return {concatenated(means), concatenated(stds)};
}

Tensor FirstStage::decode(const Tensor& latents, std::size_t tile, bool tiny) {
  Graph& decoder = tiny ? tiny_decoder_.opened() : *decoder_;
  const auto factor = static_cast<std::size_t>(bundle_.manifest.model.vae_scale_factor);
  const auto decoded = [&](const TensorView& view) {
    const Shape image = {view.shape[0], view.shape[2] * factor, view.shape[3] * factor, 3};
    auto made = output_of(decoder, {{"latents", view}}, "image", image);
    if (made->dtype != DType::uint8) {
      throw BackendError("decoder: image is not uint8. Export the checkpoint again.");
    }
    return made;
  };
  const auto decode_tile = [&](const Tensor& piece) { return *decoded(piece); };
  std::vector<SharedTensor> parts;
  for_parts(bundle_, latents.shape[0], [&](std::size_t start, std::size_t size) {
    const TensorView view = rows_of(latents, start, size);
    parts.push_back(tile ? std::make_shared<const Tensor>(
                               decode_in_tiles(decode_tile, copied(view), tile, factor))
                         : decoded(view));
  });
  return concatenated(parts);
}

Tensor FirstStage::preview(const Tensor& latents) {
  const Manifest& manifest = bundle_.manifest;
  if (manifest.graphs.contains("tiny_decoder")) return decode(latents, 0, true);
  if (!manifest.preview.empty()) return preview_pixels(latents, manifest.preview);
  throw BundleError(concat(bundle_.path.string(),
                           " has neither a tiny decoder nor a preview map. Export its checkpoint "
                           "again."));
}

}  // namespace trt_pipeline::internal
