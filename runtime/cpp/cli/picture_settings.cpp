#include "picture_settings.hpp"

#include <limits>

#include "decoding.hpp"
#include "errors.hpp"

namespace trt_pipeline::cli {
namespace {

using internal::Entry;
using internal::Object;
using nlohmann::json;
using nlohmann::ordered_json;

constexpr std::size_t shown_characters = 80;

std::uint64_t seed_of(const Entry& entry) {
  if (entry.value.is_number_unsigned()) return entry.value.get<std::uint64_t>();
  if (!entry.value.is_number_integer()) entry.refuse("an integer");
  throw internal::InvalidInputError(internal::concat("seed must be an integer from 0 to ",
                                                     std::numeric_limits<std::uint64_t>::max(),
                                                     ", got ", entry.value.dump(), "."));
}

std::int32_t integer_of(const Entry& entry) {
  const std::int64_t number = entry.integer();
  if (number != static_cast<std::int32_t>(number)) entry.refuse("an integer of 32 bits");
  return static_cast<std::int32_t>(number);
}

std::string text_of(const Entry& entry) {
  return entry.string();
}

double number_of(const Entry& entry) {
  return entry.number();
}

std::array<double, 2> interval_of(const Entry& entry) {
  const auto ends = entry.list_of(2);
  return {ends[0].number(), ends[1].number()};
}

// Reads an entry that may be missing.
template <class T>
void take(Object& object, const char* name, T (*read)(const Entry&), T& target) {
  if (object.has(name)) target = read(object[name]);
}

// The same for one that may be null as well.
template <class T>
void take(Object& object, const char* name, T (*read)(const Entry&), std::optional<T>& target) {
  if (!object.has(name)) return;
  const Entry entry = object[name];
  target = entry.is_null() ? std::nullopt : std::optional<T>(read(entry));
}

template <class T>
ordered_json null_or(const std::optional<T>& value) {
  return value ? ordered_json(*value) : ordered_json(nullptr);
}

}  // namespace

ordered_json to_json(const PictureSettings& settings) {
  return {{"prompt", settings.prompt},
          {"seed", settings.seed},
          {"num_inference_steps", settings.num_inference_steps},
          {"guidance_scale", settings.guidance_scale},
          {"eta", settings.eta},
          {"height", settings.height},
          {"width", settings.width},
          {"model", settings.model},
          {"negative_prompt", settings.negative_prompt},
          {"sampler", settings.sampler},
          {"schedule", settings.schedule},
          {"timestep_spacing", null_or(settings.timestep_spacing)},
          {"guidance_interval", settings.guidance_interval},
          {"image", null_or(settings.image)},
          {"mask_image", null_or(settings.mask_image)},
          {"strength", null_or(settings.strength)},
          {"vae_tile_size", null_or(settings.vae_tile_size)},
          {"cache_interval", settings.cache_interval}};
}

PictureSettings settings_of(const json& value) {
  Object object({value, "settings"});
  PictureSettings settings;
  settings.prompt = object["prompt"].string();
  settings.seed = seed_of(object["seed"]);
  settings.num_inference_steps = integer_of(object["num_inference_steps"]);
  settings.guidance_scale = object["guidance_scale"].number();
  settings.eta = object["eta"].number();
  settings.height = integer_of(object["height"]);
  settings.width = integer_of(object["width"]);
  settings.model = object["model"].string();
  take(object, "negative_prompt", text_of, settings.negative_prompt);
  take(object, "sampler", text_of, settings.sampler);
  take(object, "schedule", text_of, settings.schedule);
  take(object, "timestep_spacing", text_of, settings.timestep_spacing);
  take(object, "guidance_interval", interval_of, settings.guidance_interval);
  take(object, "image", text_of, settings.image);
  take(object, "mask_image", text_of, settings.mask_image);
  take(object, "strength", number_of, settings.strength);
  take(object, "vae_tile_size", integer_of, settings.vae_tile_size);
  take(object, "cache_interval", integer_of, settings.cache_interval);
  object.finish();
  return settings;
}

PictureSettings replaced(const PictureSettings& settings, const json& entries) {
  json object = to_json(settings);
  object.update(entries);
  return settings_of(object);
}

std::string shown(const json& value) {
  if (value.is_null()) return "None";
  std::string text = value.is_string() ? "'" + value.get<std::string>() + "'" : value.dump();
  if (value.is_array()) {
    text.front() = '(';
    text.back() = ')';
  }
  if (text.size() > shown_characters) text.resize(shown_characters);
  return text;
}

}  // namespace trt_pipeline::cli
