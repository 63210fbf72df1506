#include "golden.hpp"

#include <fstream>

namespace trt_pipeline::internal {

nlohmann::json golden(const std::string& name) {
  std::ifstream stream(std::string(GOLDEN) + "/" + name);
  return nlohmann::json::parse(stream);
}

TokenizerSpec golden_spec(const nlohmann::json& entry) {
  nlohmann::json manifest = golden("manifest.json")["manifest"];
  manifest.erase("format_version");
  manifest["tokenizer"] = entry;
  return *parse_entries(manifest).tokenizer;
}

Tokenizer golden_tokenizer(const std::filesystem::path& folder, const nlohmann::json& entry) {
  const TokenizerSpec spec = golden_spec(entry);
  std::map<std::string, std::filesystem::path> paths;
  for (const auto& [what, name] : spec.files) paths.emplace(what, folder / name);
  return Tokenizer(paths, spec);
}

}  // namespace trt_pipeline::internal
