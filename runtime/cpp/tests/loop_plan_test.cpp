#include "backends/loop_plan.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cstring>

#include "denoising.hpp"

using namespace trt_pipeline::internal;

namespace {

Tensor counted(Shape shape, float from = 0) {
  Tensor tensor(DType::float32, std::move(shape));
  for (float& number : tensor.as<float>()) number = from++;
  return tensor;
}

// Three steps of two samples; each tensor but the time embeddings takes one unit of alignment.
struct Example {
  Tensor latents = counted({2, 1, 2, 2}), context = counted({2, 3}), times = counted({3, 5}),
         coefficients = counted({3, 8}, 100), noise = counted({3, 2, 1, 2, 2}, 1000);

  LoopInputs inputs(bool draws_noise) const {
    LoopInputs all{latents, {{"context_kv", context}}, {times, times}, coefficients, std::nullopt};
    if (draws_noise) all.noise = noise;
    return all;
  }
};

std::vector<float> floats(const std::vector<std::byte>& bytes, std::size_t at, std::size_t count) {
  std::vector<float> numbers(count);
  std::memcpy(numbers.data(), bytes.data() + at, count * sizeof(float));
  return numbers;
}

// The denoiser's arithmetic on the CPU: x' = x·s + z + f + c, where the features f are the time of
// the step, or of the whole step before a cached one.
class HostGraph : public LoopGraph {
 public:
  explicit HostGraph(bool cached = false) : cached_(cached) {}

  std::function<void()> on_run = [] {};

  Tensors run(const TensorViews& inputs) override {
    on_run();
    const TensorView& x = inputs.at("latents");
    Tensor next(DType::float32, x.shape), features(DType::float32, {x.shape[0], 1});
    Shape shape = x.shape;
    shape.insert(shape.begin(), 3);
    const auto row = [&](const char* name, std::size_t sample, std::size_t length) {
      return static_cast<const float*>(inputs.at(name).data) + sample * length;
    };
    for (std::size_t i = 0; i < x.shape[0]; ++i) {
      const float seen = cached_ ? *row("features", i, 1) : *row("time_embeds", i, 5);
      features.as<float>()[i] = seen;
      const float *from = row("latents", i, 4), *z = row("noise", i, 4);
      for (std::size_t at = 0; at < 4; ++at) {
        next.as<float>()[i * 4 + at] = from[at] * 0.5f + seen + *row("coefficients", i, 8) + z[at];
      }
    }
    Tensors made = {{"next_latents", next}, {"next_history", Tensor(DType::float32, shape)}};
    if (!cached_) made.emplace("features", features);
    return made;
  }

  // All steps by the addresses of a plan in host memory.
  Tensor denoise(const LoopInputs& inputs, const OnObstacle&) override {
    const TensorView features(DType::float32, {inputs.latents.shape[0], 1}, nullptr);
    const LoopPlan plan(inputs, features);
    std::vector<std::byte> block(plan.size());
    std::ranges::copy(plan.pack_rows(inputs),
                      block.begin() + static_cast<std::ptrdiff_t>(plan.rows_offset()));
    std::memcpy(block.data() + plan.latents_offset(0), inputs.latents.data, inputs.latents.bytes());
    auto shapes = step_shapes(inputs);
    shapes["features"] = features.shape;
    for (std::size_t step = 0; step < plan.steps(); ++step) {
      const Offsets bound = plan.bindings(step);
      TensorViews views;
      for (const auto& [name, shape] : shapes) {
        views.emplace(name, TensorView(DType::float32, shape, block.data() + bound.at(name)));
      }
      Graph& graph = step % inputs.interval ? *inputs.cached : *this;
      for (const auto& [name, made] : graph.run(views)) {
        std::ranges::copy(made.bytes, block.begin() + static_cast<std::ptrdiff_t>(bound.at(name)));
      }
    }
    Tensor result(DType::float32, inputs.latents.shape);
    std::memcpy(result.bytes.data(), block.data() + plan.latents_offset(plan.steps()),
                result.bytes.size());
    return result;
  }

 private:
  bool cached_;
};

}  // namespace

TEST_CASE("each step is bound to its own row and to alternating states") {
  const LoopPlan plan(Example().inputs(true));
  CHECK(plan.bindings(0) == Offsets{{"context_kv", 0},
                                    {"time_embeds", 256},
                                    {"coefficients", 512},
                                    {"noise", 768},
                                    {"latents", 2560},
                                    {"history", 2816},
                                    {"next_latents", 3072},
                                    {"next_history", 3328}});
  CHECK(plan.bindings(1) == Offsets{{"context_kv", 0},
                                    {"time_embeds", 1024},
                                    {"coefficients", 1280},
                                    {"noise", 1536},
                                    {"latents", 3072},
                                    {"history", 3328},
                                    {"next_latents", 2560},
                                    {"next_history", 2816}});
  CHECK(plan.size() == 3584);
  CHECK(plan.latents_offset(3) == plan.bindings(2).at("next_latents"));
}

TEST_CASE("without noise of their own all steps share what the constants hold") {
  const LoopPlan plan(Example().inputs(false));
  CHECK(plan.bindings(0).at("noise") == 256);
  CHECK(plan.bindings(2).at("noise") == 256);
  CHECK(plan.rows_offset() == 512);
}

TEST_CASE("each denoiser row has its own time embedding") {
  const Example example;
  const Tensor others = counted({3, 5}, 50);
  LoopInputs inputs = example.inputs(true);
  inputs.time_embeds = {example.times, others, example.times};
  const LoopPlan plan(inputs);
  const auto rows = plan.pack_rows(inputs);
  const std::size_t second = plan.bindings(1).at("time_embeds") - plan.rows_offset();
  CHECK(floats(rows, second, 15) ==
        std::vector<float>{5, 6, 7, 8, 9, 55, 56, 57, 58, 59, 5, 6, 7, 8, 9});
  CHECK(step_shapes(inputs).at("time_embeds") == Shape{3, 5});
}

TEST_CASE("a packed row repeats its step's numbers for each sample") {
  const Example example;
  const LoopPlan plan(example.inputs(true));
  const auto rows = plan.pack_rows(example.inputs(true));
  const std::size_t second = plan.bindings(1).at("time_embeds") - plan.rows_offset();
  CHECK(floats(rows, second, 10) == std::vector<float>{5, 6, 7, 8, 9, 5, 6, 7, 8, 9});
  const std::size_t noise = plan.bindings(1).at("noise") - plan.rows_offset();
  CHECK(floats(rows, noise, 8) ==
        std::vector<float>{1008, 1009, 1010, 1011, 1012, 1013, 1014, 1015});
}

TEST_CASE("features lie behind the states, in every step at one place") {
  const TensorView features(DType::float16, {2, 5}, nullptr);
  const LoopPlan plan(Example().inputs(true), features);
  CHECK(plan.bindings(0).at("features") == 3584);
  CHECK(plan.bindings(1).at("features") == 3584);
  CHECK(plan.size() == 3840);
}

TEST_CASE("features have as many rows and as large a picture as the step's inputs") {
  const Example example;
  LoopInputs inputs = example.inputs(true);
  const std::vector<TensorSpec> given = {
      {"latents", DType::float32, {"batch", 1, "latent_height", "latent_width"}},
      {"context_kv", DType::float32, {"rows", 3}}};
  const Shape expected = {2, 7, 2, 2};
  GraphSpec denoiser;
  denoiser.inputs = given;
  CHECK(!features_of(denoiser, inputs));
  denoiser.outputs = {{"features", DType::float16, {"rows", 7, "latent_height", "latent_width"}}};
  CHECK(features_of(denoiser, inputs)->shape == expected);
  CHECK(features_of(denoiser, inputs)->bytes() == 2 * 7 * 4 * 2);
}

TEST_CASE("the whole denoiser runs in every n-th step, and where other rows begin") {
  std::string found;
  HostGraph whole, cached(true);
  whole.on_run = [&] { found += 'w'; };
  cached.on_run = [&] { found += 'c'; };
  const Tensor times = counted({9, 5});
  const auto part = [&] {
    const auto shared = std::make_shared<const Tensor>(times);
    return std::make_shared<const Part>(Part{0, 1, {}, {shared}});
  };
  const Parts guided = {part()}, unguided = {part()};
  std::vector<const Parts*> parts(9, &guided);
  std::fill(parts.begin() + 5, parts.end(), &unguided);
  const SamplerTable table(Doubles(9), Doubles(10), std::vector<Row>(9));
  SeedNoise noise(7);
  denoise({whole, &cached, 3}, counted({1, 1, 2, 2}), parts, table, noise, std::nullopt,
          {[](std::size_t, std::size_t) {}, {}});
  CHECK(found == "wccwcwccw");
}

TEST_CASE("all steps at once give the bits of a run per step, in parts and with noise") {
  for (const auto& [noisy_steps, interval] :
       {std::pair<std::size_t, std::size_t>{0, 1}, {3, 1}, {0, 2}, {3, 3}}) {
    const SamplerTable table({3, 2, 1}, {0.2, 0.4, 0.6, 1},
                             {{1, 0, 1, {}, 0}, {2, 0, 1, {}, 0}, {3, 0, 1, {}, 0}}, noisy_steps);
    const Tensor latents = counted({3, 1, 2, 2}), times = counted({3, 5});
    const auto shared = std::make_shared<const Tensor>(times);
    const Parts parts = {std::make_shared<const Part>(Part{0, 2, {}, {shared, shared}}),
                         std::make_shared<const Part>(Part{2, 1, {}, {shared}})};
    HostGraph graph, cached(true);
    const Denoisers denoisers{graph, interval > 1 ? &cached : nullptr, interval};
    SeedNoise noise(7), same(7);
    std::vector<std::size_t> heard, expected;
    const auto expect = [&](std::size_t step, std::size_t) { expected.push_back(step); };
    const auto hear = [&](std::size_t step, std::size_t) { heard.push_back(step); };
    const Tensor apart = denoise(denoisers, latents, {&parts, &parts, &parts}, table, noise,
                                 std::nullopt, {expect, {}});
    const Tensor at_once =
        denoise_at_once(denoisers, latents, parts, table, same, hear, [](const std::string&) {});
    CHECK(at_once.bytes == apart.bytes);
    CHECK(heard == expected);
  }
}
