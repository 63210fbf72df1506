#include <doctest/doctest.h>

#include "bundle.hpp"
#include "errors.hpp"
#include "golden.hpp"
#include "hexadecimal.hpp"
#include "signatures.hpp"
#include "temporary_folder.hpp"

using namespace trt_pipeline::internal;

namespace {

std::string checking(const nlohmann::json& one, const TrustedKeys& keys) {
  const TemporaryFolder folder;
  if (!one["signature"].is_null()) {
    folder.write("bundle.json.sig", bytes_of(one["signature"].get<std::string>()));
  }
  try {
    check_signature(folder.path, one["text"].get<std::string>(), keys);
    return "ok";
  } catch (const IntegrityError&) {
    return "IntegrityError";
  }
}

}  // namespace

TEST_CASE("signatures are trusted or refused as in Python") {
  const auto signatures = golden("signatures.json");
  for (const auto& one : signatures["cases"]) {
    CAPTURE(one.dump());
    TrustedKeys keys;
    for (const auto& number : one["trusted"])
      keys.push_back(signatures["keys"][number.get<std::size_t>()].get<std::string>());
    CHECK(checking(one, keys) == one["gives"]);
  }
}

TEST_CASE("a trusted key may be a file, even a link to one") {
  const auto signatures = golden("signatures.json");
  const TemporaryFolder folder;
  folder.write("key.pem", signatures["keys"][0].get<std::string>());
  std::filesystem::create_symlink("key.pem", folder.path / "link.pem");
  CHECK(checking(signatures["cases"][0], {folder.path / "link.pem"}) == "ok");
}

TEST_CASE("anything but a public Ed25519 key is refused by name") {
  const TemporaryFolder folder;
  const std::string name = folder.path / "key.pem";
  folder.write("key.pem", "no key");
  const std::string message = "the trusted key " + name + " is not a public Ed25519 key in PEM form.";
  CHECK_THROWS_WITH_AS(check_signature(folder.path, "", {name}), message.c_str(),
                       InvalidInputError);
  CHECK_THROWS_WITH_AS(check_signature(folder.path, "", {"nowhere.pem"}),
                       "the trusted key nowhere.pem cannot be read: No such file or directory.",
                       InvalidInputError);
  CHECK_THROWS_AS(check_signature(folder.path, "", {}), InvalidInputError);
}

TEST_CASE("keys need the full check, and are asked before the manifest is read") {
  const TemporaryFolder folder;
  folder.write("bundle.json", "no manifest");
  const auto key = golden("signatures.json")["keys"][0].get<std::string>();
  CHECK_THROWS_AS(load_bundle(folder.path, TRT_PIPELINE_VERIFY_MANIFEST, TrustedKeys{key}),
                  InvalidInputError);
  const std::string unsigned_bundle =
      folder.path.string() +
      " is not signed. Sign it with: export-all --sign KEY, or trust it unsigned.";
  CHECK_THROWS_WITH_AS(load_bundle(folder.path, TRT_PIPELINE_VERIFY_FULL, TrustedKeys{key}),
                       unsigned_bundle.c_str(), IntegrityError);
  CHECK_THROWS_AS(load_bundle(folder.path, TRT_PIPELINE_VERIFY_FULL), BundleError);
}
