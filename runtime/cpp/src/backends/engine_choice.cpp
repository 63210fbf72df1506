#include "engine_choice.hpp"

#include <fstream>

#include "../errors.hpp"
#include "../sha256.hpp"

namespace trt_pipeline::internal {
namespace {

// What makes a plan unfit, such as "version 10.13.0.35 instead of 11.1.0.1"; empty if nothing does.
std::string misfit(const Bundle& bundle, const EngineSpec& engine, const EngineTarget& target) {
  const GraphSpec& graph = bundle.graph(engine.graph, engine.precision);
  const auto sha256 = [&](const std::string& file) {
    return bundle.manifest.files.at(file).sha256;
  };
  const struct {
    const char* name;
    std::string has, needs;
  } entries[] = {{"flavour", engine.flavour, target.flavour},
                 {"version", engine.version, target.version},
                 {"compute capability", engine.compute_capability, target.compute_capability},
                 {"platform", engine.platform, target.platform},
                 {"onnx_sha256", engine.onnx_sha256, sha256(graph.path)},
                 {"weights_sha256", engine.weights_sha256, sha256(graph.weights)}};
  for (const auto& [name, has, needs] : entries) {
    if (has != needs) return concat(name, " ", has, " instead of ", needs);
  }
  return "";
}

}  // namespace

const EngineSpec& choose_engine(const Bundle& bundle, const std::string& graph,
                                const EngineTarget& target) {
  std::string misfits;
  for (const EngineSpec& engine : bundle.manifest.engines) {
    if (engine.graph != graph) continue;
    const std::string problem = misfit(bundle, engine, target);
    if (problem.empty()) return engine;
    enlist(misfits, concat(engine.path, " has ", problem), "; ");
  }
  throw BundleError(concat(bundle.path.string(), ": no ", target.flavour, " engine of ", graph,
                           " fits ", target.version, " on compute capability ",
                           target.compute_capability, ", ", target.platform, " (",
                           misfits.empty() ? "there is none" : misfits,
                           "). Build it with: export-all --engines ", target.flavour));
}

std::vector<char> read_plan(const Bundle& bundle, const EngineSpec& engine) {
  const std::filesystem::path path = bundle.file(engine.path);
  const FileSpec& listed = bundle.manifest.files.at(engine.path);
  std::ifstream stream(path, std::ios::binary);
  std::vector<char> bytes(static_cast<std::size_t>(listed.size));
  const bool whole = stream.read(bytes.data(), std::ssize(bytes)) && stream.get() == EOF;
  if (!whole || bytes_sha256({bytes.data(), bytes.size()}) != listed.sha256) {
    throw IntegrityError(concat(path.string(),
                                " is not the file that the manifest lists. "
                                "Copy the bundle again, or delete it and export again."));
  }
  return bytes;
}

}  // namespace trt_pipeline::internal
