#include "pipeline.hpp"

#include <algorithm>
#include <cmath>

#include "arguments.hpp"
#include "errors.hpp"
#include "samplers/samplers.hpp"
#include "super_resolution.hpp"
#include "tiling.hpp"

namespace trt_pipeline::internal {
namespace {

// Keys and values of the prompts used last; 7.7 MB each for ldm-text2im-large-256 in float32.
constexpr std::size_t text_cache_bytes = 256u << 20;
// Time projections of the schedules used last; 4 MB for 50 steps of the same model.
constexpr std::size_t time_cache_bytes = 128u << 20;

std::size_t pixels(const std::string& name, std::int32_t value, std::int64_t native,
                   const Range& limits, std::int64_t factor) {
  const std::int64_t chosen = value ? value : native;
  if (value && (value % factor || value < limits[0] || value > limits[1])) {
    throw InvalidInputError(concat(name, " must be a multiple of ", factor, " from ", limits[0],
                                   " to ", limits[1], ", got ", value, "."));
  }
  return static_cast<std::size_t>(chosen);
}

struct Source {
  std::unique_ptr<NoiseStream> stream;
  std::vector<std::uint64_t> seeds;
};

template <class Stream>
std::unique_ptr<NoiseStream> per_sample(const std::vector<std::uint64_t>& seeds) {
  std::vector<std::unique_ptr<NoiseStream>> streams;
  for (std::uint64_t seed : seeds) streams.push_back(std::make_unique<Stream>(seed));
  return std::make_unique<PerSample>(std::move(streams));
}

Source noise_of(const Request& request) {
  const std::size_t batch = request.count;
  if (!request.torch_noise) {
    auto seeds = image_seeds(request.seeds, batch);
    return {per_sample<SeedNoise>(seeds), std::move(seeds)};
  }
  if (request.seeds.size() == 1) return {std::make_unique<TorchGenerator>(request.seeds[0]), {}};
  if (request.seeds.size() != batch) {
    throw InvalidInputError(concat("seeds has ", request.seeds.size(), " entries for ", batch,
                                   " images; torch's noise needs one, or one a picture."));
  }
  return {per_sample<TorchGenerator>(request.seeds), {}};
}

// The one output of a graph that is asked for; 0 in `expected` is any size.
std::shared_ptr<const Tensor> run(Graph& graph, const TensorViews& inputs, const std::string& name,
                                  const Shape& expected) {
  Tensors outputs = graph.run(inputs);
  const auto found = outputs.find(name);
  const auto fits = [](std::size_t size, std::size_t wanted) { return !wanted || size == wanted; };
  if (found == outputs.end() || !std::ranges::equal(found->second.shape, expected, fits)) {
    const std::string got = found == outputs.end() ? "none" : describe(found->second.shape);
    throw BackendError(concat("expected the output ", name, " of shape ", describe(expected),
                              " (0 is any size), got ", got, ". Export the checkpoint again."));
  }
  return std::make_shared<const Tensor>(std::move(found->second));
}

// The rows of tensors that differ in their first dimension only, one after another.
Tensor concatenated(const std::vector<std::shared_ptr<const Tensor>>& parts) {
  Shape shape = parts.at(0)->shape;
  shape[0] = 0;
  for (const auto& part : parts) shape[0] += part->shape[0];
  Tensor whole(parts[0]->dtype, shape);
  auto at = whole.bytes.begin();
  for (const auto& part : parts) at = std::ranges::copy(part->bytes, at).out;
  return whole;
}

// `count` of the rows of a tensor, from `start` on.
TensorView rows_of(const Tensor& whole, std::size_t start, std::size_t count) {
  Shape shape = whole.shape;
  const std::size_t row = whole.bytes.size() / shape[0];
  shape[0] = count;
  return {whole.dtype, shape, whole.bytes.data() + start * row};
}

// The tokenizer, if the bundle's kind of pipeline has one.
std::optional<Tokenizer> tokenizer_of(const Bundle& bundle) {
  if (kind_of(bundle) != Kind::text_to_image) return std::nullopt;
  const auto& spec = bundle.manifest.tokenizer;
  if (!spec) {
    throw BundleError(
        concat(bundle.path.string(), " has no tokenizer. Export the checkpoint again."));
  }
  return Tokenizer(bundle.file(spec->vocab), *spec);
}

constexpr std::int64_t most_characters = 1 << 17;  // of a prompt
constexpr std::int64_t most_interval = 1000;       // between two whole steps
constexpr std::size_t smallest_tile = 8;  // latents; a smaller one would show little but seams

// The side of the decoder's tiles in latents; 0 decodes at once.
std::size_t tile_of(std::int32_t vae_tile_size, std::size_t factor) {
  if (!vae_tile_size) return 0;
  const auto least = static_cast<std::int64_t>(smallest_tile * factor);
  const auto tile =
      static_cast<std::size_t>(checked_integer("vae_tile_size", vae_tile_size, least, 1 << 16));
  if (tile % factor) {
    throw InvalidInputError(
        concat("vae_tile_size must be a multiple of ", factor, ", got ", tile, "."));
  }
  return tile / factor;
}

// The starting noise of the caller.
Tensor given_latents(const Request& request, const Shape& shape) {
  Tensor latents(DType::float32, shape);
  const auto numbers = latents.as<float>();
  if (request.latents_count != numbers.size()) {
    throw InvalidInputError(concat("latents hold ", request.latents_count, " numbers, expected ",
                                   numbers.size(), " for the shape ", describe(shape), "."));
  }
  std::copy_n(request.latents, numbers.size(), numbers.begin());
  check_finite(latents);
  return latents;
}

}  // namespace

Pipeline::Pipeline(Bundle bundle, const std::string& backend, std::int32_t threads, Log log)
    : log_(std::move(log)),
      bundle_(std::move(bundle)),
      kind_(kind_of(bundle_)),
      tokenizer_(tokenizer_of(bundle_)),
      choice_(open_backend(bundle_, backend, threads)),
      // All now, while the hashes just checked still hold.
      text_encoder_(open_text_encoder()),
      time_embedding_(choice_.backend->open("time_embedding")),
      denoiser_(choice_.backend->open("denoiser")),
      decoder_(choice_.backend->open("decoder")),
      texts_(text_cache_bytes),
      times_(time_cache_bytes) {
  log_(TRT_PIPELINE_INFO, concat("backend ", choice_.backend->name(), " for ",
                                 bundle_.manifest.model.name, ": ", choice_.reason));
}

std::unique_ptr<Graph> Pipeline::open_text_encoder() const {
  return tokenizer_ ? choice_.backend->open("text_encoder") : nullptr;
}

Pipeline::Plan Pipeline::plan(const Request& request) const {
  if (request.image.pixels && request.latents) {
    throw InvalidInputError("latents and image both say what to begin with; give one.");
  }
  check_image(request.image, request.count);
  Shape shape = latents_shape(request);
  std::optional<Tensor> latents;
  if (request.latents) latents = given_latents(request, shape);
  const auto factor = static_cast<std::size_t>(bundle_.manifest.model.vae_scale_factor);
  tile_of(request.vae_tile_size, factor);
  checked_integer("cache_interval", request.cache_interval, 1, most_interval);
  SamplerTable table = sampler_table(
      request.sampler.empty() ? bundle_.manifest.schedule.sampler : request.sampler,
      choose_schedule(bundle_.manifest.schedule, request.schedule, request.timestep_spacing),
      request.num_inference_steps, request.eta,
      first_step(request.image, request.num_inference_steps));
  auto [noise, seeds] = noise_of(request);
  auto guided = guided_steps(request.guidance_interval, table.timesteps.size());
  return {std::move(shape),  std::move(table), std::move(guided),
          std::move(noise),  std::move(seeds), image_input(request.image, request.count),
          std::move(latents)};
}

Pictures Pipeline::generate(const Request& request) {
  auto [shape, table, guided, noise, seeds, image, given] = plan(request);
  const Denoisers graphs = denoisers(request);
  Parts inside, outside;
  const auto parts = parts_of_steps(request, shape, guided, inside, outside);
  auto [latents, known] =
      given ? Start{std::move(*given), std::nullopt} : start(request, shape, table, image, *noise);
  Tensor made =
      denoised(graphs, std::move(latents), parts, table, *noise, known, request.listeners);
  return {shape, request.decode ? pictures_of(request, made, image) : std::move(made),
          std::move(seeds)};
}

// At once where the denoiser can and nothing looks at the steps or differs between them.
Tensor Pipeline::denoised(const Denoisers& denoisers, Tensor latents,
                          const std::vector<const Parts*>& parts, const SamplerTable& table,
                          NoiseStream& noise, const std::optional<KnownLatents>& known,
                          const Listeners& listeners) {
  const auto times = time_embeds(table);
  const bool loops = dynamic_cast<LoopGraph*>(&denoisers.whole) != nullptr;
  const bool alike = std::ranges::count(parts, parts[0]) == std::ssize(parts);
  if (!loops || !alike || known || listeners.after) {
    return denoise(denoisers, std::move(latents), parts, table, *times, noise, known, listeners);
  }
  const auto log = [this](const std::string& reason) {
    log_(TRT_PIPELINE_INFO, concat("the loop is enqueued step by step: ", reason));
  };
  return denoise_at_once(denoisers, std::move(latents), *parts[0], table, *times, noise,
                         listeners.before, log);
}

Denoisers Pipeline::denoisers(const Request& request) {
  const auto interval = static_cast<std::size_t>(request.cache_interval);
  return {*denoiser_, interval > 1 ? &opened(cached_denoiser_) : nullptr, interval};
}

// For each step, what covers the batch; `inside` and `outside` the guided steps, they own it.
std::vector<const Parts*> Pipeline::parts_of_steps(const Request& request, const Shape& shape,
                                                   const std::vector<bool>& guided, Parts& inside,
                                                   Parts& outside) {
  inside = encode(request, shape, request.scales);
  if (std::ranges::find(guided, false) != guided.end()) {
    outside = encode(request, shape, std::vector<double>(request.scales.size(), 1.0));
  }
  std::vector<const Parts*> parts;
  for (const bool step : guided) parts.push_back(step ? &inside : &outside);
  return parts;
}

InputIds Pipeline::tokenize(const std::string& text, const std::string& name) const {
  const auto characters = std::ranges::count_if(text, [](char c) { return (c & 0xc0) != 0x80; });
  if (characters > most_characters) {
    throw InvalidInputError(concat(name, " has ", characters, " characters, expected at most ",
                                   most_characters, ". Shorten it."));
  }
  const auto warn = [this](const std::string& message) { log_(TRT_PIPELINE_WARNING, message); };
  return tokenizer_->encode(text, name, warn);
}

Shape Pipeline::latents_shape(const Request& request) const {
  const ModelSpec& model = bundle_.manifest.model;
  const Limits& limits = bundle_.manifest.limits;
  const std::int64_t factor = model.vae_scale_factor;
  const auto divisor = static_cast<std::size_t>(factor);
  const GivenImage& image = request.image;
  const auto side = [&](const char* name, std::int32_t asked, std::int32_t own, std::int64_t native,
                        const Range& range) {
    if (image.pixels && asked && asked != own) {
      throw InvalidInputError(concat(name, " is ", asked, ", but that of image is ", own,
                                     "; this library does not resize."));
    }
    return pixels(name, image.pixels ? own : asked, native, range, factor) / divisor;
  };
  return {request.count, static_cast<std::size_t>(model.latent_channels),
          side("height", request.height, image.height, model.height, limits.height),
          side("width", request.width, image.width, model.width, limits.width)};
}

// What the samples are denoised towards, in parts that the bundle allows: the text that each
// denoiser row sees, or the picture to enlarge.
Parts Pipeline::encode(const Request& request, const Shape& shape,
                       const std::vector<double>& scales) {
  const auto slice = [](const auto& all, std::size_t start, std::size_t count) {
    const auto begin = all.begin() + static_cast<std::ptrdiff_t>(start);
    return std::decay_t<decltype(all)>(begin, begin + static_cast<std::ptrdiff_t>(count));
  };
  Parts parts;
  for (std::size_t start = 0; start < request.count; start += most()) {
    const std::size_t count = std::min(most(), request.count - start);
    parts.push_back({start, count, {}});
    Tensors& constants = parts.back().constants;
    if (kind_ == Kind::super_resolution) {
      constants = {{"low_resolution", low_resolution(request.low_resolution, start, count)}};
    }
    if (!tokenizer_) {
      prepare(request, shape, count, 0);
      continue;
    }
    Guidance guidance = guide(slice(request.mixtures, start, count),
                              slice(request.negatives, start, count), slice(scales, start, count));
    prepare(request, shape, count, guidance.rows.shape[0]);
    constants = {{"text_kv", text_kv(guidance.texts)},
                 {"rows", std::move(guidance.rows)},
                 {"guidance", std::move(guidance.matrix)}};
  }
  return parts;
}

// Lets graphs be compiled for a part of the request while others are, or run.
void Pipeline::prepare(const Request& request, const Shape& shape, std::size_t batch,
                       std::size_t rows) {
  const Sizes sizes{
      {"batch", batch}, {"rows", rows}, {"latent_height", shape[2]}, {"latent_width", shape[3]}};
  denoiser_->prepare(sizes);
  if (request.decode && !request.vae_tile_size) decoder_->prepare(sizes);
}

// [M, K], encoded one by one so that a prompt's never depends on its company.
Tensor Pipeline::text_kv(const std::vector<InputIds>& texts) {
  std::vector<std::shared_ptr<const Tensor>> rows;
  for (const InputIds& ids : texts) {
    rows.push_back(texts_.get(ids, [&] {
      const TensorView input{DType::int32, {1, ids.size()}, ids.data()};
      return run(*text_encoder_, {{"input_ids", input}}, "text_kv", {1, 0});
    }));
  }
  return concatenated(rows);
}

// The latents that denoising begins with, and what it must not change.
Pipeline::Start Pipeline::start(const Request& request, const Shape& shape,
                                const SamplerTable& table, const std::optional<ImageInput>& image,
                                NoiseStream& noise) {
  Tensor drawn(DType::float32, shape);
  std::ranges::copy(noise.draw(shape[0], count_of(shape) / shape[0]), drawn.as<float>().begin());
  Tensor scaled = drawn;
  for (float& number : scaled.as<float>()) number *= table.initial_scale;
  if (!image) return {std::move(scaled), std::nullopt};
  const float level = table.alphas_cumprod[0];
  Tensor clean = encode_images(image->pixels);
  const bool painted = !image->repainted.empty();
  if (!painted || first_step(request.image, request.num_inference_steps) > 0)
    scaled = noised(clean, drawn, level);
  if (!painted) return {std::move(scaled), std::nullopt};
  const auto factor = static_cast<std::size_t>(bundle_.manifest.model.vae_scale_factor);
  KnownLatents known{std::move(clean), std::move(drawn), kept_latents(*image, factor)};
  known.restore(scaled, level);
  return {std::move(scaled), std::move(known)};
}

// Latents [B, C, h, w] of pictures [B, H, W, 3]: the mean of each one's distribution.
Tensor Pipeline::encode_images(const Tensor& pixels) {
  Graph& encoder = opened(encoder_);
  const ModelSpec& model = bundle_.manifest.model;
  const auto factor = static_cast<std::size_t>(model.vae_scale_factor);
  std::vector<std::shared_ptr<const Tensor>> parts;
  for (std::size_t start = 0; start < pixels.shape[0]; start += most()) {
    const std::size_t count = std::min(most(), pixels.shape[0] - start);
    const Shape latents = {count, static_cast<std::size_t>(model.latent_channels),
                           pixels.shape[1] / factor, pixels.shape[2] / factor};
    parts.push_back(
        run(encoder, {{"image", rows_of(pixels, start, count)}}, "latents_mean", latents));
  }
  return concatenated(parts);
}

// Its first use may be long after the bundle's hashes were checked.
Graph& Pipeline::opened(LaterGraph& later) {
  const std::lock_guard lock(later.mutex);
  if (!later.graph) {
    const GraphSpec& spec = bundle_.graph(later.name, choice_.backend->precision());
    const auto& files = bundle_.manifest.files;
    verify_files(bundle_.path,
                 {{spec.path, files.at(spec.path)}, {spec.weights, files.at(spec.weights)}}, true);
    later.graph = choice_.backend->open(later.name);
  }
  return *later.graph;
}

std::shared_ptr<const Tensor> Pipeline::time_embeds(const SamplerTable& table) {
  const auto& times = table.timesteps;
  return times_.get(times, [&] {
    const TensorView input{DType::float32, {times.size()}, times.data()};
    return run(*time_embedding_, {{"timesteps", input}}, "time_embeds", {times.size(), 0});
  });
}

Tensor Pipeline::pictures_of(const Request& request, const Tensor& latents,
                             const std::optional<ImageInput>& image) {
  const auto factor = static_cast<std::size_t>(bundle_.manifest.model.vae_scale_factor);
  Tensor pixels = decode(latents, tile_of(request.vae_tile_size, factor));
  return image && !image->repainted.empty() ? paste(pixels, *image) : pixels;
}

// tile: the side of tiles in latents; 0 decodes at once.
Tensor Pipeline::decode(const Tensor& latents, std::size_t tile) {
  const auto factor = static_cast<std::size_t>(bundle_.manifest.model.vae_scale_factor);
  const auto decode_view = [&](const TensorView& view) {
    const Shape image = {view.shape[0], view.shape[2] * factor, view.shape[3] * factor, 3};
    auto made = run(*decoder_, {{"latents", view}}, "image", image);
    if (made->dtype != DType::uint8) {
      throw BackendError("decoder: image is not uint8. Export the checkpoint again.");
    }
    return made;
  };
  std::vector<std::shared_ptr<const Tensor>> parts;
  for (std::size_t start = 0; start < latents.shape[0]; start += most()) {
    const TensorView view = rows_of(latents, start, std::min(most(), latents.shape[0] - start));
    if (!tile) {
      parts.push_back(decode_view(view));
      continue;
    }
    const auto decode_tile = [&](const Tensor& piece) { return *decode_view(piece); };
    parts.push_back(
        std::make_shared<const Tensor>(decode_in_tiles(decode_tile, copied(view), tile, factor)));
  }
  return concatenated(parts);
}

}  // namespace trt_pipeline::internal
