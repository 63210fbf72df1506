#include "capabilities.hpp"

#include <algorithm>
#include <set>
#include <vector>

#include "errors.hpp"

namespace trt_pipeline::internal {
namespace {

using Names = std::set<std::string>;

// Every input that this library can give a graph.
const std::map<std::string, Names>& known_inputs() {
  static const Names step = {"latents", "history",  "context_kv",   "time_embeds", "condition",
                             "rows",    "guidance", "coefficients", "noise"};
  static const auto known = [] {
    Names cached = step;
    cached.insert("features");
    return std::map<std::string, Names>{{"text_encoder", {"input_ids"}},
                                        {"time_embedding", {"timesteps", "guidance_scale"}},
                                        {"denoiser", step},
                                        {"cached_denoiser", cached},
                                        {"decoder", {"latents"}},
                                        {"encoder", {"image"}}};
  }();
  return known;
}

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

// BundleError for a name that two of these tensors share.
void check_distinct(const Bundle& bundle, const std::string& graph, const char* kind,
                    const std::vector<TensorSpec>& tensors) {
  Names names;
  for (const TensorSpec& tensor : tensors) {
    if (names.insert(tensor.name).second) continue;
    throw BundleError(concat(bundle.path.string(), ": ", graph, " names an ", kind,
                             " twice. Export the checkpoint again."));
  }
}

// BundleError for a graph that this library does not know, or one with a name twice.
void check_names(const Bundle& bundle) {
  for (const auto& [graph, forms] : bundle.manifest.graphs) {
    if (!known_inputs().contains(graph)) {
      throw BundleError(concat(bundle.path.string(), ": this release does not know the graph ",
                               brief(Json(graph)), ". Use a newer release."));
    }
    for (const auto& [precision, spec] : forms) {
      check_distinct(bundle, graph, "input", spec.inputs);
      check_distinct(bundle, graph, "output", spec.outputs);
    }
  }
}

// The name of a part that is missing; empty if none is.
std::string missing_part(const Bundle& bundle) {
  for (const char* graph : {"time_embedding", "denoiser", "decoder"}) {
    if (!holds(bundle, graph)) return graph;
  }
  if (takes_prompts(bundle) && !holds(bundle, "text_encoder")) return "text_encoder";
  if (takes_prompts(bundle) && !bundle.manifest.tokenizer) return "tokenizer";
  const bool sees_condition = inputs_of(bundle, "denoiser").contains("condition");
  return sees_condition == !bundle.manifest.model.condition.empty() ? "" : "condition";
}

}  // namespace

bool takes_prompts(const Bundle& bundle) {
  return inputs_of(bundle, "denoiser").contains("context_kv");
}

bool embeds_guidance(const Bundle& bundle) {
  return inputs_of(bundle, "time_embedding").contains("guidance_scale");
}

bool enlarges(const Bundle& bundle) {
  return bundle.manifest.model.condition == "low_resolution";
}

bool begins_with_pictures(const Bundle& bundle) {
  return holds(bundle, "encoder") && !enlarges(bundle);
}

void check_graphs(const Bundle& bundle) {
  check_names(bundle);
  for (const auto& [graph, known] : known_inputs()) {
    for (const std::string& input : inputs_of(bundle, graph)) {
      if (known.contains(input)) continue;
      throw BundleError(concat(bundle.path.string(), ": this release does not know the input ",
                               brief(Json(input)), " of ", graph, ". Use a newer release."));
    }
  }
  const std::string missing = missing_part(bundle);
  if (!missing.empty()) {
    throw BundleError(
        concat(bundle.path.string(), " lacks its ", missing, ". Export the checkpoint again."));
  }
}

}  // namespace trt_pipeline::internal
