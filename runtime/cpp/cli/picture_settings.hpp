// Settings of a picture: everything that makes it again, as its file and prompt files say it.
#pragma once

#include <array>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

namespace trt_pipeline::cli {

// Longest JSON of settings that is written or read.
constexpr std::size_t max_settings_bytes = 1 << 20;

// Names, order and defaults are those of the Python package; an entry with a default may be
// missing.
struct PictureSettings {
  std::string prompt;
  std::uint64_t seed = 0;
  std::int32_t num_inference_steps = 0;
  double guidance_scale = 1.0;
  double eta = 0.0;
  std::int32_t height = 0, width = 0;  // pixels
  std::string model;                   // the bundle's model name
  std::string negative_prompt = {};
  std::string sampler = "ddim";
  std::string schedule = "published";
  std::optional<std::string> timestep_spacing = {};  // none is the bundle's own
  std::array<double, 2> guidance_interval{0.0, 1.0};
  std::optional<std::string> image = {}, mask_image = {};  // sha256 of the files
  std::optional<double> strength = {};
  std::optional<std::int32_t> vae_tile_size = {};  // pixels
  std::int32_t cache_interval = 1;
};

// Settings in the order of the Python package.
nlohmann::ordered_json to_json(const PictureSettings& settings);

// Settings of a JSON object; FormatError names the entry that is missing, unknown or of another
// type, InvalidInputError a seed out of range.
PictureSettings settings_of(const nlohmann::json& object);

// Settings with some entries replaced; errors as above.
PictureSettings replaced(const PictureSettings& settings, const nlohmann::json& entries);

// A value as messages quote it: as Python would, and cut short.
std::string shown(const nlohmann::json& value);

}  // namespace trt_pipeline::cli
