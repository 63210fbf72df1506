#include "settings.hpp"

#include <cmath>

#include "arguments.hpp"

namespace trt_pipeline::internal {
namespace {

// A pair of zeros means none where zero is no value.
bool is_left_out(const std::int32_t* pair, std::int64_t low) {
  return low > 0 && !pair[0] && !pair[1];
}

void check_integer(const char* name, std::int32_t value, std::int64_t low, std::int64_t high,
                   std::int32_t fallback) {
  const bool left_out = fallback == 0 && value == 0;
  if (!left_out) checked_integer(name, value, low, high);
}

void check_real(const char* name, double value, double low, double high, double fallback) {
  const bool left_out = std::isnan(fallback) && std::isnan(value);
  if (!left_out) checked_real(name, value, low, high);
}

void check_pair(const char* name, const std::int32_t* pair, std::int64_t low, std::int64_t high) {
  if (is_left_out(pair, low)) return;
  for (const std::int32_t one : {pair[0], pair[1]}) checked_integer(name, one, low, high);
}

std::string quoted_text(const char* text, const char* plain) {
  const bool left_out = !text || (plain && std::string(text) == plain);
  return left_out ? "" : brief(Json(text));
}

std::string quoted_number(double value, double plain) {
  return std::isnan(value) || value == plain ? "" : concat(value);
}

template <class Number>
std::string quoted_two(const Number* two, const Number* plain) {
  const bool left_out = two[0] == plain[0] && two[1] == plain[1];
  return left_out ? "" : concat("(", two[0], ", ", two[1], ")");
}

}  // namespace

trt_pipeline_settings default_settings() {
  trt_pipeline_settings settings{};
  settings.size = sizeof(settings);
  settings.num_images_per_prompt = 1;
#define TRT_PIPELINE_INTEGER(name, low, high, fallback, help) settings.name = fallback;
#define TRT_PIPELINE_REAL(name, low, high, fallback, help) settings.name = fallback;
#define TRT_PIPELINE_INTERVAL(name, low, high, start, stop, help) \
  settings.name[0] = start;                                       \
  settings.name[1] = stop;
#define TRT_PIPELINE_PAIR(name, low, high, first, second, help) \
  settings.name[0] = first;                                     \
  settings.name[1] = second;
#define TRT_PIPELINE_CHOICE(name, choices, fallback, help) settings.name = fallback;
#include "trt_pipeline_settings.inc"
  return settings;
}

void check_settings(const trt_pipeline_settings& settings) {
#define TRT_PIPELINE_INTEGER(name, low, high, fallback, help) \
  check_integer(#name, settings.name, low, high, fallback);
#define TRT_PIPELINE_REAL(name, low, high, fallback, help) \
  check_real(#name, settings.name, low, high, fallback);
#define TRT_PIPELINE_INTERVAL(name, low, high, start, stop, help) \
  check_interval(#name, settings.name[0], settings.name[1], low, high);
#define TRT_PIPELINE_PAIR(name, low, high, first, second, help) \
  check_pair(#name, settings.name, low, high);
#define TRT_PIPELINE_CHOICE(name, choices, fallback, help) \
  if (settings.name) check_choice(#name, settings.name, choices);
#include "trt_pipeline_settings.inc"
}

std::string quoted(const trt_pipeline_settings& settings, const std::string& name) {
  const trt_pipeline_settings plain = default_settings();
#define TRT_PIPELINE_TEXT(setting, fallback, help) \
  if (name == #setting) return quoted_text(settings.setting, fallback);
#define TRT_PIPELINE_INTEGER(setting, ...) \
  if (name == #setting) return quoted_number(settings.setting, plain.setting);
#define TRT_PIPELINE_REAL(setting, ...) \
  if (name == #setting) return quoted_number(settings.setting, plain.setting);
#define TRT_PIPELINE_INTERVAL(setting, ...) \
  if (name == #setting) return quoted_two(settings.setting, plain.setting);
#define TRT_PIPELINE_PAIR(setting, ...) \
  if (name == #setting) return quoted_two(settings.setting, plain.setting);
#define TRT_PIPELINE_CHOICE(setting, ...) \
  if (name == #setting) return quoted_text(settings.setting, plain.setting);
#define TRT_PIPELINE_FILE(setting, help) \
  if (name == #setting) return settings.setting ? "given" : "";
#include "trt_pipeline_settings.inc"
  return "";
}

trt_pipeline_settings completed(trt_pipeline_settings settings, const Defaults& defaults) {
#define TRT_PIPELINE_TEXT(name, fallback, help) \
  if (!settings.name) settings.name = fallback;
#define TRT_PIPELINE_CHOICE(name, choices, fallback, help) \
  if (!settings.name) settings.name = fallback;
#include "trt_pipeline_settings.inc"
  if (!settings.sampler) settings.sampler = defaults.sampler.c_str();
  if (!settings.num_inference_steps) {
    settings.num_inference_steps = static_cast<std::int32_t>(defaults.num_inference_steps);
  }
  if (std::isnan(settings.guidance_scale)) settings.guidance_scale = defaults.guidance_scale;
  const bool is_own = settings.sampler == defaults.sampler;
  if (std::isnan(settings.eta)) settings.eta = is_own ? defaults.eta : 0;
  if (!settings.image && !settings.height) {
    settings.height = static_cast<std::int32_t>(defaults.height);
  }
  if (!settings.image && !settings.width) {
    settings.width = static_cast<std::int32_t>(defaults.width);
  }
  return settings;
}

}  // namespace trt_pipeline::internal
