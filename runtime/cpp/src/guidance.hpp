// Guidance as a matrix: which rows the denoiser sees, and how their predictions mix.
#pragma once

#include <array>
#include <optional>
#include <vector>

#include "tensor.hpp"
#include "tokenizer.hpp"

namespace trt_pipeline::internal {

// What a text encoder reads of one text, a list for each of its inputs. Empty is no text at all, of
// which a row sees zeros.
using TextIds = std::vector<InputIds>;

struct WeightedText {
  TextIds input_ids;
  double weight;
};
// Texts with the weights of their predictions; the weights sum to 1.
using Mixture = std::vector<WeightedText>;

// How M denoiser rows become the noise predictions of B samples.
struct Guidance {
  Tensor rows;                   // int32 [M], the sample that each row denoises
  Tensor matrix;                 // float32 [B, M], the weight of each row in each sample
  std::vector<TextIds> texts;    // [M], the text that each row sees
  std::vector<bool> sees_image;  // [M], whether a row sees the image of its sample, or zeros
};

// How strongly a sample is guided.
struct GuidanceScales {
  double text = 1;              // exactly 1 is not at all
  std::optional<double> image;  // none for a model that sees no image to change
};

// The scales that count: a text's of 1 where these do not guide. above_1_only: whether a scale
// below 1 is no guidance either, as in diffusers' Stable Diffusion.
GuidanceScales guiding(double text, const std::optional<double>& image, bool above_1_only);

// Classifier-free guidance, arXiv:2207.12598: u + g·(c - u). u sees a sample's negative prompt and
// is its first row; c is the weighted sum of what its prompt's texts give.
// InstructPix2Pix, arXiv:2211.09800, eq. 3, has a row between them, which sees the image without
// the prompt: u + gI·(i - u) + g·(c - i). There u sees zeros for the image.
// A sample that is not guided needs the rows of its prompt only. All three have an entry a sample.
Guidance guide(const std::vector<Mixture>& mixtures, const std::vector<TextIds>& negatives,
               const std::vector<GuidanceScales>& scales);

// Whether each step is guided: step i of N is, if start <= i / N < stop (arXiv:2404.07724).
std::vector<bool> guided_steps(const std::array<double, 2>& interval, std::size_t steps);

}  // namespace trt_pipeline::internal
