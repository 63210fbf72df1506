#include "first_stage.hpp"

#include <algorithm>

#include "errors.hpp"
#include "graph_outputs.hpp"
#include "tiling.hpp"

namespace trt_pipeline::internal {
namespace {

// What a function makes of a batch [B, …], in parts that the bundle allows.
template <class Function>
Tensor in_parts(const Bundle& bundle, const Tensor& batch, Function function) {
  const auto most = static_cast<std::size_t>(bundle.manifest.limits.batch[1]);
  std::vector<SharedTensor> parts;
  for (std::size_t start = 0; start < batch.shape[0]; start += most) {
    parts.push_back(function(rows_of(batch, start, std::min(most, batch.shape[0] - start))));
  }
  return concatenated(parts);
}

}  // namespace

FirstStage::FirstStage(const Bundle& bundle, Backend& backend)
    : bundle_(bundle), decoder_(backend.open("decoder")), encoder_(bundle, backend, "encoder") {}

Tensor FirstStage::encode(const Tensor& pixels) {
  Graph& encoder = encoder_.opened();
  const ModelSpec& model = bundle_.manifest.model;
  const auto factor = static_cast<std::size_t>(model.vae_scale_factor);
  return in_parts(bundle_, pixels, [&](const TensorView& image) {
    const Shape latents = {image.shape[0], static_cast<std::size_t>(model.latent_channels),
                           image.shape[1] / factor, image.shape[2] / factor};
    return output_of(encoder, {{"image", image}}, "latents_mean", latents);
  });
}

Tensor FirstStage::decode(const Tensor& latents, std::size_t tile) {
  const auto factor = static_cast<std::size_t>(bundle_.manifest.model.vae_scale_factor);
  const auto decoded = [&](const TensorView& view) {
    const Shape image = {view.shape[0], view.shape[2] * factor, view.shape[3] * factor, 3};
    auto made = output_of(*decoder_, {{"latents", view}}, "image", image);
    if (made->dtype != DType::uint8) {
      throw BackendError("decoder: image is not uint8. Export the checkpoint again.");
    }
    return made;
  };
  return in_parts(bundle_, latents, [&](const TensorView& view) {
    if (!tile) return decoded(view);
    const auto decode_tile = [&](const Tensor& piece) { return *decoded(piece); };
    return std::make_shared<const Tensor>(decode_in_tiles(decode_tile, copied(view), tile, factor));
  });
}

}  // namespace trt_pipeline::internal
