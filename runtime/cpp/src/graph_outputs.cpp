#include "graph_outputs.hpp"

#include <algorithm>

#include "errors.hpp"

namespace trt_pipeline::internal {

namespace {

void check_output(const Tensors& outputs, const std::string& name, const Shape& expected) {
  const auto found = outputs.find(name);
  const auto fits = [](std::size_t size, std::size_t wanted) { return !wanted || size == wanted; };
  if (found == outputs.end() || !std::ranges::equal(found->second.shape, expected, fits)) {
    const std::string got = found == outputs.end() ? "none" : describe(found->second.shape);
    throw BackendError(concat("expected the output ", name, " of shape ", describe(expected),
                              " (0 is any size), got ", got, ". Export the checkpoint again."));
  }
}

}  // namespace

SharedOutputs outputs_of(Graph& graph, const TensorViews& inputs,
                         const std::map<std::string, Shape>& expected) {
  Tensors outputs = graph.run(inputs);
  for (const auto& [name, shape] : expected) check_output(outputs, name, shape);
  return std::make_shared<const Tensors>(std::move(outputs));
}

SharedTensor one_output(const SharedOutputs& outputs, const std::string& name) {
  return {outputs, &outputs->find(name)->second};
}

SharedTensor output_of(Graph& graph, const TensorViews& inputs, const std::string& name,
                       const Shape& expected) {
  return one_output(outputs_of(graph, inputs, {{name, expected}}), name);
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

Tensor repeated(const Tensor& entries, std::size_t count) {
  Shape shape = entries.shape;
  const std::size_t bytes = entries.bytes.size() / shape[0];
  shape[0] = count;
  Tensor whole(entries.dtype, shape);
  auto to = whole.bytes.begin();
  for (std::size_t i = 0; i < count; ++i) {
    to =
        std::copy_n(entries.bytes.data() + entry_of(i, entries.shape[0], count) * bytes, bytes, to);
  }
  return whole;
}

TensorView rows_of(const Tensor& whole, std::size_t start, std::size_t count) {
  Shape shape = whole.shape;
  const std::size_t row = whole.bytes.size() / shape[0];
  shape[0] = count;
  return {whole.dtype, shape, whole.bytes.data() + start * row};
}

}  // namespace trt_pipeline::internal
