#include "graph_outputs.hpp"

#include <algorithm>

#include "errors.hpp"

namespace trt_pipeline::internal {

SharedTensor output_of(Graph& graph, const TensorViews& inputs, const std::string& name,
                       const Shape& expected) {
  Tensors outputs = graph.run(inputs);
  const auto found = outputs.find(name);
  const auto fits = [](std::size_t size, std::size_t wanted) { return !wanted || size == wanted; };
  if (found == outputs.end() || !std::ranges::equal(found->second.shape, expected, fits)) {
    const std::string got = found == outputs.end() ? "none" : describe(found->second.shape);
    throw BackendError(concat("expected the output ", name, " of shape ", describe(expected),
                              " (0 is any size), got ", got, ". Export the checkpoint again."));
  }
  return std::make_shared<const Tensor>(std::move(found->second));
}

Tensor concatenated(const std::vector<SharedTensor>& parts) {
  Shape shape = parts.at(0)->shape;
  shape[0] = 0;
  for (const auto& part : parts) shape[0] += part->shape[0];
  Tensor whole(parts[0]->dtype, shape);
  auto at = whole.bytes.begin();
  for (const auto& part : parts) at = std::ranges::copy(part->bytes, at).out;
  return whole;
}

TensorView rows_of(const Tensor& whole, std::size_t start, std::size_t count) {
  Shape shape = whole.shape;
  const std::size_t row = whole.bytes.size() / shape[0];
  shape[0] = count;
  return {whole.dtype, shape, whole.bytes.data() + start * row};
}

}  // namespace trt_pipeline::internal
