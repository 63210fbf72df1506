// Whole pipelines over the public headers, on the backend that TRT_PIPELINE_BACKEND names.
#include <doctest/doctest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <thread>

#include "trt_pipeline.hpp"

using namespace trt_pipeline;

namespace {

std::string backend() {
  const char* name = std::getenv("TRT_PIPELINE_BACKEND");
  return name ? name : "";
}

const Pipeline& pipeline() {
  static const Pipeline opened(BUNDLE, {.backend = backend(), .threads = 2});
  return opened;
}

Settings quick(std::vector<std::uint64_t> seeds = {7}) {
  Settings settings;
  settings.num_inference_steps = 4;
  settings.guidance_scale = 3;
  settings.seeds = std::move(seeds);
  settings.height = settings.width = 32;
  return settings;
}

std::vector<std::uint8_t> bytes(const Pictures& pictures, std::size_t picture = 0) {
  const auto pixels = pictures.pixels(picture);
  return {pixels.begin(), pixels.end()};
}

int largest_difference(const std::vector<std::uint8_t>& a, const std::vector<std::uint8_t>& b) {
  REQUIRE(a.size() == b.size());
  int largest = 0;
  for (std::size_t i = 0; i < a.size(); ++i) largest = std::max(largest, std::abs(a[i] - b[i]));
  return largest;
}

trt_pipeline_status status_of(const Settings& settings,
                              const std::vector<Prompt>& prompts = {"a"}) {
  try {
    pipeline().generate(prompts, settings);
    return TRT_PIPELINE_OK;
  } catch (const Error& error) {
    CHECK(std::string(error.what()) != "");
    return error.status();
  }
}

}  // namespace

TEST_CASE("a prompt becomes a picture of the size asked for") {
  const Pictures pictures = pipeline().generate("a red circle", quick());
  CHECK(pictures.size() == 1);
  CHECK(pictures.pixels(0).size() == 32 * 32 * 3);
  CHECK(pictures.seeds()[0] == 7);
  CHECK(pictures.latents().empty());
}

TEST_CASE("the same seed gives the same picture") {
  CHECK(bytes(pipeline().generate("a red circle", quick())) ==
        bytes(pipeline().generate("a red circle", quick())));
}

TEST_CASE("a picture does not depend on what shares its batch") {
  const Pictures both =
      pipeline().generate({Prompt("a star"), Prompt("a red circle")}, quick({3, 7}));
  const auto alone = bytes(pipeline().generate("a red circle", quick()));
  CHECK(largest_difference(bytes(both, 1), alone) <= 1);  // batches sum in another order
}

TEST_CASE("token ids give the picture of their text") {
  const auto ids = pipeline().tokenize("a red circle");
  const Prompt prompt(std::vector<Text>{{"", 1.0, ids}});
  CHECK(bytes(pipeline().generate(prompt, quick())) ==
        bytes(pipeline().generate("a red circle", quick())));
}

TEST_CASE("a mixture of one text with itself is that text") {
  const Prompt mixture(std::vector<Text>{{"a red circle", 0.5}, {"a red circle", 0.5}});
  CHECK(largest_difference(bytes(pipeline().generate(mixture, quick())),
                           bytes(pipeline().generate("a red circle", quick()))) <= 1);
}

TEST_CASE("latents come out, and go in again as the starting noise") {
  Settings settings = quick();
  settings.output = TRT_PIPELINE_OUTPUT_LATENTS;
  const Pictures pictures = pipeline().generate("a red circle", settings);
  const auto latents = pictures.latents();
  CHECK(latents.size() == pipeline().info().latent_channels * 16);
  settings.latents.assign(latents.begin(), latents.end());
  settings.output = TRT_PIPELINE_OUTPUT_PIXELS;
  CHECK(status_of(settings) == TRT_PIPELINE_OK);
  settings.latents.pop_back();
  CHECK(status_of(settings) == TRT_PIPELINE_INVALID_INPUT);
}

TEST_CASE("torch's noise names no seeds, and needs one or one a picture") {
  Settings settings = quick();
  settings.noise = TRT_PIPELINE_NOISE_TORCH;
  CHECK(pipeline().generate("a red circle", settings).seeds().empty());
  settings.seeds = {};
  CHECK(status_of(settings) == TRT_PIPELINE_INVALID_INPUT);
}

TEST_CASE("more pictures than the bundle allows at once are made in parts") {
  const std::size_t most = pipeline().info().batch_limits[1];
  Settings settings = quick({5});
  settings.num_inference_steps = 1;
  settings.num_images_per_prompt = static_cast<std::int32_t>(most + 1);
  const Pictures pictures = pipeline().generate("a star", settings);
  CHECK(pictures.size() == most + 1);
  settings.num_images_per_prompt = 1;
  settings.seeds = {5 + most};
  CHECK(largest_difference(bytes(pictures, most), bytes(pipeline().generate("a star", settings))) <=
        1);
}

TEST_CASE("progress counts the steps, and cancels") {
  std::vector<std::size_t> seen;
  Settings settings = quick();
  settings.progress = [&](std::size_t step, std::size_t steps) {
    CHECK(steps == 4);
    seen.push_back(step);
    return true;
  };
  CHECK(status_of(settings) == TRT_PIPELINE_OK);
  CHECK(seen == std::vector<std::size_t>{0, 1, 2, 3, 4});
  settings.progress = [](std::size_t step, std::size_t) { return step < 2; };
  CHECK(status_of(settings) == TRT_PIPELINE_CANCELLED);
  settings.progress = [](std::size_t, std::size_t) -> bool { throw std::logic_error("mine"); };
  CHECK_THROWS_AS(pipeline().generate("a", settings), std::logic_error);
  CHECK(status_of(quick()) == TRT_PIPELINE_OK);
}

namespace {

// 32 × 32 pixels of one grey, to begin with.
Settings from_grey(std::uint8_t grey, double strength) {
  Settings settings = quick();
  settings.num_inference_steps = 10;
  settings.height = settings.width = 0;
  settings.image.assign(32 * 32 * 3, grey);
  settings.image_height = settings.image_width = 32;
  settings.strength = strength;
  return settings;
}

double mean_distance(const std::vector<std::uint8_t>& pixels, int grey) {
  double sum = 0;
  for (std::uint8_t level : pixels) sum += std::abs(level - grey);
  return sum / static_cast<double>(pixels.size());
}

}  // namespace

TEST_CASE("little strength keeps more of the image, and takes its size") {
  const Pictures weak = pipeline().generate("a red circle", from_grey(64, 0.1));
  const Pictures strong = pipeline().generate("a red circle", from_grey(64, 1));
  CHECK(weak.height() == 32);
  CHECK(mean_distance(bytes(weak), 64) < mean_distance(bytes(strong), 64));
}

TEST_CASE("with an overlay known pixels stay exactly, and the others are painted again") {
  Settings settings = from_grey(64, 1);
  settings.overlay = "seamless";
  for (std::size_t i = 0; i < settings.image.size(); ++i) {
    settings.image[i] = static_cast<std::uint8_t>(i * 7);
  }
  settings.mask_image.assign(32 * 32, 0);
  std::fill_n(settings.mask_image.begin(), 16 * 32, std::uint8_t{255});
  const auto painted = bytes(pipeline().generate("a red circle", settings));
  const auto half = static_cast<std::ptrdiff_t>(painted.size() / 2);
  CHECK(std::equal(painted.begin() + half, painted.end(), settings.image.begin() + half));
  CHECK(!std::equal(painted.begin(), painted.begin() + half, settings.image.begin()));
}

TEST_CASE("a white mask at full strength leaves nothing of the image") {
  Settings dark = from_grey(0, 1), bright = from_grey(255, 1);
  for (Settings* one : {&dark, &bright}) one->mask_image.assign(32 * 32, 255);
  CHECK(bytes(pipeline().generate("a red circle", dark)) ==
        bytes(pipeline().generate("a red circle", bright)));
}

TEST_CASE("each picture may have its own image") {
  Settings settings = from_grey(0, 0.1);
  settings.image.resize(2 * settings.image.size(), 255);
  settings.seeds = {7, 7};
  const Pictures both = pipeline().generate({Prompt("a star"), Prompt("a star")}, settings);
  CHECK(mean_distance(bytes(both, 1), 0) > mean_distance(bytes(both, 0), 0) + 20);
}

TEST_CASE("images that do not fit are refused") {
  const auto message = [](auto change) {
    Settings settings = from_grey(64, 0.5);
    change(settings);
    try {
      pipeline().generate("a", settings);
      return std::string("was accepted");
    } catch (const Error& error) {
      return std::string(error.what());
    }
  };
  CHECK(message([](Settings& s) { s.image.clear(); }) == "strength is given without image.");
  CHECK(message([](Settings& s) {
          s.image.clear();
          s.strength = NAN;
          s.mask_image.assign(32 * 32, 255);
        }) == "mask_image is given without image.");
  CHECK(message([](Settings& s) { s.strength = 1.5; }) ==
        "strength must be a finite number from 0 to 1, got 1.5.");
  CHECK(message([](Settings& s) { s.strength = 0.05; }) ==
        "strength 0.05 of 10 steps leaves none; use more steps, or a strength of 0.1 or more.");
  CHECK(message([](Settings& s) { s.height = 64; }) ==
        "height is 64, but that of image is 32; this library does not resize.");
  CHECK(message([](Settings& s) { s.image.resize(s.image.size() * 2); }) ==
        "image has 2 entries for 1 picture; give one for all, or one a picture.");
  CHECK(message([](Settings& s) { s.image.pop_back(); }) ==
        "image has 3071 bytes, expected a multiple of 3072.");
  CHECK(message([](Settings& s) { s.latents.assign(4, 0); }) ==
        "latents and image both say what to begin with; give one.");
  CHECK(message([](Settings& s) { s.vae_tile_size = 100; }) ==
        "vae_tile_size must be a multiple of 8 from 64, got 100.");
}

TEST_CASE("tiles larger than the picture change nothing, smaller ones little") {
  Settings settings = quick();
  settings.height = settings.width = 96;
  const auto whole = bytes(pipeline().generate("a red circle", settings));
  settings.vae_tile_size = 96;
  CHECK(bytes(pipeline().generate("a red circle", settings)) == whole);
  settings.vae_tile_size = 64;
  const auto tiled = bytes(pipeline().generate("a red circle", settings));
  double sum = 0;
  for (std::size_t i = 0; i < tiled.size(); ++i) sum += std::abs(tiled[i] - whole[i]);
  CHECK(sum / static_cast<double>(tiled.size()) < 10);
}

TEST_CASE("steps tell their latents and previews, and may change the latents") {
  std::vector<std::size_t> seen;
  Settings settings = quick();
  settings.callback_on_step_end = [&](const trt_pipeline_step& step) {
    CHECK(step.steps == 4);
    CHECK(step.latent_height == 4);
    const trt_pipeline_preview preview = preview_of(step);
    CHECK(preview.pixels != nullptr);
    CHECK(preview.height == 4);
    CHECK(preview.width == 4);
    seen.push_back(step.index);
    return true;
  };
  const auto unchanged = bytes(pipeline().generate("a red circle", settings));
  CHECK(seen == std::vector<std::size_t>{0, 1, 2, 3});
  CHECK(unchanged == bytes(pipeline().generate("a red circle", quick())));
  settings.callback_on_step_end = [](const trt_pipeline_step& step) {
    std::fill_n(step.latents, 4 * 4 * 4, 0.0f);
    return true;
  };
  CHECK(bytes(pipeline().generate("a red circle", settings)) != unchanged);
  settings.callback_on_step_end = [](const trt_pipeline_step& step) {
    step.latents[0] = NAN;
    return true;
  };
  CHECK(status_of(settings) == TRT_PIPELINE_INVALID_INPUT);
  settings.callback_on_step_end = [](const trt_pipeline_step& step) { return step.index < 1; };
  CHECK(status_of(settings) == TRT_PIPELINE_CANCELLED);
  settings.callback_on_step_end = [](const trt_pipeline_step&) -> bool { throw 5; };
  CHECK_THROWS_AS(pipeline().generate("a", settings), int);
}

TEST_CASE("one pipeline serves several threads") {
  const auto expected = bytes(pipeline().generate("a red circle", quick()));
  const auto other = bytes(pipeline().generate("a star", quick({9})));
  std::vector<int> right(4);
  {
    std::vector<std::jthread> threads;
    for (std::size_t i = 0; i < right.size(); ++i) {
      threads.emplace_back([&, i] {
        for (int round = 0; round < 3; ++round) {
          const bool first = (i + static_cast<std::size_t>(round)) % 2;
          const Pictures made = first ? pipeline().generate("a red circle", quick())
                                      : pipeline().generate("a star", quick({9}));
          right[i] += bytes(made) == (first ? expected : other);
          // A failure's message belongs to its own thread.
          Settings wrong = quick();
          wrong.num_inference_steps = -1 - static_cast<int>(i);
          try {
            pipeline().generate("a", wrong);
          } catch (const Error& error) {
            const std::string end = "got " + std::to_string(wrong.num_inference_steps) + ".";
            right[i] += std::string(error.what()).ends_with(end);
          }
        }
      });
    }
  }
  CHECK(right == std::vector<int>(4, 6));
}

TEST_CASE("a process that forked runs a pipeline or refuses it, and does not hang") {
  pipeline().generate("a red circle", quick());
  const pid_t child = fork();
  if (child == 0) {
    alarm(60);
    int status = 0;
    try {
      pipeline().generate("a red circle", quick());
    } catch (const Error& error) {
      const bool forked = std::string(error.what()).find("forked after") != std::string::npos;
      status = error.status() == TRT_PIPELINE_BACKEND_ERROR && forked ? 0 : 1;
    }
    _exit(status);
  }
  int status = -1;
  REQUIRE(waitpid(child, &status, 0) == child);
  CHECK(status == 0);
}

TEST_CASE("pictures outlive their pipeline") {
  auto short_lived = std::make_unique<Pipeline>(BUNDLE, Options{.backend = backend()});
  const Pictures pictures = short_lived->generate("a red circle", quick());
  short_lived.reset();
  CHECK(bytes(pictures) == bytes(pipeline().generate("a red circle", quick())));
}

TEST_CASE("settings are checked without making pictures") {
  Settings settings = quick();
  CHECK_NOTHROW(pipeline().check_settings({"a"}, settings));
  settings.eta = 2;
  CHECK_THROWS_WITH_AS(pipeline().check_settings({"a"}, settings), doctest::Contains("eta must be"),
                       Error);
  settings = quick();
  settings.latents = {1, 2, 3};
  CHECK_THROWS_WITH_AS(pipeline().check_settings({"a"}, settings),
                       doctest::Contains("latents hold 3 numbers"), Error);
}

TEST_CASE("prompts and weights have the bounds that Python has") {
  const Prompt heavy(std::vector<Text>{{"a", 2e6}, {"b", 1 - 2e6}});
  CHECK(status_of(quick(), {heavy}) == TRT_PIPELINE_INVALID_INPUT);
  std::string accents;
  for (int i = 0; i < 1 << 17; ++i) accents += "\u00e9";
  CHECK_NOTHROW(pipeline().check_settings({accents}, quick()));
  CHECK(status_of(quick(), {accents + "e"}) == TRT_PIPELINE_INVALID_INPUT);
}

TEST_CASE("there are no pixels of latents, and none beyond the last picture") {
  Settings settings = quick();
  CHECK_THROWS_AS(pipeline().generate("a", settings).pixels(1), std::out_of_range);
  settings.output = TRT_PIPELINE_OUTPUT_LATENTS;
  CHECK(pipeline().generate("a", settings).pixels(0).empty());
}

TEST_CASE("a number of steps that is not given is the model's own") {
  Settings settings = quick();
  settings.num_inference_steps = 0;
  std::size_t made = 0;
  settings.progress = [&](std::size_t, std::size_t steps) {
    made = steps;
    return false;
  };
  CHECK(status_of(settings) == TRT_PIPELINE_CANCELLED);
  CHECK(made == static_cast<std::size_t>(pipeline().info().num_inference_steps));
}

TEST_CASE("a scale of 1 takes cached steps as alone, whatever shares its batch") {
  Settings settings = quick({3, 7});
  settings.num_inference_steps = 7;
  settings.cache_interval = 3;
  settings.guidance_interval = {0, 0.6};
  settings.guidance_scales = {4, 1};
  const Pictures both = pipeline().generate({Prompt("a star"), Prompt("a red circle")}, settings);
  settings.guidance_scales = {1};
  settings.seeds = {7};
  const auto alone = bytes(pipeline().generate("a red circle", settings));
  CHECK(largest_difference(bytes(both, 1), alone) <= 1);
}

TEST_CASE("the prompt may be a setting like others, but not twice") {
  Settings settings = quick();
  settings.prompt = "a red circle";
  CHECK(bytes(pipeline().generate(settings)) ==
        bytes(pipeline().generate("a red circle", quick())));
  CHECK(status_of(settings) == TRT_PIPELINE_INVALID_INPUT);
}

TEST_CASE("settings outside what is allowed are refused") {
  const auto refused = [](auto change) {
    Settings settings = quick();
    change(settings);
    return status_of(settings) == TRT_PIPELINE_INVALID_INPUT;
  };
  CHECK(refused([](Settings& s) { s.height = 33; }));
  CHECK(refused([](Settings& s) { s.width = 1 << 20; }));
  CHECK(refused([](Settings& s) { s.num_inference_steps = -1; }));
  CHECK(refused([](Settings& s) { s.num_inference_steps = 100000; }));
  CHECK(refused([](Settings& s) { s.guidance_scale = INFINITY; }));
  CHECK(refused([](Settings& s) { s.guidance_scales = {1, 2}; }));
  CHECK(refused([](Settings& s) { s.guidance_interval = {0.9, 0.1}; }));
  CHECK(refused([](Settings& s) { s.eta = 2; }));
  CHECK(refused([](Settings& s) { s.cache_interval = 0; }));
  CHECK(refused([](Settings& s) { s.cache_interval = 1001; }));
  CHECK(refused([](Settings& s) { s.sampler = "heun"; }));
  CHECK(refused([](Settings& s) { s.schedule = "linear"; }));
  CHECK(refused([](Settings& s) { s.timestep_spacing = "cubic"; }));
  CHECK(refused([](Settings& s) { s.num_images_per_prompt = 0; }));
  CHECK(refused([](Settings& s) { s.seeds = {1, 2}; }));
  CHECK(refused([](Settings& s) { s.negative_prompt = "\xff"; }));
  CHECK(status_of(quick(), {}) == TRT_PIPELINE_INVALID_INPUT);
  CHECK(status_of(quick(), {Prompt(std::vector<Text>{{"a", 0.5}})}) == TRT_PIPELINE_INVALID_INPUT);
  CHECK(status_of(quick(), {Prompt(std::vector<Text>{})}) == TRT_PIPELINE_INVALID_INPUT);
}

TEST_CASE("an unknown backend is refused") {
  CHECK_THROWS_AS(Pipeline(BUNDLE, {.backend = "abacus"}), Error);
  CHECK_THROWS_AS(Pipeline(BUNDLE, {.threads = 5000}), Error);
}

TEST_CASE("an unsigned bundle is refused where keys are trusted, and no keys are a mistake") {
  const std::string key =
      "-----BEGIN PUBLIC KEY-----\n"
      "MCowBQYDK2VwAyEAiojj3XQJ8ZX9UtstPLpdcspnCb8dlBIb83SIAbQPb1w=\n"
      "-----END PUBLIC KEY-----\n";
  const auto status = [](std::vector<std::string> keys) {
    try {
      const Pipeline pipe(BUNDLE, {.backend = backend(), .trusted_keys = std::move(keys)});
      return TRT_PIPELINE_OK;
    } catch (const Error& error) {
      return error.status();
    }
  };
  CHECK(status({key}) == TRT_PIPELINE_INTEGRITY_ERROR);
  CHECK(status({}) == TRT_PIPELINE_INVALID_INPUT);
}

TEST_CASE("the log hears of the backend and of a cut-off prompt") {
  std::vector<std::string> warnings, notes;
  Options options{.backend = backend()};
  options.log = [&](trt_pipeline_log_level level, const char* message) {
    (level == TRT_PIPELINE_WARNING ? warnings : notes).push_back(message);
  };
  const Pipeline pipe(BUNDLE, options);
  CHECK(notes.size() == 1);
  std::string text;
  for (int i = 0; i < 100; ++i) text += "a ";
  pipe.tokenize(text);
  CHECK(warnings.size() == 1);
}
