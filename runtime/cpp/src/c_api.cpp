// The C ABI over the library: reads the caller's structs, and turns errors into statuses.
#include <algorithm>
#include <cstring>
#include <memory>
#include <new>
#include <string>

#include "arguments.hpp"
#include "callbacks.hpp"
#include "errors.hpp"
#include "pipeline.hpp"
#include "settings.hpp"
#include "trt_pipeline.h"

namespace {

using namespace trt_pipeline::internal;

std::string& last_message() {
  thread_local std::string message;
  return message;
}

trt_pipeline_status failed(trt_pipeline_status status, const char* message) noexcept {
  try {
    last_message() = message;
  } catch (...) {
    return TRT_PIPELINE_OUT_OF_MEMORY;
  }
  return status;
}

// Runs what may throw, and returns its status.
template <class Function>
trt_pipeline_status guarded(Function function) noexcept {
  try {
    function();
    return TRT_PIPELINE_OK;
  } catch (const Error& error) {
    return failed(error.status, error.what());
  } catch (const std::bad_alloc&) {
    return failed(TRT_PIPELINE_OUT_OF_MEMORY, "out of memory. Ask for fewer or smaller pictures.");
  } catch (const std::exception& error) {
    return failed(TRT_PIPELINE_INTERNAL_ERROR, error.what());
  } catch (...) {
    return failed(TRT_PIPELINE_INTERNAL_ERROR, "an error without a message.");
  }
}

// The caller's struct in this library's size: what an older program does not know keeps its
// default. InvalidInputError if a newer program set something that this library does not know.
template <class Struct>
Struct adopted(const Struct* given, const Struct& defaults, const char* name) {
  Struct adopted = defaults;
  if (!given) return adopted;
  if (given->size < sizeof(std::size_t)) {
    throw InvalidInputError(concat(name, " has size ", given->size,
                                   ". Fill it in with trt_pipeline_", name, "_default."));
  }
  const auto* bytes = reinterpret_cast<const unsigned char*>(given);
  for (std::size_t i = sizeof(Struct); i < given->size; ++i) {
    if (bytes[i]) {
      throw InvalidInputError(concat(name, " set something that this library, version ",
                                     TRT_PIPELINE_VERSION,
                                     ", does not know. Install a newer one."));
    }
  }
  std::memcpy(&adopted, given, std::min(given->size, sizeof(Struct)));
  return adopted;
}

trt_pipeline_options default_options() {
  trt_pipeline_options options{};
  options.size = sizeof(options);
  return options;
}

// Writes the first `size` bytes of the defaults, and zeros where the caller knows more than this.
template <class Struct>
void write_defaults(Struct* target, std::size_t size, Struct defaults) {
  if (!target || size < sizeof(std::size_t)) return;
  defaults.size = size;
  std::memset(static_cast<void*>(target), 0, size);
  std::memcpy(static_cast<void*>(target), &defaults, std::min(size, sizeof(Struct)));
}

// What the caller gets, and what its pointers point into.
struct OwnedPictures : trt_pipeline_pictures {
  explicit OwnedPictures(Pictures made, std::size_t factor, bool decoded)
      : trt_pipeline_pictures{}, made(std::move(made)) {
    const Shape& shape = this->made.latents_shape;
    count = shape[0];
    latent_channels = shape[1];
    latent_height = shape[2];
    latent_width = shape[3];
    height = shape[2] * factor;
    width = shape[3] * factor;
    if (decoded) pixels = this->made.result.as<std::uint8_t>().data();
    if (!decoded) latents = this->made.result.as<float>().data();
    if (!this->made.seeds.empty()) seeds = this->made.seeds.data();
    if (!this->made.unsafe.empty()) nsfw_content_detected = this->made.unsafe.data();
  }

  Pictures made;
};

std::string text_or_empty(const char* text) {
  return text ? text : "";
}

Log log_of(const trt_pipeline_options& options) {
  if (!options.log) return [](trt_pipeline_log_level, const std::string&) {};
  return [log = options.log, user_data = options.log_user_data](trt_pipeline_log_level level,
                                                                const std::string& message) {
    log(user_data, level, message.c_str());
  };
}

// None if they were not given.
std::optional<TrustedKeys> trusted_keys_of(const trt_pipeline_options& options) {
  if (options.trusted_key_count) require(options.trusted_keys, "trusted_keys");
  if (!options.trusted_keys) return std::nullopt;
  TrustedKeys keys;
  for (std::size_t i = 0; i < options.trusted_key_count; ++i) {
    require(options.trusted_keys[i], "trusted_keys");
    keys.emplace_back(options.trusted_keys[i]);
  }
  return keys;
}

}  // namespace

// The strings that info points to are this struct's.
struct trt_pipeline_handle {
  trt_pipeline_handle(const char* folder, const trt_pipeline_options& options)
      : pipeline(load_bundle(folder, options.verify, trusted_keys_of(options)),
                 text_or_empty(options.backend), options.threads,
                 text_or_empty(options.safety_checker), log_of(options)),
        bundle(pipeline.bundle().path.string()),
        arithmetic(pipeline.backend().arithmetic()),
        backend(pipeline.backend().name()),
        device(pipeline.backend().device()) {
    const Manifest& manifest = pipeline.bundle().manifest;
    const auto size = [](std::int64_t number) { return static_cast<std::size_t>(number); };
    const auto copy = [&](const Range& range, std::size_t* target) {
      std::transform(range.begin(), range.end(), target, size);
    };
    info.model = manifest.model.name.c_str();
    info.bundle = bundle.c_str();
    info.weights = manifest.precision.c_str();
    info.arithmetic = arithmetic.c_str();
    info.backend = backend.c_str();
    info.reason = pipeline.reason().c_str();
    info.device = device.c_str();
    info.height = size(manifest.defaults.height);
    info.width = size(manifest.defaults.width);
    copy(manifest.limits.batch, info.batch_limits);
    copy(manifest.limits.height, info.height_limits);
    copy(manifest.limits.width, info.width_limits);
    info.vae_scale_factor = size(manifest.model.vae_scale_factor);
    info.latent_channels = size(manifest.model.latent_channels);
    info.sampler = manifest.defaults.sampler.c_str();
    info.num_inference_steps = static_cast<std::int32_t>(manifest.defaults.num_inference_steps);
    info.guidance_scale = manifest.defaults.guidance_scale;
    info.eta = manifest.defaults.eta;
    info.max_length = pipeline.tokenizer() ? pipeline.tokenizer()->max_length() : 0;
  }

  Pipeline pipeline;
  std::string bundle, arithmetic, backend, device;
  trt_pipeline_info info{};
};

extern "C" {

const char* trt_pipeline_version(void) {
  return TRT_PIPELINE_VERSION;
}

const char* trt_pipeline_backends(void) {
  return backend_names();
}

const char* trt_pipeline_error_message(void) {
  return last_message().c_str();
}

void trt_pipeline_options_default_sized(trt_pipeline_options* options, size_t size) {
  write_defaults(options, size, default_options());
}

void trt_pipeline_settings_default_sized(trt_pipeline_settings* settings, size_t size) {
  write_defaults(settings, size, default_settings());
}

trt_pipeline_status trt_pipeline_create(const char* bundle, const trt_pipeline_options* options,
                                        trt_pipeline_handle** pipeline) {
  return guarded([&] {
    require(pipeline, "pipeline");
    *pipeline = nullptr;
    require(bundle, "bundle");
    const auto chosen = adopted(options, default_options(), "options");
    checked_integer("verify", chosen.verify, TRT_PIPELINE_VERIFY_FULL, TRT_PIPELINE_VERIFY_NONE);
    *pipeline = new trt_pipeline_handle(bundle, chosen);
  });
}

const trt_pipeline_info* trt_pipeline_get_info(const trt_pipeline_handle* pipeline) {
  return pipeline ? &pipeline->info : nullptr;
}

trt_pipeline_status trt_pipeline_tokenize(const trt_pipeline_handle* pipeline, const char* text,
                                          int32_t* input_ids, size_t count) {
  return guarded([&] {
    require(pipeline, "pipeline");
    require(text, "text");
    require(input_ids, "input_ids");
    const InputIds ids = pipeline->pipeline.tokenize(text);
    if (count < ids.size()) {
      throw InvalidInputError(
          concat("input_ids has room for ", count, " ids, expected ", ids.size(), "."));
    }
    std::copy(ids.begin(), ids.end(), input_ids);
  });
}

trt_pipeline_status trt_pipeline_check_settings(trt_pipeline_handle* pipeline,
                                                const trt_pipeline_settings* settings) {
  return guarded([&] {
    require(pipeline, "pipeline");
    require(settings, "settings");
    pipeline->pipeline.check(adopted(settings, default_settings(), "settings"));
  });
}

trt_pipeline_status trt_pipeline_generate(trt_pipeline_handle* pipeline,
                                          const trt_pipeline_settings* settings,
                                          trt_pipeline_pictures** pictures) {
  return guarded([&] {
    require(pictures, "pictures");
    *pictures = nullptr;
    require(pipeline, "pipeline");
    require(settings, "settings");
    const auto asked = adopted(settings, default_settings(), "settings");
    const bool decoded = asked.output == TRT_PIPELINE_OUTPUT_PIXELS;
    *pictures = new OwnedPictures(pipeline->pipeline.generate(asked),
                                  pipeline->info.vae_scale_factor, decoded);
  });
}

trt_pipeline_status trt_pipeline_step_preview(const trt_pipeline_step* step,
                                              trt_pipeline_preview* preview) {
  return guarded([&] {
    require(step, "step");
    require(preview, "preview");
    const Tensor& made = static_cast<const ToldStep*>(step)->previewed();
    *preview = {made.as<std::uint8_t>().data(), made.shape[1], made.shape[2]};
  });
}

void trt_pipeline_pictures_free(trt_pipeline_pictures* pictures) {
  delete static_cast<OwnedPictures*>(pictures);
}

void trt_pipeline_free(trt_pipeline_handle* pipeline) {
  delete pipeline;
}

}  // extern "C"
