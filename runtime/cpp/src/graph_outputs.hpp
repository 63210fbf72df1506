// Graphs that give one tensor, and the rows of tensors.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "backends/backend.hpp"

namespace trt_pipeline::internal {

using SharedTensor = std::shared_ptr<const Tensor>;

// The one output of a graph that is asked for; 0 in `expected` is any size. BackendError for
// another shape.
SharedTensor output_of(Graph& graph, const TensorViews& inputs, const std::string& name,
                       const Shape& expected);

// The rows of tensors that differ in their first dimension only, one after another.
Tensor concatenated(const std::vector<SharedTensor>& parts);

// `count` of the rows of a tensor, from `start` on.
TensorView rows_of(const Tensor& whole, std::size_t start, std::size_t count);

}  // namespace trt_pipeline::internal
