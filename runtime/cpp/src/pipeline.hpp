// Settings to pictures: check, encode, denoise, decode.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "conditioning.hpp"
#include "first_stage.hpp"
#include "plan.hpp"
#include "safety.hpp"
#include "start.hpp"

namespace trt_pipeline::internal {

using Log = std::function<void(trt_pipeline_log_level, const std::string&)>;

struct Pictures {
  Shape latents_shape;               // [B, C, h, w]
  Tensor result;                     // uint8 [B, H, W, 3], or the latents
  std::vector<std::uint64_t> seeds;  // empty if torch's generator gave the noise
  std::vector<std::uint8_t> unsafe;  // 1 for each that was made black; empty if nobody checked
};

// An open bundle of any kind: its graphs' inputs say what it can do. Safe to share between threads.
class Pipeline {
 public:
  // safety_checker: "bundle", or empty for none. InvalidInputError if the bundle has none.
  Pipeline(Bundle bundle, const std::string& backend, std::int32_t threads,
           const std::string& safety_checker, Log log);

  Pictures generate(const trt_pipeline_settings& settings);

  // InvalidInputError for what generate would refuse before it runs a graph.
  Plan check(const trt_pipeline_settings& settings) const;

  const Bundle& bundle() const { return bundle_; }
  const Backend& backend() const { return *choice_.backend; }
  const std::string& reason() const { return choice_.reason; }
  // Null for models without prompts.
  const Tokenizer* tokenizer() const { return tokenizers_.empty() ? nullptr : &tokenizers_[0]; }
  // The token ids of a text by the first tokenizer; InvalidInputError if the model takes none.
  InputIds tokenize(const std::string& text) const;

 private:
  // What the denoiser takes.
  struct Encoded {
    Start start;
    Conditions conditions;
  };

  Encoded encode(const Plan& plan);
  Tensor denoise(const Plan& plan, Encoded encoded);
  Pictures decode(Plan plan, Tensor latents);
  std::vector<std::uint8_t> check_safety(Tensor& pixels);
  void warn(const std::string& message) const { log_(TRT_PIPELINE_WARNING, message); }

  Log log_;
  const Bundle bundle_;
  const Tokenizers tokenizers_;
  const Choice choice_;
  // All opened with the pipeline, while the hashes just checked still hold.
  Conditioning conditioning_;
  const std::unique_ptr<Graph> denoiser_;
  LaterGraph cached_denoiser_;
  FirstStage first_stage_;
  std::optional<SafetyChecker> safety_checker_;
};

}  // namespace trt_pipeline::internal
