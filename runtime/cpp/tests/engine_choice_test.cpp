#include "backends/engine_choice.hpp"

#include <doctest/doctest.h>

#include <fstream>

#include "errors.hpp"
#include "golden.hpp"
#include "sha256.hpp"

using namespace trt_pipeline::internal;

namespace {

// The golden bundle, whose one engine is of its own graph.
Bundle bundle_of(const std::filesystem::path& folder = "bundle") {
  auto manifest = golden("manifest.json")["manifest"];
  auto& key = manifest["engines"][0]["key"];
  const auto& graph = manifest["graphs"]["decoder"]["fp16"];
  for (const auto& [entry, file] :
       {std::pair("onnx_sha256", "path"), {"weights_sha256", "weights"}}) {
    key[entry] = manifest["files"][graph[file].get<std::string>()]["sha256"];
  }
  manifest["files"]["rtx/decoder.plan"] = {{"size", 4}, {"sha256", bytes_sha256("plan")}};
  return parse_manifest(folder, manifest.dump());
}

const EngineTarget fitting{"tensorrt_rtx", "1.4.0", "8.9", "linux-x86_64"};

std::string refusal(const Bundle& bundle, const EngineTarget& target) {
  try {
    choose_engine(bundle, "decoder", target);
    return "";
  } catch (const BundleError& error) {
    return error.what();
  }
}

bool holds(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

}  // namespace

TEST_CASE("a plan whose key fits is chosen") {
  CHECK(choose_engine(bundle_of(), "decoder", fitting).path == "rtx/decoder.plan");
}

TEST_CASE("a plan for another target is refused, with what differs") {
  const Bundle bundle = bundle_of();
  const auto changed = [&](auto change) {
    EngineTarget target = fitting;
    change(target);
    return refusal(bundle, target);
  };
  CHECK(
      holds(changed([](auto& t) { t.flavour = "tensorrt"; }), "tensorrt_rtx instead of tensorrt"));
  CHECK(holds(changed([](auto& t) { t.version = "1.5.0"; }), "version 1.4.0 instead of 1.5.0"));
  CHECK(holds(changed([](auto& t) { t.compute_capability = "9.0"; }),
              "compute capability 8.9 instead of 9.0"));
  CHECK(holds(changed([](auto& t) { t.platform = "linux-aarch64"; }), "instead of linux-aarch64"));
}

TEST_CASE("a compatible plan fits newer GPUs, or later versions of the same major one") {
  Bundle bundle = bundle_of();
  EngineSpec& engine = bundle.manifest.engines[0];
  const auto fits = [&](const char* version, const char* capability) {
    return refusal(bundle, {"tensorrt_rtx", version, capability, "linux-x86_64"}).empty();
  };
  engine.hardware_compatibility_level = "ampere_plus";
  CHECK(fits("1.4.0", "12.0"));
  CHECK_FALSE(fits("1.4.0", "8.6"));
  CHECK_FALSE(fits("1.10.0", "8.9"));
  engine.hardware_compatibility_level = "same_compute_capability";
  engine.version_compatible = true;
  CHECK(fits("1.10.0", "8.9"));
  CHECK_FALSE(fits("1.3.9", "8.9"));
  CHECK_FALSE(fits("2.0.0", "8.9"));
  CHECK_FALSE(fits("1.4.0", "12.0"));
}

TEST_CASE("a plan for this GPU alone is preferred to one for many") {
  Bundle bundle = bundle_of();
  auto& engines = bundle.manifest.engines;
  engines.insert(engines.begin(), engines[0]);
  engines[0].hardware_compatibility_level = "ampere_plus";
  engines[0].path = "rtx/portable.plan";
  CHECK(choose_engine(bundle, "decoder", fitting).path == "rtx/decoder.plan");
}

TEST_CASE("a plan of another graph than the bundle's is refused") {
  Bundle bundle = bundle_of();
  bundle.manifest.engines[0].weights_sha256 = std::string(64, '0');
  CHECK(holds(refusal(bundle, fitting), "weights_sha256 " + std::string(64, '0')));
  bundle.manifest.engines.clear();
  CHECK(holds(refusal(bundle, fitting), "there is none"));
}

TEST_CASE("a plan's bytes are hashed before anything else sees them") {
  const auto folder = std::filesystem::temp_directory_path() / "trt_pipeline_engine_choice_test";
  std::filesystem::create_directories(folder / "rtx");
  const Bundle bundle = bundle_of(folder);
  const auto read = [&](const char* content) {
    std::ofstream(folder / "rtx/decoder.plan") << content;
    return read_plan(bundle, bundle.manifest.engines[0]);
  };
  CHECK(read("plan").size() == 4);
  CHECK_THROWS_AS(read("plot"), IntegrityError);
  CHECK_THROWS_AS(read("plans"), IntegrityError);
  CHECK_THROWS_AS(read("pla"), IntegrityError);
  std::filesystem::remove_all(folder);
}

TEST_CASE("a decoder that float16 cannot hold is a float32 graph, and so is its plan's") {
  Bundle bundle = bundle_of();
  auto& forms = bundle.manifest.graphs["decoder"];
  forms.erase("fp16");
  CHECK(&bundle.graph("decoder", "fp16") == &forms.at("fp32"));
  bundle.manifest.engines[0].precision = "fp32";
  CHECK(choose_engine(bundle, "decoder", fitting).precision == "fp32");
  bundle.manifest.precision = "fp32";
  CHECK_THROWS_AS(bundle.graph("decoder", "fp16"), BundleError);
}
