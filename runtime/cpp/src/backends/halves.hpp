// A denoiser's step as two of half the rows, which can run beside each other and add up.
//
// A step is linear in the rows' predictions, as engines/README.md has it: what does not depend on
// them is the first half's, the second adds its part of m0.
#pragma once

#include <optional>

#include "../tensor.hpp"

namespace trt_pipeline::internal {

// The inputs of both halves, some of them made for it; the others are the whole step's own.
struct Halves {
  Tensor first_guidance, second_guidance, second_coefficients;
  TensorViews first, second;
};

// Nothing for an odd number of rows, or a model without them.
std::optional<Halves> halve(const TensorViews& step);

// The outputs of the whole step from those of its halves.
Tensors join(Tensors first, const Tensors& second);

}  // namespace trt_pipeline::internal
