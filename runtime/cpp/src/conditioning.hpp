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

  // Of a plan, in parts that the bundle allows. condition: [B, Cc, h, w], if the denoiser sees one.
  Conditions conditions(const Plan& plan, const std::optional<Tensor>& condition,
                        const OnPart& on_part);

 private:
  // What joins the timesteps, where the model embeds it.
  struct TimeKey {
    std::vector<float> timesteps;
    double scale;  // of guidance
    TextIds text;
    TimeIds time_ids;

    bool operator==(const TimeKey&) const = default;
  };

  bool changes(const Plan& plan, std::size_t sample) const;
  std::shared_ptr<const Part> part(const Plan& plan, const std::optional<Tensor>& condition,
                                   std::size_t start, std::size_t count, bool guided,
                                   const OnPart& on_part);
  Guidance guidance(const Plan& plan, std::size_t start, std::size_t count, bool guided) const;
  SharedOutputs encoded(const TextIds& text);
  SharedTensor time_embeds(const TimeKey& key);

  const Bundle& bundle_;
  const GraphSpec* const text_spec_;  // null without prompts
  const bool embeds_guidance_, embeds_texts_, embeds_sizes_;
  const std::unique_ptr<Graph> text_encoder_, time_embedding_;  // the first may be null
  OutputCache<TextIds> texts_;
  OutputCache<TimeKey> times_;
};

}  // namespace trt_pipeline::internal
