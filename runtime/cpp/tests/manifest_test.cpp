#include <doctest/doctest.h>

#include <filesystem>

#include "bundle.hpp"
#include "errors.hpp"
#include "golden.hpp"
#include "sha256.hpp"
#include "temporary_folder.hpp"

using namespace trt_pipeline::internal;

namespace {

std::string text_of(const nlohmann::json& entries) {
  return entries.dump();
}

nlohmann::json changed(nlohmann::json manifest, const nlohmann::json& change) {
  const auto& path = change["path"];
  if (path.empty()) return manifest;
  nlohmann::json* place = &manifest;
  for (std::size_t i = 0; i + 1 < path.size(); ++i) {
    place = path[i].is_number() ? &(*place)[path[i].get<std::size_t>()]
                                : &(*place)[path[i].get<std::string>()];
  }
  const auto last = path.back().get<std::string>();
  if (change.contains("value")) {
    (*place)[last] = change["value"];
  } else {
    place->erase(last);
  }
  return manifest;
}

std::string reading(const std::string& text) {
  try {
    parse_manifest("bundle", text);
    return "ok";
  } catch (const BundleVersionError&) {
    return "BundleVersionError";
  } catch (const IntegrityError&) {
    return "IntegrityError";
  } catch (const BundleError&) {
    return "BundleError";
  }
}

// A bundle on disk whose every file holds "content".
class Folder : public TemporaryFolder {
 public:
  Folder() {
    nlohmann::json manifest = golden("manifest.json")["manifest"];
    for (auto& [name, file] : manifest["files"].items()) {
      file = {{"size", 7}, {"sha256", bytes_sha256("content")}};
      write(name, "content");
    }
    write("bundle.json", text_of(manifest));
  }
};

}  // namespace

TEST_CASE("a NUL character does not end a manifest") {
  const std::string whole = text_of(golden("manifest.json")["manifest"]);
  CHECK(reading(whole) == "ok");
  CHECK(reading(whole + '\0' + "more") != "ok");
}

TEST_CASE("a manifest is read or refused as in Python") {
  const auto manifests = golden("manifest.json");
  for (const auto& change : manifests["cases"]) {
    CAPTURE(change.dump());
    CHECK(reading(text_of(changed(manifests["manifest"], change))) == change["gives"]);
  }
}

TEST_CASE("anything but a JSON object is refused as a manifest") {
  for (const char* text : {"", "{", "[]", "5", "null", "{} {}", "{\"a\": NaN}", "\xef\xbb\xbf{}"}) {
    CHECK(reading(text) == "BundleError");
  }
}

TEST_CASE("deep nesting is refused, not followed") {
  const std::string deep(1 << 20, '[');
  CHECK(reading(deep) == "BundleError");
  CHECK(reading("{\"format_version\": " + deep + std::string(1 << 20, ']') + "}") == "BundleError");
}

TEST_CASE("errors name the entry, its value and what was expected") {
  auto manifest = golden("manifest.json")["manifest"];
  manifest["limits"]["height"] = {32, "128"};
  CHECK_THROWS_WITH(
      parse_manifest("somewhere", text_of(manifest)),
      "somewhere/bundle.json does not follow the format: the manifest.limits.height[1] "
      "is \"128\", expected an integer. Export the checkpoint again.");
}

TEST_CASE("a bundle of format version 1 is refused with the command that exports again") {
  CHECK_THROWS_WITH_AS(
      parse_manifest("old", "{\"format_version\": 1}"),
      "old has format version 1, but this release reads version 2. Export its checkpoint again: "
      "export-all MODEL --out old",
      BundleVersionError);
}

TEST_CASE("a whole bundle passes every check") {
  const Folder folder;
  const Bundle bundle = load_bundle(folder.path, TRT_PIPELINE_VERIFY_FULL);
  CHECK(bundle.manifest.model.name == "tiny");
  CHECK(bundle.graph("decoder", "fp32").path == "onnx/decoder.onnx");
  CHECK_THROWS_AS(bundle.graph("decoder", "bf16"), BundleError);
}

TEST_CASE("one changed byte is found by the full check alone") {
  const Folder folder;
  folder.write("onnx/decoder.weights", "Content");
  CHECK_THROWS_AS(load_bundle(folder.path, TRT_PIPELINE_VERIFY_FULL), IntegrityError);
  CHECK_NOTHROW(load_bundle(folder.path, TRT_PIPELINE_VERIFY_MANIFEST));
}

TEST_CASE("two entries of one name are refused, at any depth") {
  std::string text = text_of(golden("manifest.json")["manifest"]);
  CHECK(reading(text) == "ok");
  const std::string entry = "\"latent_channels\":4";
  text.insert(text.find(entry), entry + ",");
  CHECK(reading(text) == "BundleError");
}

TEST_CASE("links are refused, in whatever part of the path") {
  const Folder folder;
  namespace fs = std::filesystem;
  const auto refused = [&] {
    try {
      load_bundle(folder.path, TRT_PIPELINE_VERIFY_MANIFEST);
      return std::string();
    } catch (const IntegrityError& error) {
      return std::string(error.what());
    }
  };
  fs::rename(folder.path / "rtx", folder.path / "elsewhere");
  fs::create_directory_symlink("elsewhere", folder.path / "rtx");
  CHECK(refused().find("rtx/decoder.plan is reached through a link") != std::string::npos);
  fs::remove(folder.path / "rtx");
  fs::rename(folder.path / "elsewhere", folder.path / "rtx");
  CHECK(refused().empty());
  fs::rename(folder.path / "rtx/decoder.plan", folder.path / "elsewhere");
  fs::create_symlink("../elsewhere", folder.path / "rtx/decoder.plan");
  CHECK(refused().find("rtx/decoder.plan cannot be read (it is not a regular file)") !=
        std::string::npos);
  fs::rename(folder.path / "elsewhere", folder.path / "rtx/decoder.plan");
  fs::create_hard_link(folder.path / "rtx/decoder.plan", folder.path / "second");
  CHECK(refused().find("rtx/decoder.plan is a hard link") != std::string::npos);
}

TEST_CASE("a manifest that is a link is not followed") {
  const Folder folder;
  std::filesystem::rename(folder.path / "bundle.json", folder.path / "other.json");
  std::filesystem::create_symlink("other.json", folder.path / "bundle.json");
  CHECK_THROWS_AS(load_bundle(folder.path, TRT_PIPELINE_VERIFY_NONE), BundleError);
}

TEST_CASE("a manifest larger than 1 MiB is not read") {
  const Folder folder;
  folder.write("bundle.json", std::string((1 << 20) + 1, ' '));
  CHECK_THROWS_AS(load_bundle(folder.path, TRT_PIPELINE_VERIFY_NONE), BundleError);
}

TEST_CASE("every file that is not as listed is named") {
  const Folder folder;
  folder.write("onnx/decoder.weights", "more content");
  std::filesystem::remove(folder.path / "rtx/decoder.plan");
  try {
    load_bundle(folder.path, TRT_PIPELINE_VERIFY_MANIFEST);
    FAIL("was accepted");
  } catch (const IntegrityError& error) {
    const std::string message = error.what();
    CHECK(message.find("onnx/decoder.weights has 12 bytes, but bundle.json says 7") !=
          std::string::npos);
    CHECK(message.find("rtx/decoder.plan cannot be read") != std::string::npos);
  }
  CHECK_NOTHROW(load_bundle(folder.path, TRT_PIPELINE_VERIFY_NONE));
}

TEST_CASE("a folder without a manifest says how to make one") {
  CHECK_THROWS_WITH_AS(load_bundle("nowhere", TRT_PIPELINE_VERIFY_FULL),
                       "nowhere is not a bundle: it has no bundle.json. "
                       "Make one with: export-all MODEL --out nowhere",
                       BundleError);
}
