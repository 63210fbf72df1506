// ONNX files: where each keeps its weights, before any runtime opens it.
//
// A runtime follows the paths in an ONNX file. A bundle's may only name the weight file that the
// manifest has for the graph, which lies beside it.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "bundle.hpp"

namespace trt_pipeline::internal {

// Path of a graph's ONNX file, whose only weight file is the one that the manifest says.
// BundleError if the bundle has no such graph or the file is not ONNX, IntegrityError if it names
// another file.
std::filesystem::path onnx_file(const Bundle& bundle, const std::string& name,
                                const std::string& precision);

// The files that the tensors of an ONNX model name; FormatError for anything but protobuf.
std::vector<std::string> external_locations(std::string_view model);

}  // namespace trt_pipeline::internal
