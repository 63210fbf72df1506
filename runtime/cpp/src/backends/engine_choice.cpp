#include "engine_choice.hpp"

#include <cstdlib>
#include <fstream>
#include <sstream>

#include "../errors.hpp"
#include "../sha256.hpp"

namespace trt_pipeline::internal {
namespace {

// The numbers of a version or a compute capability, such as 10, 13, 0 and 35.
std::vector<long> numbers_of(const std::string& version) {
  std::vector<long> numbers;
  std::istringstream parts(version);
  for (std::string part; std::getline(parts, part, '.');) {
    numbers.push_back(std::strtol(part.c_str(), nullptr, 10));
  }
  return numbers;
}

// Plans for more than one version or GPU, within the ranges that TensorRT documents.
bool takes_later(const EngineSpec& engine, const std::string& version) {
  const auto built = numbers_of(engine.version), here = numbers_of(version);
  return engine.version_compatible && !built.empty() && !here.empty() &&
         built.front() == here.front() && built <= here;
}

bool is_portable(const EngineSpec& engine) {
  return engine.hardware_compatibility_level == "ampere_plus";
}

bool takes_newer(const EngineSpec& engine, const std::string& compute_capability) {
  return is_portable(engine) &&
         numbers_of(engine.compute_capability) <= numbers_of(compute_capability);
}

// What makes a plan unfit, such as "version 10.13.0.35 instead of 11.1.0.1"; empty if nothing does.
std::string misfit(const Bundle& bundle, const EngineSpec& engine, const EngineTarget& target) {
  const bool eight_bits = engine.precision == "int8" || engine.precision == "fp8";
  const GraphSpec& graph = bundle.graph(engine.graph, eight_bits ? "int8" : "fp16");
  const auto sha256 = [&](const std::string& file) {
    return bundle.manifest.files.at(file).sha256;
  };
  const std::string version = takes_later(engine, target.version) ? target.version : engine.version;
  const std::string capability = takes_newer(engine, target.compute_capability)
                                     ? target.compute_capability
                                     : engine.compute_capability;
  const struct {
    const char* name;
    std::string has, needs;
  } entries[] = {{"flavour", engine.flavour, target.flavour},
                 {"version", version, target.version},
                 {"compute capability", capability, target.compute_capability},
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
  const EngineSpec* portable = nullptr;  // fits, but a plan for this GPU alone is faster
  for (const EngineSpec& engine : bundle.manifest.engines) {
    if (engine.graph != graph) continue;
    const std::string problem = misfit(bundle, engine, target);
    if (!problem.empty()) {
      enlist(misfits, concat(engine.path, " has ", problem), "; ");
    } else if (is_portable(engine)) {
      portable = &engine;
    } else {
      return engine;
    }
  }
  if (portable) return *portable;
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
