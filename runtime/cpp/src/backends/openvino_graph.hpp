// A graph on OpenVINO.
//
// It is compiled for each set of input shapes, which runs faster than a graph that takes any shape.
// The sets used last are kept.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <openvino/openvino.hpp>
#include <string>

#include "backend.hpp"
#include "compiled_models.hpp"

namespace trt_pipeline::internal {

// BackendError for a file that OpenVINO cannot open, or of other types than the bundle says.
// threads: that run the graph.
std::unique_ptr<Graph> open_openvino_graph(const ov::Core& core, const std::filesystem::path& path,
                                           const std::string& name, const Bundle& bundle,
                                           const GraphSpec& spec, const Options& options,
                                           std::int32_t threads);

}  // namespace trt_pipeline::internal
