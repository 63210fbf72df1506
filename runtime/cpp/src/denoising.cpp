#include "denoising.hpp"

#include <algorithm>
#include <cmath>

#include "errors.hpp"

namespace trt_pipeline::internal {
namespace {

// A step's coefficients for each sample, [count, 8].
Tensor coefficients_of(const std::array<float, 8>& step, std::size_t count) {
  Tensor tensor(DType::float32, {count, step.size()});
  auto to = tensor.as<float>().begin();
  for (std::size_t i = 0; i < count; ++i) to = std::ranges::copy(step, to).out;
  return tensor;
}

// The time embeddings of a part's rows at a step, [M, E].
Tensor times_at(const Part& part, std::size_t step) {
  const Tensor& first = *part.time_embeds.at(0);
  Tensor times(first.dtype, {part.time_embeds.size(), first.shape[1]});
  const std::size_t bytes = first.bytes.size() / first.shape[0];
  std::byte* to = times.bytes.data();
  for (const auto& table : part.time_embeds) {
    to = std::copy_n(table->bytes.data() + step * bytes, bytes, to);
  }
  return times;
}

Shape with_layers(Shape shape, std::size_t layers) {
  shape.insert(shape.begin(), layers);
  return shape;
}

Shape shape_of(const Part& part, const Tensor& whole) {
  Shape shape = whole.shape;
  shape[shape.size() - 4] = part.count;
  return shape;
}

// Copies the samples of a part out of the whole batch [..., B, C, h, w], or back into it.
template <class From, class To>
void copy_samples(const Part& part, std::size_t batch, From from, To to, std::size_t layers,
                  std::size_t sample_bytes, bool into_whole) {
  for (std::size_t layer = 0; layer < layers; ++layer) {
    const std::size_t whole = (layer * batch + part.start) * sample_bytes;
    const std::size_t part_at = layer * part.count * sample_bytes;
    std::copy_n(from + (into_whole ? part_at : whole), part.count * sample_bytes,
                to + (into_whole ? whole : part_at));
  }
}

struct Batch {
  std::size_t size;
  std::size_t sample_bytes;

  Tensor samples(const Part& part, const Tensor& whole, std::size_t layers = 1) const {
    Tensor taken(DType::float32, shape_of(part, whole));
    copy_samples(part, size, whole.bytes.data(), taken.bytes.data(), layers, sample_bytes, false);
    return taken;
  }

  void put(const Part& part, const Tensor& made, Tensor& whole, std::size_t layers = 1) const {
    if (made.dtype != DType::float32 || made.shape != shape_of(part, whole)) {
      throw BackendError(concat("denoiser: gave ", name_of(made.dtype), " ", describe(made.shape),
                                ", expected float32 ", describe(shape_of(part, whole)),
                                ". Export the checkpoint again."));
    }
    copy_samples(part, size, made.bytes.data(), whole.bytes.data(), layers, sample_bytes, true);
  }
};

// Noise of every step [N, B, C, h, w], or nothing if the steps take none.
Tensor drawn_for_all(const SamplerTable& table, const Shape& latents, NoiseStream& noise) {
  if (!table.noisy_steps) return {};
  const std::size_t steps = table.coefficients.size(), count = count_of(latents);
  Tensor drawn(DType::float32, with_layers(latents, steps));
  for (std::size_t step = 0; step < table.noisy_steps; ++step) {
    std::ranges::copy(noise.draw(latents[0], count / latents[0]),
                      drawn.as<float>().begin() + static_cast<std::ptrdiff_t>(step * count));
  }
  return drawn;
}

// The rows that a part sees, since a step, and what the last whole step gave for them.
struct PartRows {
  const Part* part = nullptr;
  std::size_t since = 0;
  Tensor features = {};

  void enter(const Part& now, std::size_t step) {
    if (part != &now) since = step;
    part = &now;
  }
};

// Latents [B, C, h, w] on their way, with what the sampler remembers of them.
struct State {
  explicit State(Tensor start)
      : batch{start.shape[0], start.bytes.size() / start.shape[0]},
        latents(std::move(start)),
        history(DType::float32, with_layers(latents.shape, remembered)),
        drawn(DType::float32, latents.shape) {}

  void draw(NoiseStream& noise) {
    std::ranges::copy(noise.draw(batch.size, count_of(latents.shape) / batch.size),
                      drawn.as<float>().begin());
  }

  // Takes a part's samples through a step.
  void advance(const Denoisers& denoisers, PartRows& rows, const SamplerTable& table,
               std::size_t step) {
    const Part& part = *rows.part;
    const bool whole = (step - rows.since) % denoisers.interval == 0;
    const Tensor x = batch.samples(part, latents), z = batch.samples(part, drawn);
    const Tensor earlier = batch.samples(part, history, remembered);
    const Tensor times = times_at(part, step);
    const Tensor coefficients = coefficients_of(table.coefficients[step], part.count);
    TensorViews inputs = {{"latents", x},
                          {"history", earlier},
                          {"time_embeds", times},
                          {"coefficients", coefficients},
                          {"noise", z}};
    inputs.insert(part.constants.begin(), part.constants.end());
    if (!whole) inputs.emplace("features", rows.features);
    Tensors outputs = (whole ? denoisers.whole : *denoisers.cached).run(inputs);
    batch.put(part, outputs.at("next_latents"), latents);
    batch.put(part, outputs.at("next_history"), history, remembered);
    const auto made = outputs.find("features");
    if (made != outputs.end()) rows.features = std::move(made->second);
  }

  Batch batch;
  Tensor latents;  // before the next step
  Tensor history;  // [3, B, C, h, w]
  Tensor drawn;    // the noise drawn last; a step that draws none has no use for it
};

}  // namespace

void check_finite(const Tensor& latents) {
  if (!std::ranges::all_of(latents.as<float>(),
                           [](float number) { return std::isfinite(number); })) {
    throw InvalidInputError("latents hold NaN or infinite numbers, expected finite ones.");
  }
}

Tensor denoise(const Denoisers& denoisers, Tensor latents, const std::vector<const Parts*>& parts,
               const SamplerTable& table, NoiseStream& noise,
               const std::optional<KnownLatents>& known, const Listeners& listeners) {
  const std::size_t steps = table.coefficients.size();
  State state(std::move(latents));
  std::vector<PartRows> rows(parts.at(0)->size());
  for (std::size_t step = 0; step < steps; ++step) {
    listeners.before(step, steps);
    if (step < table.noisy_steps) state.draw(noise);
    for (std::size_t i = 0; i < rows.size(); ++i) {
      rows[i].enter(*(*parts[step])[i], step);
      state.advance(denoisers, rows[i], table, step);
    }
    // Clean after the last step, as diffusers has it, whatever noise the table leaves.
    const float alpha = step + 1 == steps ? 1 : table.alphas_cumprod[step + 1];
    if (known) known->restore(state.latents, alpha);
    if (listeners.after) listeners.after({step, steps, table.timesteps[step], state.latents});
  }
  listeners.before(steps, steps);
  return std::move(state.latents);
}

Tensor denoise_at_once(const Denoisers& denoisers, Tensor latents, const Parts& parts,
                       const SamplerTable& table, NoiseStream& noise, const OnStep& before,
                       const LoopGraph::OnObstacle& on_obstacle) {
  const std::size_t steps = table.coefficients.size();
  before(0, steps);
  const std::size_t sample = count_of(latents.shape) / latents.shape[0];
  const Batch batch{latents.shape[0], sample * sizeof(float)};
  const Tensor drawn = drawn_for_all(table, latents.shape, noise);
  const TensorView coefficients(DType::float32, {steps, 8}, table.coefficients.data());
  for (const auto& shared : parts) {
    const Part& part = *shared;
    const Tensor x = batch.samples(part, latents);
    LoopInputs inputs{x, {}, {}, coefficients, std::nullopt, denoisers.cached, denoisers.interval};
    for (const auto& times : part.time_embeds) inputs.time_embeds.emplace_back(*times);
    inputs.constants.insert(part.constants.begin(), part.constants.end());
    Tensor own_noise;
    if (table.noisy_steps) {
      own_noise = batch.samples(part, drawn, steps);
      inputs.noise = own_noise;
    }
    auto& loop = dynamic_cast<LoopGraph&>(denoisers.whole);
    batch.put(part, loop.denoise(inputs, on_obstacle), latents);
  }
  for (std::size_t step = 1; step <= steps; ++step) before(step, steps);
  return latents;
}

}  // namespace trt_pipeline::internal
