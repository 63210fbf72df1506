#include "capabilities.hpp"

#include <doctest/doctest.h>

#include "errors.hpp"

using namespace trt_pipeline::internal;

namespace {

using Names = std::vector<std::string>;

std::vector<TensorSpec> tensors(const Names& names) {
  std::vector<TensorSpec> specs;
  for (const std::string& name : names) specs.push_back({name, DType::float32, {}});
  return specs;
}

std::map<std::string, GraphSpec> with(const Names& inputs, const Names& outputs) {
  GraphSpec graph;
  graph.inputs = tensors(inputs);
  graph.outputs = tensors(outputs);
  return {{"fp32", graph}};
}

// A denoiser that sees more than latents.
std::map<std::string, GraphSpec> denoiser(const Names& more = {}) {
  Names inputs = {"latents", "history", "time_embeds", "rows", "guidance", "coefficients", "noise"};
  inputs.insert(inputs.end(), more.begin(), more.end());
  return with(inputs, {"next_latents", "next_history"});
}

// A bundle that makes pictures from noise alone.
Bundle plain() {
  Bundle bundle{"somewhere", {}};
  bundle.manifest.graphs = {{"time_embedding", with({"timesteps"}, {"time_embeds"})},
                            {"denoiser", denoiser()},
                            {"decoder", with({"latents"}, {"image"})}};
  return bundle;
}

// What check_graphs says of a bundle after a change.
template <class Change>
std::string refused(Change change) {
  Bundle bundle = plain();
  change(bundle.manifest);
  try {
    check_graphs(bundle);
    return {};
  } catch (const BundleError& error) {
    return error.what();
  }
}

}  // namespace

TEST_CASE("what a bundle can do follows from its graphs' inputs") {
  Bundle bundle = plain();
  CHECK_NOTHROW(check_graphs(bundle));
  CHECK_FALSE(takes_prompts(bundle));
  CHECK_FALSE(embeds_guidance(bundle));
  CHECK_FALSE(enlarges(bundle));
  CHECK_FALSE(begins_with_pictures(bundle));
  bundle.manifest.graphs["encoder"] = with({"image"}, {"latents_mean", "latents_std"});
  CHECK(begins_with_pictures(bundle));
  bundle.manifest.graphs["time_embedding"] = with({"timesteps", "guidance_scale"}, {"time_embeds"});
  CHECK(embeds_guidance(bundle));
  bundle.manifest.graphs["denoiser"] = denoiser({"context_kv"});
  CHECK(takes_prompts(bundle));
  bundle.manifest.model.condition = "low_resolution";
  CHECK(enlarges(bundle));
  CHECK_FALSE(begins_with_pictures(bundle));
  bundle.manifest.model.condition = "image";
  CHECK(changes_images(bundle));
  CHECK_FALSE(begins_with_pictures(bundle));
  bundle.manifest.model.condition = "masked_image";
  CHECK(sees_masks(bundle));
  CHECK(begins_with_pictures(bundle));
  CHECK_FALSE(encodes_masked(bundle));
  bundle.manifest.graphs["time_embedding"] =
      with({"timesteps", "text_embeds", "time_ids"}, {"time_embeds"});
  CHECK(embeds_texts(bundle));
  CHECK(embeds_sizes(bundle));
}

TEST_CASE("a bundle with two text encoders, a tiny decoder and a safety checker is known") {
  CHECK(refused([](Manifest& m) {
          m.graphs["denoiser"] = denoiser({"context_kv"});
          m.graphs["text_encoder"] =
              with({"input_ids", "input_ids_2"}, {"context_kv", "text_embeds"});
          m.graphs["time_embedding"] =
              with({"timesteps", "text_embeds", "time_ids"}, {"time_embeds"});
          m.graphs["tiny_decoder"] = with({"latents"}, {"image"});
          m.graphs["safety_checker"] = with({"image"}, {"has_nsfw_concept"});
          m.tokenizer.emplace();
          m.tokenizer_2.emplace();
        }) == "");
}

TEST_CASE("a graph input or output that is not known is refused by name") {
  CHECK(refused([](Manifest& m) { m.graphs["denoiser"] = denoiser({"class_labels"}); }) ==
        "somewhere: this release does not know the input \"class_labels\" of denoiser. Use a newer "
        "release.");
  CHECK(refused([](Manifest& m) { m.graphs["decoder"] = with({"latents"}, {"image", "depth"}); }) ==
        "somewhere: this release does not know the output \"depth\" of decoder. Use a newer "
        "release.");
}

TEST_CASE("a part that is missing is named") {
  CHECK(refused([](Manifest& m) { m.graphs.erase("decoder"); }) ==
        "somewhere lacks its decoder. Export the checkpoint again.");
  CHECK(refused([](Manifest& m) { m.graphs["denoiser"] = denoiser({"context_kv"}); }) ==
        "somewhere lacks its text_encoder. Export the checkpoint again.");
  CHECK(refused([](Manifest& m) {
          m.graphs["denoiser"] = denoiser({"context_kv"});
          m.graphs["text_encoder"] = with({"input_ids"}, {"context_kv"});
        }) == "somewhere lacks its tokenizer. Export the checkpoint again.");
  CHECK(refused([](Manifest& m) { m.model.condition = "low_resolution"; }) ==
        "somewhere lacks its condition. Export the checkpoint again.");
  CHECK(refused([](Manifest& m) {
          m.graphs["denoiser"] = denoiser({"condition"});
          m.model.condition = "image";
        }) == "somewhere lacks its encoder. Export the checkpoint again.");
  CHECK(refused([](Manifest& m) {
          m.graphs["denoiser"] = denoiser({"condition"});
          m.graphs["encoder"] = with({"image"}, {"latents_mean", "latents_std"});
          m.model.condition = "masked_image";
        }) == "somewhere lacks its mask. Export the checkpoint again.");
}

TEST_CASE("an input or output that a graph lacks is named") {
  CHECK(refused([](Manifest& m) { m.graphs["decoder"] = with({"latents"}, {}); }) ==
        "somewhere: decoder lacks the output image. Export the checkpoint again.");
  CHECK(refused([](Manifest& m) { m.graphs["time_embedding"] = with({}, {"time_embeds"}); }) ==
        "somewhere: time_embedding lacks the input timesteps. Export the checkpoint again.");
  CHECK(refused([](Manifest& m) { m.graphs["text_encoder"] = with({"input_ids"}, {}); }) ==
        "somewhere: text_encoder lacks the output context_kv. Export the checkpoint again.");
  CHECK(refused([](Manifest& m) { m.graphs["cached_denoiser"] = denoiser({"features"}); }) ==
        "somewhere: denoiser lacks the output features. Export the checkpoint again.");
}

TEST_CASE("a graph that is not known, or that names a tensor twice, is refused") {
  CHECK(refused([](Manifest& m) { m.graphs["upscaler"] = with({"image"}, {}); }) ==
        "somewhere: this release does not know the graph \"upscaler\". Use a newer release.");
  CHECK(refused([](Manifest& m) {
          m.graphs["decoder"] = with({"latents", "latents"}, {"image"});
        }) == "somewhere: decoder names an input twice. Export the checkpoint again.");
}
