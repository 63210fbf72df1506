// Any bytes as bundle.json are read or refused, and nothing else.
#include <cstddef>
#include <cstdint>

#include "bundle.hpp"
#include "errors.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace trt_pipeline::internal;
  try {
    parse_manifest("bundle", {reinterpret_cast<const char*>(data), size});
  } catch (const BundleError&) {
  } catch (const BundleVersionError&) {
  } catch (const IntegrityError&) {
  }
  return 0;
}
