// Any bytes as an ONNX file name locations or are refused, and nothing else.
#include <cstddef>
#include <cstdint>

#include "decoding.hpp"
#include "onnx_files.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace trt_pipeline::internal;
  try {
    external_locations({reinterpret_cast<const char*>(data), size});
  } catch (const FormatError&) {
  }
  return 0;
}
