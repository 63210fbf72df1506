#include "signatures.hpp"

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>

#include <algorithm>
#include <cerrno>
#include <memory>
#include <optional>

#include "errors.hpp"
#include "integrity.hpp"
#include "names.hpp"

namespace trt_pipeline::internal {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t signature_bytes = 64;
constexpr std::size_t max_key_bytes = 1 << 16;  // a PEM file with a key has about 113

// Leaves OpenSSL's queue of errors as it was, since a caller's own connections read it.
struct ErrorMark {
  ErrorMark() { ERR_set_mark(); }
  ~ErrorMark() { ERR_pop_to_mark(); }
};

using PublicKey = std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)>;

// The content of bundle.json.sig; none if there is none, IntegrityError if it can't be one.
std::optional<std::string> read_signature(const fs::path& folder) {
  const fs::path path = folder / signature_name;
  std::string signature;
  try {
    signature = read_bytes(open_regular(path).get(), signature_bytes + 1);
  } catch (const FileError& error) {
    if (error.code == ENOENT) return std::nullopt;
    throw IntegrityError(concat(path.string(), " cannot be read: ", error.what(), "."));
  }
  if (signature.size() != signature_bytes) {
    throw IntegrityError(
        concat(path.string(), " does not have the ", signature_bytes, " bytes of a signature."));
  }
  return signature;
}

// A user's key may be a link.
std::string read_key(const std::string& name) {
  const FileStream stream(std::fopen(name.c_str(), "rb"), std::fclose);
  if (!stream) {
    throw InvalidInputError(concat("the trusted key ", name, " cannot be read: ",
                                   std::generic_category().message(errno), "."));
  }
  std::string text(max_key_bytes, '\0');
  text.resize(std::fread(text.data(), 1, text.size(), stream.get()));
  return text;
}

PublicKey public_key(const std::string& given) {
  const bool is_text = given.starts_with("-----");
  const std::string text = is_text ? given : read_key(given);
  const std::unique_ptr<BIO, decltype(&BIO_free)> source(
      BIO_new_mem_buf(text.data(), static_cast<int>(text.size())), BIO_free);
  // Without this, OpenSSL would ask the terminal for the password of an encrypted file.
  const auto no_password = [](char*, int, int, void*) { return -1; };
  PublicKey key(PEM_read_bio_PUBKEY(source.get(), nullptr, no_password, nullptr), EVP_PKEY_free);
  if (!key || EVP_PKEY_get_base_id(key.get()) != EVP_PKEY_ED25519) {
    throw InvalidInputError(concat(is_text ? "a trusted key" : "the trusted key " + given,
                                   " is not a public Ed25519 key in PEM form."));
  }
  return key;
}

bool is_signed_by(const PublicKey& key, std::string_view manifest, std::string_view signature) {
  const auto bytes = [](std::string_view text) {
    return reinterpret_cast<const unsigned char*>(text.data());
  };
  const std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> context(EVP_MD_CTX_new(),
                                                                        EVP_MD_CTX_free);
  return context &&
         EVP_DigestVerifyInit(context.get(), nullptr, nullptr, nullptr, key.get()) == 1 &&
         EVP_DigestVerify(context.get(), bytes(signature), signature.size(), bytes(manifest),
                          manifest.size()) == 1;
}

}  // namespace

void check_signature(const fs::path& folder, std::string_view manifest,
                     const TrustedKeys& trusted_keys) {
  if (trusted_keys.empty()) {
    throw InvalidInputError("trusted_keys must be a list of one or more keys, got none.");
  }
  const ErrorMark mark;
  std::vector<PublicKey> keys;
  for (const std::string& key : trusted_keys) keys.push_back(public_key(key));
  const auto signature = read_signature(folder);
  if (!signature) {
    throw IntegrityError(concat(folder.string(), " is not signed. Sign it with: export-all --sign ",
                                "KEY, or trust it unsigned."));
  }
  const auto vouches = [&](const PublicKey& key) {
    return is_signed_by(key, manifest, *signature);
  };
  if (!std::ranges::any_of(keys, vouches)) {
    throw IntegrityError(concat(folder.string(), ": ", signature_name,
                                " is the signature of none of the trusted keys for this ",
                                manifest_name,
                                ". Do not use it; get the bundle again from who signed it."));
  }
}

}  // namespace trt_pipeline::internal
