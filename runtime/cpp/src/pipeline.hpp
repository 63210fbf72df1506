// Prompts to pictures: tokenize, encode, denoise, decode.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "backends/backend.hpp"
#include "cache.hpp"
#include "denoising.hpp"
#include "guidance.hpp"
#include "tokenizer.hpp"

namespace trt_pipeline::internal {

using Log = std::function<void(trt_pipeline_log_level, const std::string&)>;

// One call's settings, read from the caller's struct; still unchecked against the bundle.
struct Request {
  std::vector<Mixture> mixtures;       // one a picture
  std::vector<InputIds> negatives;     // one a picture
  std::vector<double> scales;          // one a picture
  std::int32_t height = 0, width = 0;  // pixels; 0 is the model's own
  std::int64_t num_inference_steps = 50;
  std::array<double, 2> guidance_interval{0, 1};
  double eta = 0;
  std::string sampler;  // empty is the schedule's own
  std::string schedule = "published";
  bool torch_noise = false;
  std::vector<std::uint64_t> seeds;
  const float* latents = nullptr;
  std::size_t latents_count = 0;
  bool decode = true;
  OnStep on_step;
};

struct Pictures {
  Shape latents_shape;               // [B, C, h, w]
  Tensor result;                     // uint8 [B, H, W, 3], or the latents
  std::vector<std::uint64_t> seeds;  // empty if torch's generator gave the noise
};

// One may serve several threads.
class Pipeline {
 public:
  Pipeline(const std::filesystem::path& folder, trt_pipeline_verify verify,
           const std::string& backend, std::int32_t threads, Log log);

  Pictures generate(const Request& request);

  const Bundle& bundle() const { return bundle_; }
  const Backend& backend() const { return *choice_.backend; }
  const std::string& reason() const { return choice_.reason; }
  // The token ids of a text; `name` is what errors call it.
  InputIds tokenize(const std::string& text, const std::string& name) const;
  const Tokenizer& tokenizer() const { return tokenizer_; }

 private:
  Shape latents_shape(std::size_t count, std::int32_t height, std::int32_t width) const;
  Parts encode(const Request& request, const std::vector<double>& scales);
  Tensor text_kv(const std::vector<InputIds>& texts);
  Tensor start(const Request& request, const Shape& shape, const SamplerTable& table,
               NoiseStream& noise) const;
  std::shared_ptr<const Tensor> time_embeds(const SamplerTable& table);
  Tensor decode(const Tensor& latents);
  std::size_t most() const { return static_cast<std::size_t>(bundle_.manifest.limits.batch[1]); }

  Log log_;
  const Bundle bundle_;
  const Tokenizer tokenizer_;
  const Choice choice_;
  const std::unique_ptr<Graph> text_encoder_, time_embedding_, denoiser_, decoder_;
  TensorCache<InputIds> texts_;
  TensorCache<std::vector<float>> times_;
};

}  // namespace trt_pipeline::internal
