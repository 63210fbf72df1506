// What stands for webp_codec.cpp where the build has no libwebp.
#include "codec.hpp"

namespace trt_pipeline::cli {
namespace {

bool recognizes_webp(std::string_view bytes) {
  return bytes.starts_with("RIFF") && bytes.find("WEBP") == 8;
}

}  // namespace

const Codec webp_codec = {"webp",          {".webp"}, 0,       0,      "libwebp (libwebp-dev)",
                          recognizes_webp, nullptr,   nullptr, nullptr};

}  // namespace trt_pipeline::cli
