// A denoiser's step in parts, which predict the noise of some rows each and can run side by side.
//
// Guidance and the sampler's update, as docs/reference/bundle-format.md has them, follow here for all rows at
// once, so that the bits of a picture depend neither on the parts nor on what shares its batch.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "../tensor.hpp"

namespace trt_pipeline::internal {

// What a part takes of a step's tensors: entries that follow each other as they lie, others copied.
class RowPart {
 public:
  RowPart() = default;
  RowPart(RowPart&&) = default;  // a copy's views would be of the original's copies
  const TensorViews& inputs() const { return inputs_; }
  void take(const std::string& name, const TensorView& whole,
            const std::vector<std::size_t>& entries);

 private:
  std::vector<Tensor> copies_;
  TensorViews inputs_;
};

// In how many parts so many threads take a step.
std::size_t part_count(std::size_t rows, std::size_t threads);

// The inputs of calls for equally many rows each, valid as long as the step's; the last row is
// repeated to fill them up. A row is a sample of its own there. What prediction_inputs gives
// belongs to them.
std::vector<RowPart> row_parts(const TensorViews& step, std::size_t count);

// Of the inputs of such calls, by those of the step's.
std::map<std::string, Shape> part_shapes(const std::map<std::string, Shape>& step,
                                         std::size_t count);

// The other inputs of a part with latents of this shape, which let the denoiser give its prediction
// as m0.
Tensors prediction_inputs(const Shape& latents);

// The outputs of the whole step from those of its parts.
Tensors step_of(const TensorViews& step, const std::vector<TensorViews>& parts);

}  // namespace trt_pipeline::internal
