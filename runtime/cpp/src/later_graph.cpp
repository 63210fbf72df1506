#include "later_graph.hpp"

namespace trt_pipeline::internal {

Graph& LaterGraph::opened() {
  const std::lock_guard lock(mutex_);
  if (!graph_) {
    const GraphSpec& spec = bundle_.graph(name_, backend_.precision());
    const auto& files = bundle_.manifest.files;
    verify_files(bundle_.path,
                 {{spec.path, files.at(spec.path)}, {spec.weights, files.at(spec.weights)}}, true);
    graph_ = backend_.open(name_);
  }
  return *graph_;
}

}  // namespace trt_pipeline::internal
