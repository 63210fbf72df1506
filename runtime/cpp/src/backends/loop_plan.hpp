// The plan of the denoising loop on a device: which address each step reads and writes.
//
// One block holds it all:
//
//     constants | row 0 | row 1 | … | row N-1 | state 0 | state 1 | features
//
// A row has what only its step sees: coefficients, time embeddings, and noise if any is drawn. A
// state has the latents and the history. A step reads one state and writes the other. The denoiser
// writes the features, cached_denoiser reads them.
#pragma once

#include <cstddef>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "backend.hpp"

namespace trt_pipeline::internal {

// Name of a tensor → bytes from some start.
using Offsets = std::map<std::string, std::size_t, std::less<>>;

// Tensors one after the other, each aligned.
struct Layout {
  Offsets offsets;
  std::size_t size = 0;  // bytes, a multiple of the alignment

  // Give a tensor of this many bytes the next place.
  void add(const std::string& name, std::size_t bytes);
};

// The denoiser's inputs at the first step, by name, which say the shapes of all steps.
std::map<std::string, Shape, std::less<>> step_shapes(const LoopInputs& inputs);

// What a whole step writes for the cached ones, without data; none if the denoiser lacks it.
std::optional<TensorView> features_of(const GraphSpec& denoiser, const LoopInputs& inputs);

// Offsets are in bytes from the start of the block.
class LoopPlan {
 public:
  explicit LoopPlan(const LoopInputs& inputs, const std::optional<TensorView>& features = {});

  std::size_t steps() const { return steps_; }
  std::size_t size() const { return state_offset(2) + features_.size; }
  const Layout& constants() const { return constants_; }
  std::size_t rows_offset() const { return constants_.size; }
  // Where every input and output of a step lies.
  Offsets bindings(std::size_t step) const;
  // Of the state that the first step reads, and its bytes.
  std::size_t start_offset() const { return state_offset(0); }
  std::size_t state_size() const { return state_.size; }
  // Of the latents before a step; those before step N are the result.
  std::size_t latents_offset(std::size_t step) const;
  // All rows, one after another, each sample with its own copy of what the step sees, and each
  // denoiser row with its own time embedding.
  std::vector<std::byte> pack_rows(const LoopInputs& inputs) const;

 private:
  std::size_t row_offset(std::size_t row) const { return constants_.size + row * row_.size; }
  std::size_t state_offset(std::size_t state) const {
    return row_offset(steps_) + state * state_.size;
  }

  std::size_t steps_;
  Layout constants_, row_, state_, features_;
};

}  // namespace trt_pipeline::internal
