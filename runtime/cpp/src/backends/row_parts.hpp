// A denoiser's step in parts, which predict the noise of some rows each and can run side by side.
//
// Guidance and the sampler's update, as engines/README.md has them, follow here for all rows at
// once, so that the bits of a picture depend neither on the parts nor on what shares its batch.
#pragma once

#include <vector>

#include "../tensor.hpp"

namespace trt_pipeline::internal {

// The inputs of calls for equally many rows each; the last row is repeated to fill them up. A row is
// a sample of its own there, with a step that gives the prediction as m0.
std::vector<Tensors> row_parts(const TensorViews& step, std::size_t count);

// The outputs of the whole step from those of its parts.
Tensors step_of(const TensorViews& step, const std::vector<Tensors>& parts);

}  // namespace trt_pipeline::internal
