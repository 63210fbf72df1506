// What stands for jpeg_codec.cpp where the build has no libjpeg.
#include "codec.hpp"

namespace trt_pipeline::cli {
namespace {

bool recognizes_jpeg(std::string_view bytes) {
  return bytes.starts_with("\xFF\xD8\xFF");
}

}  // namespace

const Codec jpeg_codec = {
    "jpeg",          {".jpg", ".jpeg"}, 0,       0,      "libjpeg (libjpeg-dev)",
    recognizes_jpeg, nullptr,           nullptr, nullptr};

}  // namespace trt_pipeline::cli
