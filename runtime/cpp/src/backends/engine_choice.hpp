// Which TensorRT plan of a bundle fits the machine, and its bytes.
#pragma once

#include <string>
#include <vector>

#include "../bundle.hpp"

namespace trt_pipeline::internal {

// What a plan must have been built for.
struct EngineTarget {
  std::string flavour;             // tensorrt or tensorrt_rtx
  std::string version;             // full, of the library that runs
  std::string compute_capability;  // such as 8.9
  std::string platform;            // such as linux-x86_64
};

// The plan of a graph whose key fits the target and the bundle's graph. BundleError naming what
// differs in those that are there.
const EngineSpec& choose_engine(const Bundle& bundle, const std::string& graph,
                                const EngineTarget& target);

// A plan's bytes, hashed as they are read: a plan is code. IntegrityError if they are others than
// the manifest says.
std::vector<char> read_plan(const Bundle& bundle, const EngineSpec& engine);

}  // namespace trt_pipeline::internal
