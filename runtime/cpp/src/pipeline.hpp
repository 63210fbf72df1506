// Prompts to pictures: tokenize, encode, denoise, decode. Also the pictures of models without
// prompts, which take small pictures to enlarge, or nothing.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "backends/backend.hpp"
#include "cache.hpp"
#include "denoising.hpp"
#include "guidance.hpp"
#include "image_input.hpp"
#include "kinds.hpp"
#include "tokenizer.hpp"

namespace trt_pipeline::internal {

using Log = std::function<void(trt_pipeline_log_level, const std::string&)>;

// One call's settings, read from the caller's struct; still unchecked against the bundle.
struct Request {
  std::size_t count = 1;               // B
  std::vector<Mixture> mixtures;       // one a picture; empty for models without prompts
  std::vector<InputIds> negatives;     // one a picture
  std::vector<double> scales;          // one a picture
  std::int32_t height = 0, width = 0;  // pixels; 0 is the model's own
  std::int64_t num_inference_steps = 50;
  std::array<double, 2> guidance_interval{0, 1};
  double eta = 0;
  std::string sampler;  // empty is the schedule's own
  std::string schedule = "published";
  std::string timestep_spacing;  // empty is the schedule's own
  bool torch_noise = false;
  std::vector<std::uint64_t> seeds;
  const float* latents = nullptr;
  std::size_t latents_count = 0;
  GivenImage image;                // what to begin with instead of noise
  GivenImage low_resolution;       // what to enlarge
  std::int32_t cache_interval = 1;
  std::int32_t vae_tile_size = 0;  // pixels; 0 decodes at once
  bool decode = true;
  Listeners listeners;
};

struct Pictures {
  Shape latents_shape;               // [B, C, h, w]
  Tensor result;                     // uint8 [B, H, W, 3], or the latents
  std::vector<std::uint64_t> seeds;  // empty if torch's generator gave the noise
};

// One may serve several threads.
class Pipeline {
 public:
  Pipeline(Bundle bundle, const std::string& backend, std::int32_t threads, Log log);

  Pictures generate(const Request& request);

  // InvalidInputError for what generate would refuse before it runs a graph.
  void check(const Request& request) const { plan(request); }

  const Bundle& bundle() const { return bundle_; }
  Kind kind() const { return kind_; }
  const Backend& backend() const { return *choice_.backend; }
  const std::string& reason() const { return choice_.reason; }
  // The token ids of a text; `name` is what errors call it.
  InputIds tokenize(const std::string& text, const std::string& name) const;
  // Null for models without prompts.
  const Tokenizer* tokenizer() const { return tokenizer_ ? &*tokenizer_ : nullptr; }

 private:
  struct Start {
    Tensor latents;
    std::optional<KnownLatents> known;
  };

  // What a request comes to, checked.
  struct Plan {
    Shape shape;  // of the latents
    SamplerTable table;
    std::vector<bool> guided;  // whether each step is
    std::unique_ptr<NoiseStream> noise;
    std::vector<std::uint64_t> seeds;
    std::optional<ImageInput> image;
    std::optional<Tensor> latents;  // of the caller, to begin with
  };

  // A graph that not every call needs, opened under its mutex when first used.
  struct LaterGraph {
    const char* name;
    std::unique_ptr<Graph> graph = nullptr;
    std::mutex mutex = {};
  };

  Plan plan(const Request& request) const;
  std::unique_ptr<Graph> open_text_encoder() const;
  Shape latents_shape(const Request& request) const;
  std::vector<const Parts*> parts_of_steps(const Request& request, const Shape& shape,
                                           const std::vector<bool>& guided, Parts& inside,
                                           Parts& outside);
  Parts encode(const Request& request, const Shape& shape, const std::vector<double>& scales);
  void prepare(const Request& request, const Shape& shape, std::size_t batch, std::size_t rows);
  Tensor text_kv(const std::vector<InputIds>& texts);
  Start start(const Request& request, const Shape& shape, const SamplerTable& table,
              const std::optional<ImageInput>& image, NoiseStream& noise);
  Tensor encode_images(const Tensor& pixels);
  Graph& opened(LaterGraph& later);
  Denoisers denoisers(const Request& request);
  std::shared_ptr<const Tensor> time_embeds(const SamplerTable& table);
  Tensor denoised(const Denoisers& denoisers, Tensor latents,
                  const std::vector<const Parts*>& parts, const SamplerTable& table,
                  NoiseStream& noise, const std::optional<KnownLatents>& known,
                  const Listeners& listeners);
  Tensor decode(const Tensor& latents, std::size_t tile);
  Tensor pictures_of(const Request& request, const Tensor& latents,
                     const std::optional<ImageInput>& image);
  std::size_t most() const { return static_cast<std::size_t>(bundle_.manifest.limits.batch[1]); }

  Log log_;
  const Bundle bundle_;
  const Kind kind_;
  const std::optional<Tokenizer> tokenizer_;
  const Choice choice_;
  const std::unique_ptr<Graph> text_encoder_, time_embedding_, denoiser_, decoder_;
  LaterGraph encoder_{"encoder"}, cached_denoiser_{"cached_denoiser"};
  TensorCache<InputIds> texts_;
  TensorCache<std::vector<float>> times_;
};

}  // namespace trt_pipeline::internal
