// JSON text that every reader understands alike.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

namespace trt_pipeline::internal {

// What JSON text says; std::exception for anything else, a byte order mark, deep nesting, and two
// entries of one name.
nlohmann::json strict_json(const std::string& text);

}  // namespace trt_pipeline::internal
