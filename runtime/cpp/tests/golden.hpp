// The golden files that the Python tests read as well.
#pragma once

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>

#include "tokenizer.hpp"

namespace trt_pipeline::internal {

// One of them.
nlohmann::json golden(const std::string& name);

// The tokenizer of a manifest with this entry, and with files in a folder.
TokenizerSpec golden_spec(const nlohmann::json& entry);
Tokenizer golden_tokenizer(const std::filesystem::path& folder, const nlohmann::json& entry);

// The distance between two numbers in steps of float32 at the larger one's size.
inline double float32_steps(double a, double b) {
  const float larger = static_cast<float>(std::max({std::abs(a), std::abs(b), 1e-30}));
  return std::abs(a - b) / (std::nextafter(larger, INFINITY) - larger);
}

}  // namespace trt_pipeline::internal
