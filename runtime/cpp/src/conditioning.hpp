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

// What covers the batch in guided steps and in the others.
struct Conditions {
  Parts guided, unguided;
};

// Encodes prompts, pictures to enlarge, timesteps and embedded guidance scales. Safe to share
// between threads. The bundle and the backend outlive it.
class Conditioning {
 public:
  // Hears of each part before anything of it is encoded.
  using OnPart = std::function<void(std::size_t samples, std::size_t rows)>;

  Conditioning(const Bundle& bundle, Backend& backend);

  // Of a plan, in parts that the bundle allows.
  Conditions conditions(const Plan& plan, const OnPart& on_part);

 private:
  bool changes(const Plan& plan, std::size_t sample) const;
  std::shared_ptr<const Part> part(const Plan& plan, std::size_t start, std::size_t count,
                                   bool guided, const OnPart& on_part);
  Guidance guidance(const Plan& plan, std::size_t start, std::size_t count, bool guided) const;
  Tensor context_kv(const std::vector<InputIds>& texts);
  SharedTensor time_embeds(const std::vector<float>& timesteps, double scale);

  const Bundle& bundle_;
  const bool embeds_guidance_;
  const std::unique_ptr<Graph> text_encoder_, time_embedding_;  // the first may be null
  TensorCache<InputIds> contexts_;
  TensorCache<std::pair<std::vector<float>, double>> times_;
};

}  // namespace trt_pipeline::internal
