// Signatures: who vouches for a bundle.
//
// bundle.json.sig holds the Ed25519 signature (RFC 8032) of bundle.json's bytes. The manifest has
// the hash of every file that a runtime uses, so the signature covers the bundle.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace trt_pipeline::internal {

// Each the name of a PEM file with a public Ed25519 key, or its text, which begins with "-----".
using TrustedKeys = std::vector<std::string>;

// IntegrityError unless the signature of a bundle is that of its manifest by one of the keys.
// InvalidInputError for anything but keys, or for none.
void check_signature(const std::filesystem::path& folder, std::string_view manifest,
                     const TrustedKeys& trusted_keys);

}  // namespace trt_pipeline::internal
