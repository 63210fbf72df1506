// What graphs give, and the rows and parts of batches.
#pragma once

#include <algorithm>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "backends/backend.hpp"

namespace trt_pipeline::internal {

using SharedTensor = std::shared_ptr<const Tensor>;
using SharedOutputs = std::shared_ptr<const Tensors>;

// All outputs of a graph. BackendError unless it gives those that are asked for in these shapes, in
// which 0 is any size.
SharedOutputs outputs_of(Graph& graph, const TensorViews& inputs,
                         const std::map<std::string, Shape>& expected);

// One of a graph's outputs, which keeps all of them.
SharedTensor one_output(const SharedOutputs& outputs, const std::string& name);

// The one output of a graph that is asked for.
SharedTensor output_of(Graph& graph, const TensorViews& inputs, const std::string& name,
                       const Shape& expected);

// The rows of tensors that differ in their first dimension only, one after another.
Tensor concatenated(const std::vector<SharedTensor>& parts);

// A tensor [K, …] as one [count, …], in which each entry stands for as many that follow each other.
Tensor repeated(const Tensor& entries, std::size_t count);

// `count` of the rows of a tensor, from `start` on.
TensorView rows_of(const Tensor& whole, std::size_t start, std::size_t count);

// Calls a function with the start and the size of each part of a batch that the bundle allows.
template <class Function>
void for_parts(const Bundle& bundle, std::size_t count, Function function) {
  const auto max_count = static_cast<std::size_t>(bundle.manifest.limits.batch[1]);
  for (std::size_t start = 0; start < count; start += max_count) {
    function(start, std::min(max_count, count - start));
  }
}

}  // namespace trt_pipeline::internal
