#include <doctest/doctest.h>

#include <algorithm>

#include "decoding.hpp"
#include "errors.hpp"
#include "golden.hpp"
#include "hexadecimal.hpp"
#include "onnx_files.hpp"
#include "temporary_folder.hpp"

using namespace trt_pipeline::internal;

namespace {

nlohmann::json locations(const std::string& model) {
  try {
    auto found = external_locations(model);
    std::ranges::sort(found);
    return found;
  } catch (const FormatError&) {
    return "refused";
  }
}

// What opening a graph gives whose file names one weight file, "w", though the manifest has
// another's name.
std::string opening(const std::string& weights) {
  const TemporaryFolder folder;
  Bundle bundle;
  bundle.path = folder.path;
  bundle.manifest.graphs["decoder"]["fp32"] = {"onnx/decoder.onnx", weights, {}, {}};
  bundle.manifest.files["onnx/decoder.onnx"] = {};
  folder.write("onnx/decoder.onnx",
               bytes_of(golden("onnx_files.json")[1]["model"].get<std::string>()));
  try {
    return onnx_file(bundle, "decoder", "fp32").filename();
  } catch (const IntegrityError& error) {
    return error.what();
  }
}

}  // namespace

TEST_CASE("ONNX files name the golden locations") {
  for (const auto& one : golden("onnx_files.json")) {
    CAPTURE(one.dump());
    CHECK(locations(bytes_of(one["model"].get<std::string>())) == one["locations"]);
  }
}

TEST_CASE("an ONNX file may keep its weights only where the manifest says") {
  CHECK(opening("onnx/w") == "decoder.onnx");
  for (const char* other : {"w", "onnx/v", "onnx/a/w"}) {
    CHECK(opening(other).find("keeps weights in \"w\", but its manifest says") !=
          std::string::npos);
  }
}
