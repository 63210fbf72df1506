// Bundle: the folder that export writes, its manifest read and its files checked.
#pragma once

#include <filesystem>
#include <string>

#include "manifest.hpp"
#include "trt_pipeline.h"

namespace trt_pipeline::internal {

struct Bundle {
  std::filesystem::path path;
  Manifest manifest;

  // One graph; BundleError if the bundle lacks it.
  const GraphSpec& graph(const std::string& name, const std::string& precision) const;
  // Path of a listed file; IntegrityError for one the manifest does not list.
  std::filesystem::path file(const std::string& name) const;
};

// Read a bundle's manifest and check its files.
// Throws BundleError, BundleVersionError, IntegrityError.
Bundle load_bundle(const std::filesystem::path& folder, trt_pipeline_verify verify);

// The text of bundle.json as a manifest, its references checked; folder: for error messages.
Bundle parse_manifest(const std::filesystem::path& folder, const std::string& text);

// IntegrityError naming every file that is not as listed.
void verify_files(const std::filesystem::path& folder, const std::map<std::string, FileSpec>& files,
                  bool hashes);

}  // namespace trt_pipeline::internal
