// Conditioning: what the denoiser's rows see besides the latents.
#pragma once

#include <functional>
#include <memory>
#include <utility>
#include <vector>

#include "cache.hpp"
#include "graph_outputs.hpp"
#include "plan.hpp"

namespace trt_pipeline::internal {

// Encodes prompts, pictures to enlarge, timesteps and embedded guidance scales. Safe to share
// between threads. The bundle and the backend outlive it.
class Conditioning {
 public:
  // Hears of each part before anything of it is encoded.
  using OnPart = std::function<void(std::size_t samples, std::size_t rows)>;

  Conditioning(const Bundle& bundle, Backend& backend);

  // What covers the batch, in parts that the bundle allows. guided: whether with the plan's
  // guidance scales; the pictures are unguided otherwise.
  Parts parts(const Plan& plan, bool guided, const OnPart& on_part);

 private:
  Guidance guidance(const Plan& plan, const Part& part, const std::vector<double>& scales) const;
  Tensor context_kv(const std::vector<InputIds>& texts);
  SharedTensor time_embeds(const std::vector<float>& timesteps, double scale);

  const Bundle& bundle_;
  const bool embeds_guidance_;
  const std::unique_ptr<Graph> text_encoder_, time_embedding_;  // the first may be null
  TensorCache<InputIds> contexts_;
  TensorCache<std::pair<std::vector<float>, double>> times_;
};

}  // namespace trt_pipeline::internal
