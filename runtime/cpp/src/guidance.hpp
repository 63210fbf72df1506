// Guidance as a matrix: which rows the denoiser sees, and how their predictions mix.
#pragma once

#include <array>
#include <vector>

#include "tensor.hpp"
#include "tokenizer.hpp"

namespace trt_pipeline::internal {

struct WeightedText {
  InputIds input_ids;
  double weight;
};
// Texts with the weights of their predictions; the weights sum to 1.
using Mixture = std::vector<WeightedText>;

// How M denoiser rows become the noise predictions of B samples.
struct Guidance {
  Tensor rows;                  // int32 [M], the sample that each row denoises
  Tensor matrix;                // float32 [B, M], the weight of each row in each sample
  std::vector<InputIds> texts;  // [M], the text that each row sees
};

// Classifier-free guidance, arXiv:2207.12598: u + g·(c - u). u sees a sample's negative prompt and
// is its first row; c is the weighted sum of what its prompt's texts give. A scale of exactly 1
// needs no unconditional row. All three have an entry a sample.
Guidance guide(const std::vector<Mixture>& mixtures, const std::vector<InputIds>& negatives,
               const std::vector<double>& scales);

// Whether each step is guided: step i of N is, if start <= i / N < stop (arXiv:2404.07724).
std::vector<bool> guided_steps(const std::array<double, 2>& interval, std::size_t steps);

}  // namespace trt_pipeline::internal
