#include "capabilities.hpp"

#include <doctest/doctest.h>

#include "errors.hpp"

using namespace trt_pipeline::internal;

namespace {

// A graph with inputs of these names.
std::map<std::string, GraphSpec> with(const std::vector<std::string>& inputs) {
  GraphSpec graph;
  for (const std::string& name : inputs) graph.inputs.push_back({name, DType::float32, {}});
  return {{"fp32", graph}};
}

// A bundle that makes pictures from noise alone.
Bundle plain() {
  Bundle bundle{"somewhere", {}};
  bundle.manifest.graphs = {{"time_embedding", with({"timesteps"})},
                            {"denoiser", with({"latents", "time_embeds", "rows", "guidance"})},
                            {"decoder", with({"latents"})}};
  return bundle;
}

}  // namespace

TEST_CASE("what a bundle can do follows from its graphs' inputs") {
  Bundle bundle = plain();
  CHECK_NOTHROW(check_graphs(bundle));
  CHECK_FALSE(takes_prompts(bundle));
  CHECK_FALSE(embeds_guidance(bundle));
  CHECK_FALSE(enlarges(bundle));
  CHECK_FALSE(begins_with_pictures(bundle));
  bundle.manifest.graphs["encoder"] = with({"image"});
  CHECK(begins_with_pictures(bundle));
  bundle.manifest.graphs["time_embedding"] = with({"timesteps", "guidance_scale"});
  CHECK(embeds_guidance(bundle));
  bundle.manifest.graphs["denoiser"] = with({"latents", "context_kv"});
  CHECK(takes_prompts(bundle));
  bundle.manifest.model.condition = "low_resolution";
  CHECK(enlarges(bundle));
  CHECK_FALSE(begins_with_pictures(bundle));
}

TEST_CASE("a graph input that is not known is refused by name") {
  Bundle bundle = plain();
  bundle.manifest.graphs["denoiser"] = with({"latents", "class_labels"});
  CHECK_THROWS_WITH_AS(check_graphs(bundle),
                       "somewhere: this release does not know the input \"class_labels\" of "
                       "denoiser. Use a newer release.",
                       BundleError);
}

TEST_CASE("a part that is missing is named") {
  const auto missing = [](auto change) {
    Bundle bundle = plain();
    change(bundle.manifest);
    try {
      check_graphs(bundle);
      return std::string();
    } catch (const BundleError& error) {
      return std::string(error.what());
    }
  };
  CHECK(missing([](Manifest& m) { m.graphs.erase("decoder"); }) ==
        "somewhere lacks its decoder. Export the checkpoint again.");
  CHECK(missing([](Manifest& m) { m.graphs["denoiser"] = with({"context_kv"}); }) ==
        "somewhere lacks its text_encoder. Export the checkpoint again.");
  CHECK(missing([](Manifest& m) {
          m.graphs["denoiser"] = with({"context_kv"});
          m.graphs["text_encoder"] = with({"input_ids"});
        }) == "somewhere lacks its tokenizer. Export the checkpoint again.");
  CHECK(missing([](Manifest& m) { m.model.condition = "low_resolution"; }) ==
        "somewhere lacks its condition. Export the checkpoint again.");
}

TEST_CASE("a graph that is not known, or that names an input twice, is refused") {
  Bundle bundle = plain();
  bundle.manifest.graphs["upscaler"] = with({"image"});
  CHECK_THROWS_WITH_AS(check_graphs(bundle),
                       "somewhere: this release does not know the graph \"upscaler\". Use a newer "
                       "release.",
                       BundleError);
  bundle = plain();
  bundle.manifest.graphs["decoder"] = with({"latents", "latents"});
  CHECK_THROWS_WITH_AS(check_graphs(bundle),
                       "somewhere: decoder names an input twice. Export the checkpoint again.",
                       BundleError);
}
