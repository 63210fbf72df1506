#include "pipeline.hpp"

#include <algorithm>
#include <cmath>

#include "arguments.hpp"
#include "errors.hpp"
#include "samplers/samplers.hpp"

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
  const std::size_t batch = request.mixtures.size();
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

// BundleError unless the bundle is of the one kind of pipeline that this library runs.
Tokenizer tokenizer_of(const Bundle& bundle) {
  const std::string& kind = bundle.manifest.model.pipeline;
  if (kind != "LDMTextToImagePipeline" || !bundle.manifest.tokenizer) {
    throw BundleError(concat(bundle.path.string(), " is a bundle of ", kind,
                             "; this library runs LDMTextToImagePipeline with its tokenizer. "
                             "Use the Python package."));
  }
  return {bundle.file(bundle.manifest.tokenizer->vocab), *bundle.manifest.tokenizer};
}

}  // namespace

Pipeline::Pipeline(const std::filesystem::path& folder, trt_pipeline_verify verify,
                   const std::string& backend, std::int32_t threads, Log log)
    : log_(std::move(log)),
      bundle_(load_bundle(folder, verify)),
      tokenizer_(tokenizer_of(bundle_)),
      choice_(open_backend(bundle_, backend, threads)),
      // All now, while the hashes just checked still hold.
      text_encoder_(choice_.backend->open("text_encoder")),
      time_embedding_(choice_.backend->open("time_embedding")),
      denoiser_(choice_.backend->open("denoiser")),
      decoder_(choice_.backend->open("decoder")),
      texts_(text_cache_bytes),
      times_(time_cache_bytes) {
  log_(TRT_PIPELINE_INFO, concat("backend ", choice_.backend->name(), " for ",
                                 bundle_.manifest.model.name, ": ", choice_.reason));
}

Pictures Pipeline::generate(const Request& request) {
  const Shape shape = latents_shape(request.mixtures.size(), request.height, request.width);
  const SamplerTable table =
      sampler_table(request.sampler.empty() ? bundle_.manifest.schedule.sampler : request.sampler,
                    choose_schedule(bundle_.manifest.schedule, request.schedule),
                    request.num_inference_steps, request.eta);
  const auto guided = guided_steps(request.guidance_interval, table.timesteps.size());
  auto [noise, seeds] = noise_of(request);
  const bool always = std::ranges::find(guided, false) == guided.end();

  const Parts inside = encode(request, request.scales);
  const Parts outside =
      always ? Parts{} : encode(request, std::vector<double>(request.scales.size(), 1.0));
  std::vector<const Parts*> parts;
  for (const bool step : guided) parts.push_back(step ? &inside : &outside);
  Tensor latents = denoise(*denoiser_, start(request, shape, table, *noise), parts, table,
                           *time_embeds(table), *noise, request.on_step);
  return {shape, request.decode ? decode(latents) : std::move(latents), std::move(seeds)};
}

InputIds Pipeline::tokenize(const std::string& text, const std::string& name) const {
  const auto warn = [this](const std::string& message) { log_(TRT_PIPELINE_WARNING, message); };
  return tokenizer_.encode(text, name, warn);
}

Shape Pipeline::latents_shape(std::size_t count, std::int32_t height, std::int32_t width) const {
  const ModelSpec& model = bundle_.manifest.model;
  const Limits& limits = bundle_.manifest.limits;
  const std::int64_t factor = model.vae_scale_factor;
  const auto divisor = static_cast<std::size_t>(factor);
  return {count, static_cast<std::size_t>(model.latent_channels),
          pixels("height", height, model.height, limits.height, factor) / divisor,
          pixels("width", width, model.width, limits.width, factor) / divisor};
}

// Prompts to the text that each denoiser row sees, in parts that the bundle allows.
Parts Pipeline::encode(const Request& request, const std::vector<double>& scales) {
  const auto slice = [](const auto& all, std::size_t start, std::size_t count) {
    const auto begin = all.begin() + static_cast<std::ptrdiff_t>(start);
    return std::decay_t<decltype(all)>(begin, begin + static_cast<std::ptrdiff_t>(count));
  };
  Parts parts;
  for (std::size_t start = 0; start < scales.size(); start += most()) {
    const std::size_t count = std::min(most(), scales.size() - start);
    Guidance guidance = guide(slice(request.mixtures, start, count),
                              slice(request.negatives, start, count), slice(scales, start, count));
    parts.push_back({start, count, text_kv(guidance.texts), std::move(guidance)});
  }
  return parts;
}

// [M, 77, K], encoded one by one so that a prompt's never depends on its company.
Tensor Pipeline::text_kv(const std::vector<InputIds>& texts) {
  std::vector<std::shared_ptr<const Tensor>> rows;
  for (const InputIds& ids : texts) {
    rows.push_back(texts_.get(ids, [&] {
      const TensorView input{DType::int32, {1, ids.size()}, ids.data()};
      return run(*text_encoder_, {{"input_ids", input}}, "text_kv", {1, ids.size(), 0});
    }));
  }
  return concatenated(rows);
}

Tensor Pipeline::start(const Request& request, const Shape& shape, const SamplerTable& table,
                       NoiseStream& noise) const {
  Tensor latents(DType::float32, shape);
  const auto numbers = latents.as<float>();
  if (!request.latents) {
    const auto drawn = noise.draw(shape[0], count_of(shape) / shape[0]);
    std::ranges::transform(drawn, numbers.begin(),
                           [&](float z) { return z * table.initial_scale; });
    return latents;
  }
  if (request.latents_count != numbers.size()) {
    throw InvalidInputError(concat("latents hold ", request.latents_count, " numbers, expected ",
                                   numbers.size(), " for the shape ", describe(shape), "."));
  }
  std::copy_n(request.latents, numbers.size(), numbers.begin());
  if (!std::ranges::all_of(numbers, [](float number) { return std::isfinite(number); })) {
    throw InvalidInputError("latents hold NaN or infinite numbers, expected finite ones.");
  }
  return latents;
}

std::shared_ptr<const Tensor> Pipeline::time_embeds(const SamplerTable& table) {
  const auto& times = table.timesteps;
  return times_.get(times, [&] {
    const TensorView input{DType::float32, {times.size()}, times.data()};
    return run(*time_embedding_, {{"timesteps", input}}, "time_embeds", {times.size(), 0});
  });
}

Tensor Pipeline::decode(const Tensor& latents) {
  const std::size_t sample_bytes = latents.bytes.size() / latents.shape[0];
  const auto factor = static_cast<std::size_t>(bundle_.manifest.model.vae_scale_factor);
  std::vector<std::shared_ptr<const Tensor>> parts;
  for (std::size_t start = 0; start < latents.shape[0]; start += most()) {
    Shape shape = latents.shape;
    shape[0] = std::min(most(), latents.shape[0] - start);
    const TensorView view{DType::float32, shape, latents.bytes.data() + start * sample_bytes};
    const Shape image = {shape[0], shape[2] * factor, shape[3] * factor, 3};
    parts.push_back(run(*decoder_, {{"latents", view}}, "image", image));
    if (parts.back()->dtype != DType::uint8) {
      throw BackendError("decoder: image is not uint8. Export the checkpoint again.");
    }
  }
  return concatenated(parts);
}

}  // namespace trt_pipeline::internal
