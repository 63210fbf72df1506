#include "sha256.hpp"

#include <openssl/evp.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <memory>
#include <system_error>
#include <vector>

#include "errors.hpp"

namespace trt_pipeline::internal {
namespace {

constexpr std::size_t chunk_bytes = 1 << 20;

class Sha256 {
 public:
  Sha256() : context_(EVP_MD_CTX_new(), EVP_MD_CTX_free) {
    check(context_ && EVP_DigestInit_ex(context_.get(), EVP_sha256(), nullptr));
  }

  void add(const void* bytes, std::size_t count) {
    check(EVP_DigestUpdate(context_.get(), bytes, count));
  }

  std::string hexadecimal() {
    std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
    unsigned length = 0;
    check(EVP_DigestFinal_ex(context_.get(), digest.data(), &length));
    std::string text;
    for (unsigned i = 0; i < length; ++i) {
      text += "0123456789abcdef"[digest[i] >> 4];
      text += "0123456789abcdef"[digest[i] & 15];
    }
    return text;
  }

 private:
  static void check(bool fine) {
    if (!fine) throw Error(TRT_PIPELINE_INTERNAL_ERROR, "OpenSSL computes no sha256.");
  }

  std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> context_;
};

}  // namespace

std::string file_sha256(const std::filesystem::path& path) {
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::fopen(path.c_str(), "rb"),
                                                             std::fclose);
  if (!file) throw std::system_error(errno, std::generic_category());
  return stream_sha256(file.get());
}

std::string stream_sha256(std::FILE* stream) {
  Sha256 hash;
  std::vector<char> chunk(chunk_bytes);
  while (const std::size_t count = std::fread(chunk.data(), 1, chunk.size(), stream)) {
    hash.add(chunk.data(), count);
  }
  if (std::ferror(stream)) throw std::system_error(errno, std::generic_category());
  return hash.hexadecimal();
}

std::string bytes_sha256(std::string_view bytes) {
  Sha256 hash;
  hash.add(bytes.data(), bytes.size());
  return hash.hexadecimal();
}

}  // namespace trt_pipeline::internal
