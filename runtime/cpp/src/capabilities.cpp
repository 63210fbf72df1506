#include "capabilities.hpp"

#include <algorithm>
#include <set>
#include <vector>

#include "errors.hpp"

namespace trt_pipeline::internal {
namespace {

using Names = std::set<std::string>;

// What this library can give a graph, and takes from it.
struct KnownNames {
  Names inputs, outputs;
};

const std::map<std::string, KnownNames>& known_graphs() {
  static const Names step = {"latents", "history",  "context_kv",   "time_embeds", "condition",
                             "rows",    "guidance", "coefficients", "noise"};
  static const auto known = [] {
    Names cached = step;
    cached.insert("features");
    return std::map<std::string, KnownNames>{
        {"text_encoder", {{"input_ids", "input_ids_2"}, {"context_kv", "text_embeds"}}},
        {"time_embedding",
         {{"timesteps", "guidance_scale", "text_embeds", "time_ids"}, {"time_embeds"}}},
        {"denoiser", {step, {"next_latents", "next_history", "features"}}},
        {"cached_denoiser", {cached, {"next_latents", "next_history"}}},
        {"decoder", {{"latents"}, {"image"}}},
        {"tiny_decoder", {{"latents"}, {"image"}}},
        {"encoder", {{"image", "mask"}, {"latents_mean", "latents_std"}}},
        {"safety_checker", {{"image"}, {"has_nsfw_concept"}}}};
  }();
  return known;
}

// Inputs that a family may lack.
const Names optional_inputs = {"context_kv", "condition",   "guidance_scale", "input_ids_2",
                               "mask",       "text_embeds", "time_ids"};

bool holds(const Bundle& bundle, const std::string& graph) {
  return bundle.manifest.graphs.contains(graph);
}

// A graph's inputs, the same at every precision; none for one that the bundle lacks.
Names inputs_of(const Bundle& bundle, const std::string& graph) {
  Names names;
  const auto found = bundle.manifest.graphs.find(graph);
  if (found == bundle.manifest.graphs.end()) return names;
  for (const auto& [precision, spec] : found->second) {
    for (const TensorSpec& input : spec.inputs) names.insert(input.name);
  }
  return names;
}

bool gives(const Bundle& bundle, const std::string& graph, const std::string& output) {
  const auto found = bundle.manifest.graphs.find(graph);
  if (found == bundle.manifest.graphs.end()) return false;
  return std::ranges::all_of(found->second, [&](const auto& form) {
    return std::ranges::any_of(form.second.outputs,
                               [&](const TensorSpec& one) { return one.name == output; });
  });
}

// BundleError unless a graph's inputs or outputs are known, there, and named once each.
void check_tensors(const Bundle& bundle, const std::string& graph, const std::string& kind,
                   const std::vector<TensorSpec>& tensors, const Names& known,
                   const Names& optional) {
  const std::string place = bundle.path.string() + ": ";
  Names names;
  bool twice = false;
  for (const TensorSpec& tensor : tensors) {
    if (!known.contains(tensor.name)) {
      throw BundleError(concat(place, "this release does not know the ", kind, " ",
                               brief(Json(tensor.name)), " of ", graph, ". Use a newer release."));
    }
    twice |= !names.insert(tensor.name).second;
  }
  for (const std::string& name : known) {
    if (names.contains(name) || optional.contains(name)) continue;
    throw BundleError(
        concat(place, graph, " lacks the ", kind, " ", name, ". Export the checkpoint again."));
  }
  if (twice) {
    throw BundleError(
        concat(place, graph, " names an ", kind, " twice. Export the checkpoint again."));
  }
}

// BundleError for a graph, or a graph's input or output, that this library does not know or that
// is missing.
void check_names(const Bundle& bundle) {
  Names optional_outputs = {"text_embeds"};
  if (!holds(bundle, "cached_denoiser")) optional_outputs.insert("features");
  for (const auto& [graph, forms] : bundle.manifest.graphs) {
    const auto known = known_graphs().find(graph);
    if (known == known_graphs().end()) {
      throw BundleError(concat(bundle.path.string(), ": this release does not know the graph ",
                               brief(Json(graph)), ". Use a newer release."));
    }
    for (const auto& [precision, spec] : forms) {
      check_tensors(bundle, graph, "input", spec.inputs, known->second.inputs, optional_inputs);
      check_tensors(bundle, graph, "output", spec.outputs, known->second.outputs, optional_outputs);
    }
  }
}

// What a model with two text encoders lacks, of which the pooled text is the second's.
std::string missing_of_pair(const Bundle& bundle) {
  const Names times = inputs_of(bundle, "time_embedding");
  const bool embeds = times.contains("text_embeds");
  if (encodes_texts_twice(bundle) && !bundle.manifest.tokenizer_2) return "tokenizer_2";
  if (embeds != times.contains("time_ids")) return embeds ? "time_ids" : "text_embeds";
  return !embeds || gives(bundle, "text_encoder", "text_embeds") ? "" : "text_embeds";
}

// The name of a part that is missing; empty if none is.
std::string missing_part(const Bundle& bundle) {
  for (const char* graph : {"time_embedding", "denoiser", "decoder"}) {
    if (!holds(bundle, graph)) return graph;
  }
  if (takes_prompts(bundle) && !holds(bundle, "text_encoder")) return "text_encoder";
  if (takes_prompts(bundle) && !bundle.manifest.tokenizer) return "tokenizer";
  const std::string missing = missing_of_pair(bundle);
  if (!missing.empty()) return missing;
  const bool sees_condition = inputs_of(bundle, "denoiser").contains("condition");
  if (sees_condition == bundle.manifest.model.condition.empty()) return "condition";
  const bool sees_encoded = changes_images(bundle) || sees_masks(bundle);
  if (sees_encoded && !holds(bundle, "encoder")) return "encoder";
  return encodes_masked(bundle) == sees_masks(bundle) ? "" : "mask";
}

}  // namespace

bool takes_prompts(const Bundle& bundle) {
  return inputs_of(bundle, "denoiser").contains("context_kv");
}

bool embeds_guidance(const Bundle& bundle) {
  return inputs_of(bundle, "time_embedding").contains("guidance_scale");
}

bool encodes_texts_twice(const Bundle& bundle) {
  return inputs_of(bundle, "text_encoder").contains("input_ids_2");
}

bool embeds_texts(const Bundle& bundle) {
  return inputs_of(bundle, "time_embedding").contains("text_embeds");
}

bool embeds_sizes(const Bundle& bundle) {
  return inputs_of(bundle, "time_embedding").contains("time_ids");
}

bool enlarges(const Bundle& bundle) {
  return bundle.manifest.model.condition == "low_resolution";
}

bool sees_masks(const Bundle& bundle) {
  return bundle.manifest.model.condition == "masked_image";
}

bool changes_images(const Bundle& bundle) {
  return bundle.manifest.model.condition == "image";
}

bool encodes_masked(const Bundle& bundle) {
  return inputs_of(bundle, "encoder").contains("mask");
}

bool begins_with_pictures(const Bundle& bundle) {
  return holds(bundle, "encoder") && !enlarges(bundle) && !changes_images(bundle);
}

void check_graphs(const Bundle& bundle) {
  check_names(bundle);
  const std::string missing = missing_part(bundle);
  if (!missing.empty()) {
    throw BundleError(
        concat(bundle.path.string(), " lacks its ", missing, ". Export the checkpoint again."));
  }
}

}  // namespace trt_pipeline::internal
