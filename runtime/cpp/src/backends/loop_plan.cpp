#include "loop_plan.hpp"

#include <algorithm>

namespace trt_pipeline::internal {
namespace {

constexpr std::size_t alignment = 256;  // what TensorRT asks of every address

void insert_moved(const Layout& layout, std::size_t start, Offsets& into) {
  for (const auto& [name, offset] : layout.offsets) into[name] = start + offset;
}

std::size_t row_bytes(const TensorView& table) {
  return table.bytes() / table.shape[0];
}

// Row `step` of a table [N, …], `count` times.
void repeat_row(const TensorView& table, std::size_t step, std::size_t count, std::byte* to) {
  const std::size_t bytes = row_bytes(table);
  const auto* row = static_cast<const std::byte*>(table.data) + step * bytes;
  for (std::size_t i = 0; i < count; ++i) std::copy_n(row, bytes, to + i * bytes);
}

}  // namespace

void Layout::add(const std::string& name, std::size_t bytes) {
  offsets[name] = size;
  size += (bytes + alignment - 1) / alignment * alignment;
}

std::map<std::string, Shape, std::less<>> step_shapes(const LoopInputs& inputs) {
  const Shape& latents = inputs.latents.shape;
  Shape history = latents;
  history.insert(history.begin(), remembered);
  std::map<std::string, Shape, std::less<>> shapes = {
      {"latents", latents},
      {"history", history},
      {"noise", latents},
      {"time_embeds", {inputs.time_embeds.size(), inputs.time_embeds.at(0).shape[1]}},
      {"coefficients", {latents[0], inputs.coefficients.shape[1]}}};
  for (const auto& [name, view] : inputs.constants) shapes[name] = view.shape;
  return shapes;
}

std::optional<TensorView> features_of(const GraphSpec& denoiser, const LoopInputs& inputs) {
  const auto spec = std::ranges::find(denoiser.outputs, "features", &TensorSpec::name);
  if (spec == denoiser.outputs.end()) return std::nullopt;
  std::map<std::string, std::size_t> sizes;
  const auto shapes = step_shapes(inputs);
  for (const TensorSpec& input : denoiser.inputs) {
    for (std::size_t axis = 0; axis < input.shape.size(); ++axis) {
      const auto* dim = std::get_if<std::string>(&input.shape[axis]);
      if (dim) sizes[*dim] = shapes.at(input.name).at(axis);
    }
  }
  Shape shape;
  for (const Dim& dim : spec->shape) {
    const auto* name = std::get_if<std::string>(&dim);
    shape.push_back(name ? sizes.at(*name) : static_cast<std::size_t>(std::get<std::int64_t>(dim)));
  }
  return TensorView(spec->dtype, shape, nullptr);
}

LoopPlan::LoopPlan(const LoopInputs& inputs, const std::optional<TensorView>& features)
    : steps_(inputs.coefficients.shape[0]) {
  const std::size_t batch = inputs.latents.shape[0], latents = inputs.latents.bytes();
  for (const auto& [name, view] : inputs.constants) constants_.add(name, view.bytes());
  row_.add("time_embeds", inputs.time_embeds.size() * row_bytes(inputs.time_embeds[0]));
  row_.add("coefficients", batch * row_bytes(inputs.coefficients));
  (inputs.noise ? row_ : constants_).add("noise", latents);
  state_.add("latents", latents);
  state_.add("history", remembered * latents);
  if (features) features_.add("features", features->bytes());
}

Offsets LoopPlan::bindings(std::size_t step) const {
  Offsets bound;
  insert_moved(constants_, 0, bound);
  insert_moved(row_, row_offset(step), bound);
  insert_moved(state_, state_offset(step % 2), bound);
  for (const auto& [name, offset] : state_.offsets) {
    bound["next_" + name] = state_offset((step + 1) % 2) + offset;
  }
  insert_moved(features_, state_offset(2), bound);
  return bound;
}

std::size_t LoopPlan::latents_offset(std::size_t step) const {
  return state_offset(step % 2) + state_.offsets.at("latents");
}

std::vector<std::byte> LoopPlan::pack_rows(const LoopInputs& inputs) const {
  const std::size_t batch = inputs.latents.shape[0];
  std::vector<std::byte> rows(steps_ * row_.size);
  for (std::size_t step = 0; step < steps_; ++step) {
    std::byte* row = rows.data() + step * row_.size;
    std::byte* times = row + row_.offsets.at("time_embeds");
    for (const TensorView& table : inputs.time_embeds) {
      repeat_row(table, step, 1, times);
      times += row_bytes(table);
    }
    repeat_row(inputs.coefficients, step, batch, row + row_.offsets.at("coefficients"));
    if (inputs.noise) repeat_row(*inputs.noise, step, 1, row + row_.offsets.at("noise"));
  }
  return rows;
}

}  // namespace trt_pipeline::internal
