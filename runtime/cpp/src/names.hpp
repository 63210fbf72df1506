// Names: what the files of a bundle may be called, so that they mean the same on every system.
#pragma once

#include <string>
#include <vector>

namespace trt_pipeline::internal {

inline constexpr const char* manifest_name = "bundle.json";
inline constexpr const char* signature_name = "bundle.json.sig";

// FormatError for a name that leads out of the bundle, cannot be printed, or is one of ours, and
// for two that some file system takes for one.
void check_names(const std::vector<std::string>& names);

}  // namespace trt_pipeline::internal
