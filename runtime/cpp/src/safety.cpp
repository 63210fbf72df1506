#include "safety.hpp"

#include <algorithm>

#include "errors.hpp"
#include "graph_outputs.hpp"

namespace trt_pipeline::internal {

std::vector<std::uint8_t> SafetyChecker::blacken(Tensor& pixels) {
  std::vector<std::uint8_t> unsafe;
  for_parts(bundle_, pixels.shape[0], [&](std::size_t start, std::size_t size) {
    const auto found = output_of(graph_.opened(), {{"image", rows_of(pixels, start, size)}},
                                 "has_nsfw_concept", {size});
    if (found->dtype != DType::int32) {
      throw BackendError(
          "safety_checker: has_nsfw_concept is not int32. Export the checkpoint again.");
    }
    for (const std::int32_t one : found->as<std::int32_t>()) unsafe.push_back(one != 0);
  });
  const std::size_t bytes = pixels.bytes.size() / unsafe.size();
  for (std::size_t i = 0; i < unsafe.size(); ++i) {
    if (unsafe[i])
      std::fill_n(pixels.bytes.begin() + static_cast<std::ptrdiff_t>(i * bytes), bytes,
                  std::byte{});
  }
  return unsafe;
}

}  // namespace trt_pipeline::internal
