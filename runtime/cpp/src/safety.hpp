// Safety: a bundle's graph that says which pictures must not be shown.
#pragma once

#include <cstdint>
#include <vector>

#include "later_graph.hpp"

namespace trt_pipeline::internal {

// Safe to share between threads. The bundle and the backend outlive it.
class SafetyChecker {
 public:
  SafetyChecker(const Bundle& bundle, Backend& backend)
      : bundle_(bundle), graph_(bundle, backend, "safety_checker") {}

  // Makes those pictures uint8 [B, H, W, 3] black that must not be shown. [B], 1 for each of them.
  std::vector<std::uint8_t> blacken(Tensor& pixels);

 private:
  const Bundle& bundle_;
  LaterGraph graph_;
};

}  // namespace trt_pipeline::internal
