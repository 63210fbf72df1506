// trt_pipeline.hpp: the C ABI of trt_pipeline.h with owners, exceptions and standard types.
//
//     trt_pipeline::Pipeline pipe("engines/shapes");
//     trt_pipeline::Settings settings;
//     settings.guidance_scale = 6;
//     settings.seeds = {0};
//     auto pictures = pipe.generate("a red circle", settings);
//     write(pictures.pixels(0), pictures.width(), pictures.height());
//
// Header-only, C++20. Threads as in trt_pipeline.h: one Pipeline may serve several threads.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "trt_pipeline.h"

namespace trt_pipeline {

// What a call of the library failed with.
class Error : public std::runtime_error {
 public:
  Error(trt_pipeline_status status, const std::string& message)
      : std::runtime_error(message), status_(status) {}
  trt_pipeline_status status() const noexcept { return status_; }

 private:
  trt_pipeline_status status_;
};

inline void check(trt_pipeline_status status) {
  if (status != TRT_PIPELINE_OK) throw Error(status, trt_pipeline_error_message());
}

// Of a step, within its callback; the pixels are valid until it returns.
inline trt_pipeline_preview preview_of(const trt_pipeline_step& step) {
  trt_pipeline_preview preview{};
  check(trt_pipeline_step_preview(&step, &preview));
  return preview;
}

struct Options {
  // Empty is the best that the library was built with.
  std::string backend = {};
  trt_pipeline_verify verify = TRT_PIPELINE_VERIFY_FULL;
  // 0 is every CPU that this process may use.
  std::int32_t threads = 0;
  // Called from the threads that use the pipeline, possibly several at once; must not throw.
  std::function<void(trt_pipeline_log_level, const char* message)> log = {};
  // PEM files with public Ed25519 keys, or their text: one of them must have signed the bundle.
  std::optional<std::vector<std::string>> trusted_keys = {};
  // "bundle": the bundle's makes pictures black that must not be shown. Empty is none.
  std::string safety_checker = {};
};

// Empty for NULL.
inline std::string text_or_empty(const char* text) {
  return text ? text : "";
}

// Names, meanings and defaults are those of trt_pipeline_settings. No text, an empty choice, 0 and
// NAN leave a setting of the table to the bundle, or mean none at all.
struct Settings {
  std::int32_t num_images_per_prompt = 1;
  // One a picture, instead of guidance_scale.
  std::vector<double> guidance_scales = {};
  // One a picture, instead of image_guidance_scale.
  std::vector<double> image_guidance_scales = {};
  trt_pipeline_noise noise = TRT_PIPELINE_NOISE_SEED;
  std::vector<std::uint64_t> seeds = {};
  std::vector<float> latents = {};
  // RGB [1 or B, image_height, image_width, 3], what to begin with instead of noise, to change or
  // to enlarge.
  std::vector<std::uint8_t> image = {};
  std::int32_t image_height = 0;
  std::int32_t image_width = 0;
  // [1 or B, image_height, image_width], 128 or more where the image is painted again.
  std::vector<std::uint8_t> mask_image = {};
  trt_pipeline_output output = TRT_PIPELINE_OUTPUT_PIXELS;
  // Returns false to cancel. An exception cancels as well, and leaves generate.
  std::function<bool(std::size_t step, std::size_t steps)> progress = {};
  // Hears of each finished step, and may ask for its preview; as progress otherwise.
  std::function<bool(const trt_pipeline_step&)> callback_on_step_end = {};

#define TRT_PIPELINE_TEXT(name, ...) std::optional<std::string> name = {};
#define TRT_PIPELINE_INTEGER(name, low, high, fallback, help) std::int32_t name = fallback;
#define TRT_PIPELINE_REAL(name, low, high, fallback, help) double name = fallback;
#define TRT_PIPELINE_INTERVAL(name, low, high, start, stop, help) \
  std::array<double, 2> name{start, stop};
#define TRT_PIPELINE_PAIR(name, low, high, first, second, help) \
  std::array<std::int32_t, 2> name{first, second};
#define TRT_PIPELINE_CHOICE(name, choices, fallback, help) \
  std::string name = text_or_empty(fallback);
#include "trt_pipeline_settings.inc"
};

// One text of a prompt; with input_ids, `text` is not read.
struct Text {
  std::string text;
  double weight = 1.0;
  std::vector<std::int32_t> input_ids = {};
};

// What one picture shows: a string, or texts whose weights sum to 1.
struct Prompt {
  Prompt(const char* text) : texts{{text}} {}                       // NOLINT: a string is a prompt
  Prompt(const std::string& text) : texts{{text}} {}                // NOLINT
  Prompt(std::vector<Text> mixture) : texts(std::move(mixture)) {}  // NOLINT

  std::vector<Text> texts;
};

// The pictures of one call; movable, and independent of the pipeline.
class Pictures {
 public:
  explicit Pictures(trt_pipeline_pictures* owned) : owned_(owned) {}

  std::size_t size() const { return owned_->count; }
  std::size_t height() const { return owned_->height; }
  std::size_t width() const { return owned_->width; }
  // RGB [H, W, 3] of one picture; empty if latents were asked for. std::out_of_range beyond size().
  std::span<const std::uint8_t> pixels(std::size_t picture) const {
    if (picture >= size()) throw std::out_of_range("there is no such picture");
    if (!owned_->pixels) return {};
    const std::size_t bytes = height() * width() * 3;
    return {owned_->pixels + picture * bytes, bytes};
  }
  // [B, C, h, w], or empty.
  std::span<const float> latents() const {
    const auto& p = *owned_;
    const std::size_t count = p.count * p.latent_channels * p.latent_height * p.latent_width;
    return {p.latents, p.latents ? count : 0};
  }
  // The seed of each picture, or empty.
  std::span<const std::uint64_t> seeds() const {
    return {owned_->seeds, owned_->seeds ? size() : 0};
  }
  // 1 for each picture that the safety checker made black; empty without one.
  std::span<const std::uint8_t> nsfw_content_detected() const {
    return {owned_->nsfw_content_detected, owned_->nsfw_content_detected ? size() : 0};
  }
  const trt_pipeline_pictures& get() const { return *owned_; }

 private:
  struct Free {
    void operator()(trt_pipeline_pictures* pictures) const { trt_pipeline_pictures_free(pictures); }
  };
  std::unique_ptr<trt_pipeline_pictures, Free> owned_;
};

// An open bundle.
class Pipeline {
 public:
  explicit Pipeline(const std::string& bundle, Options options = {})
      : options_(std::make_unique<Options>(std::move(options))) {
    trt_pipeline_options raw;
    trt_pipeline_options_default(&raw);
    raw.backend = options_->backend.empty() ? nullptr : options_->backend.c_str();
    if (!options_->safety_checker.empty()) raw.safety_checker = options_->safety_checker.c_str();
    raw.verify = options_->verify;
    raw.threads = options_->threads;
    if (options_->log) raw.log = &Pipeline::forward_log;
    raw.log_user_data = options_.get();
    std::vector<const char*> keys;
    if (options_->trusted_keys) {
      for (const std::string& key : *options_->trusted_keys) keys.push_back(key.c_str());
      raw.trusted_key_count = keys.size();
      keys.push_back(nullptr);  // so that no keys are a list as well
      raw.trusted_keys = keys.data();
    }
    trt_pipeline_handle* opened = nullptr;
    check(trt_pipeline_create(bundle.c_str(), &raw, &opened));
    owned_.reset(opened);
  }

  const trt_pipeline_info& info() const { return *trt_pipeline_get_info(owned_.get()); }

  std::vector<std::int32_t> tokenize(const std::string& text) const {
    std::vector<std::int32_t> ids(info().max_length);
    check(trt_pipeline_tokenize(owned_.get(), text.c_str(), ids.data(), ids.size()));
    return ids;
  }

  Pictures generate(const Prompt& prompt, const Settings& settings = {}) const {
    return generate(std::vector<Prompt>{prompt}, settings);
  }

  // With the prompt of the settings, or without one for models that take none.
  Pictures generate(const Settings& settings = {}) const {
    return generate(std::vector<Prompt>{}, settings);
  }

  Pictures generate(const std::vector<Prompt>& prompts, const Settings& settings = {}) const {
    const RawPrompts raw_prompts(prompts);
    Callbacks callbacks{settings, nullptr};
    trt_pipeline_settings raw = raw_settings(raw_prompts, settings);
    if (settings.progress) raw.progress = &Pipeline::forward_progress;
    if (settings.callback_on_step_end) raw.callback_on_step_end = &Pipeline::forward_step;
    raw.progress_user_data = raw.callback_user_data = &callbacks;
    trt_pipeline_pictures* made = nullptr;
    const trt_pipeline_status status = trt_pipeline_generate(owned_.get(), &raw, &made);
    if (callbacks.thrown) std::rethrow_exception(callbacks.thrown);
    check(status);
    return Pictures(made);
  }

  // Throws what generate would throw before it begins.
  void check_settings(const std::vector<Prompt>& prompts, const Settings& settings) const {
    const RawPrompts raw_prompts(prompts);
    const trt_pipeline_settings raw = raw_settings(raw_prompts, settings);
    check(trt_pipeline_check_settings(owned_.get(), &raw));
  }

 private:
  // Prompts as the C ABI takes them; points into what it was made of.
  struct RawPrompts {
    explicit RawPrompts(const std::vector<Prompt>& given) {
      for (const Prompt& prompt : given) {
        auto& raw = texts.emplace_back();
        for (const Text& text : prompt.texts) {
          const bool ids = !text.input_ids.empty();
          raw.push_back({ids ? nullptr : text.text.c_str(), ids ? text.input_ids.data() : nullptr,
                         text.input_ids.size(), text.weight});
        }
        prompts.push_back({raw.data(), raw.size()});
      }
    }

    std::vector<std::vector<trt_pipeline_text>> texts;
    std::vector<trt_pipeline_prompt> prompts;
  };
  struct Callbacks {
    const Settings& settings;
    std::exception_ptr thrown;

    // 0 goes on; an exception is kept, as none may pass through the library.
    template <class Call>
    int answer(Call call) {
      try {
        return call() ? 0 : 1;
      } catch (...) {
        thrown = std::current_exception();
        return 1;
      }
    }
  };
  struct Free {
    void operator()(trt_pipeline_handle* pipeline) const { trt_pipeline_free(pipeline); }
  };

  static trt_pipeline_settings raw_settings(const RawPrompts& prompts, const Settings& settings) {
    trt_pipeline_settings raw;
    trt_pipeline_settings_default(&raw);
    raw.prompts = prompts.prompts.empty() ? nullptr : prompts.prompts.data();
    raw.prompt_count = prompts.prompts.size();
    raw.num_images_per_prompt = settings.num_images_per_prompt;
    raw.guidance_scales = settings.guidance_scales.data();
    raw.guidance_scale_count = settings.guidance_scales.size();
    raw.image_guidance_scales = settings.image_guidance_scales.data();
    raw.image_guidance_scale_count = settings.image_guidance_scales.size();
    raw.noise = settings.noise;
    raw.seeds = settings.seeds.data();
    raw.seed_count = settings.seeds.size();
    raw.latents = settings.latents.empty() ? nullptr : settings.latents.data();
    raw.latents_count = settings.latents.size();
    raw.output = settings.output;
#define TRT_PIPELINE_TEXT(name, ...) raw.name = settings.name ? settings.name->c_str() : nullptr;
#define TRT_PIPELINE_INTEGER(name, ...) raw.name = settings.name;
#define TRT_PIPELINE_REAL(name, ...) raw.name = settings.name;
#define TRT_PIPELINE_INTERVAL(name, ...) std::copy_n(settings.name.begin(), 2, raw.name);
#define TRT_PIPELINE_PAIR(name, ...) std::copy_n(settings.name.begin(), 2, raw.name);
#define TRT_PIPELINE_CHOICE(name, ...) \
  raw.name = settings.name.empty() ? nullptr : settings.name.c_str();
#include "trt_pipeline_settings.inc"
    add_image(settings, raw);
    return raw;
  }

  static void forward_log(void* options, trt_pipeline_log_level level, const char* message) {
    static_cast<const Options*>(options)->log(level, message);
  }

  static int forward_progress(void* user_data, std::size_t step, std::size_t steps) {
    auto& callbacks = *static_cast<Callbacks*>(user_data);
    return callbacks.answer([&] { return callbacks.settings.progress(step, steps); });
  }

  static int forward_step(void* user_data, const trt_pipeline_step* step) {
    auto& callbacks = *static_cast<Callbacks*>(user_data);
    return callbacks.answer([&] { return callbacks.settings.callback_on_step_end(*step); });
  }

  // How many pictures of `size` bytes there are.
  static std::size_t count_of(const char* name, std::size_t bytes, std::size_t size) {
    if (size && bytes % size == 0) return bytes / size;
    throw Error(TRT_PIPELINE_INVALID_INPUT, std::string(name) + " has " + std::to_string(bytes) +
                                                " bytes, expected a multiple of " +
                                                std::to_string(size) + ".");
  }

  static void add_image(const Settings& settings, trt_pipeline_settings& raw) {
    raw.image_height = settings.image_height;
    raw.image_width = settings.image_width;
    const auto area = static_cast<std::size_t>(settings.image_height) *
                      static_cast<std::size_t>(settings.image_width);
    if (!settings.image.empty()) {
      raw.image = settings.image.data();
      raw.image_count = count_of("image", settings.image.size(), 3 * area);
    }
    if (!settings.mask_image.empty()) {
      raw.mask_image = settings.mask_image.data();
      if (raw.image) {
        raw.mask_image_count = count_of("mask_image", settings.mask_image.size(), area);
      }
    }
  }

  std::unique_ptr<Options> options_;  // the library holds its address
  std::unique_ptr<trt_pipeline_handle, Free> owned_;
};

}  // namespace trt_pipeline
