// Bundle: the folder that export writes, its manifest read and its files checked.
#pragma once

#include <filesystem>
#include <optional>
#include <string>

#include "manifest.hpp"
#include "signatures.hpp"
#include "trt_pipeline.h"

namespace trt_pipeline::internal {

struct Bundle {
  std::filesystem::path path;
  Manifest manifest;

  // One graph; BundleError if the bundle lacks it. In a float16 bundle, a decoder or encoder
  // without a float16 form runs in float32.
  const GraphSpec& graph(const std::string& name, const std::string& precision) const;
  // Path of a listed file; IntegrityError for one the manifest does not list.
  std::filesystem::path file(const std::string& name) const;
};

// Read a bundle's manifest and check its files.
// trusted_keys: of which one must have signed the bundle; none takes unsigned bundles.
// Throws BundleError, BundleVersionError, IntegrityError, and InvalidInputError for keys that are
// none, or that come without the full check.
Bundle load_bundle(const std::filesystem::path& folder, trt_pipeline_verify verify,
                   const std::optional<TrustedKeys>& trusted_keys = std::nullopt);

// The text of bundle.json as a manifest, its references checked; folder: for error messages.
Bundle parse_manifest(const std::filesystem::path& folder, const std::string& text);

// IntegrityError naming every file that is not as listed.
void verify_files(const std::filesystem::path& folder, const std::map<std::string, FileSpec>& files,
                  bool hashes);

}  // namespace trt_pipeline::internal
