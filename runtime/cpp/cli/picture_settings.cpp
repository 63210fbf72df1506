#include "picture_settings.hpp"

#include <cmath>

namespace trt_pipeline::cli {
namespace {

using nlohmann::ordered_json;

template <class T>
ordered_json null_or(bool given, const T& value) {
  return given ? ordered_json(value) : ordered_json(nullptr);
}

Settings completed(Settings settings, const PictureFacts& facts, const trt_pipeline_info& info) {
  settings.prompt = facts.prompt;
  settings.height = facts.height;
  settings.width = facts.width;
  if (settings.sampler.empty()) settings.sampler = info.sampler;
  if (!settings.num_inference_steps) settings.num_inference_steps = info.num_inference_steps;
  if (std::isnan(settings.guidance_scale)) settings.guidance_scale = info.guidance_scale;
  const bool is_own = settings.sampler == info.sampler;
  if (std::isnan(settings.eta)) settings.eta = is_own ? info.eta : 0;
  return settings;
}

}  // namespace

ordered_json settings_json(const Settings& given, const PictureFacts& facts,
                           const trt_pipeline_info& info) {
  const Settings settings = completed(given, facts, info);
  ordered_json json;
#define TRT_PIPELINE_TEXT(name, ...) \
  json[#name] = null_or(settings.name.has_value(), settings.name.value_or(""));
#define TRT_PIPELINE_SEED(name, ...) json[#name] = facts.name;
#define TRT_PIPELINE_INTEGER(name, ...) json[#name] = null_or(settings.name != 0, settings.name);
#define TRT_PIPELINE_REAL(name, ...) \
  json[#name] = null_or(!std::isnan(settings.name), settings.name);
#define TRT_PIPELINE_INTERVAL(name, ...) json[#name] = settings.name;
#define TRT_PIPELINE_PAIR(name, low, ...) \
  json[#name] = null_or(low == 0 || settings.name[0] || settings.name[1], settings.name);
#define TRT_PIPELINE_CHOICE(name, ...) json[#name] = null_or(!settings.name.empty(), settings.name);
#define TRT_PIPELINE_FILE(name, ...) \
  json[#name] = null_or(facts.name.has_value(), facts.name.value_or(""));
#include "trt_pipeline_settings.inc"
  json["model"] = info.model;
  return json;
}

}  // namespace trt_pipeline::cli
