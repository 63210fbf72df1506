#include "bundle.hpp"

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <thread>

#include "errors.hpp"
#include "integrity.hpp"
#include "names.hpp"
#include "strict_json.hpp"

namespace trt_pipeline::internal {
namespace {

namespace fs = std::filesystem;

constexpr std::int64_t format_version = 2;
constexpr std::size_t max_manifest_bytes = 1 << 20;

std::string read_manifest(const fs::path& folder) {
  const fs::path path = folder / manifest_name;
  std::string text;
  try {
    text = read_bytes(open_regular(path).get(), max_manifest_bytes + 1);
  } catch (const FileError& error) {
    if (error.code != ENOENT) {
      throw BundleError(concat(path.string(), " cannot be read: ", error.what(), "."));
    }
    throw BundleError(concat(folder.string(), " is not a bundle: it has no ", manifest_name,
                             ". Make one with: export-all MODEL --out ", folder.string()));
  }
  if (text.size() > max_manifest_bytes) {
    throw BundleError(concat(path.string(), " is larger than ", max_manifest_bytes,
                             " bytes, too large for a manifest."));
  }
  return text;
}

Json parse_json(const fs::path& path, const std::string& text) {
  try {
    return strict_json(text);
  } catch (const std::exception& error) {
    throw BundleError(
        concat(path.string(), " is not JSON (", error.what(), "). Export the checkpoint again."));
  }
}

void check_version(const fs::path& folder, const Json& manifest) {
  const auto found = manifest.find("format_version");
  const bool known = found != manifest.end() && found->is_number_integer();
  if (known && *found == format_version) return;
  const std::string version = found == manifest.end() ? "none" : brief(*found);
  throw BundleVersionError(concat(
      folder.string(), " has format version ", version, ", but this release reads version ",
      format_version, ". Export its checkpoint again: export-all MODEL --out ", folder.string()));
}

// Graphs that may be float32 in a float16 bundle, for numbers beyond float16's.
bool is_first_stage(const std::string& graph) {
  return graph == "decoder" || graph == "tiny_decoder" || graph == "encoder";
}

void check_references(const Bundle& bundle) {
  for (const auto* tokenizer : {&bundle.manifest.tokenizer, &bundle.manifest.tokenizer_2}) {
    if (!*tokenizer) continue;
    for (const auto& [name, file] : (*tokenizer)->files) bundle.file(file);
  }
  for (const auto& [name, precisions] : bundle.manifest.graphs) {
    for (const auto& [precision, graph] : precisions) {
      bundle.file(graph.path);
      bundle.file(graph.weights);
    }
  }
  for (const EngineSpec& engine : bundle.manifest.engines) bundle.file(engine.path);
}

}  // namespace

const GraphSpec& Bundle::graph(const std::string& name, const std::string& wanted) const {
  const auto found = manifest.graphs.find(name);
  const bool is_wide = manifest.precision == "fp16" && is_first_stage(name) &&
                       found != manifest.graphs.end() && !found->second.contains("fp16");
  const std::string precision = is_wide && wanted == "fp16" ? "fp32" : wanted;
  if (found != manifest.graphs.end() && found->second.contains(precision)) {
    return found->second.at(precision);
  }
  std::string held;
  for (const auto& [graph, precisions] : manifest.graphs) {
    std::string offered;
    for (const auto& [one, spec] : precisions) enlist(offered, one, "/");
    enlist(held, concat(graph, " (", offered, ")"));
  }
  throw BundleError(concat(path.string(), ": no ", precision, " graph '", name,
                           "'; this bundle holds ", held,
                           ". Export the checkpoint again with the precision you need."));
}

fs::path Bundle::file(const std::string& name) const {
  if (!manifest.files.contains(name)) {
    throw IntegrityError(concat(path.string(), ": ", manifest_name, " does not list ", brief(name),
                                ". Export the checkpoint again."));
  }
  return path / name;
}

Bundle load_bundle(const fs::path& folder, trt_pipeline_verify verify,
                   const std::optional<TrustedKeys>& trusted_keys) {
  const std::string text = read_manifest(folder);
  if (trusted_keys) {
    if (verify != TRT_PIPELINE_VERIFY_FULL) {
      throw InvalidInputError("trusted_keys need the full check, but verify asks for less.");
    }
    check_signature(folder, text, *trusted_keys);
  }
  Bundle bundle = parse_manifest(folder, text);
  if (verify != TRT_PIPELINE_VERIFY_NONE) {
    verify_files(folder, bundle.manifest.files, verify == TRT_PIPELINE_VERIFY_FULL);
  }
  return bundle;
}

Bundle parse_manifest(const fs::path& folder, const std::string& text) {
  const fs::path path = folder / manifest_name;
  Json manifest = parse_json(path, text);
  if (!manifest.is_object()) {
    throw BundleError(
        concat(path.string(), " does not hold a JSON object. Export the checkpoint again."));
  }
  check_version(folder, manifest);
  manifest.erase("format_version");
  try {
    Bundle bundle{folder, parse_entries(manifest)};
    check_references(bundle);
    return bundle;
  } catch (const FormatError& error) {
    throw BundleError(concat(path.string(), " does not follow the format: ", error.what(),
                             ". Export the checkpoint again."));
  }
}

void verify_files(const fs::path& folder, const std::map<std::string, FileSpec>& listed,
                  bool hashes) {
  const std::vector<std::pair<std::string, FileSpec>> files(listed.begin(), listed.end());
  std::vector<std::string> problems(files.size());
  std::atomic<std::size_t> next = 0;
  const auto work = [&] {
    for (std::size_t i = next++; i < files.size(); i = next++) {
      const auto& [name, spec] = files[i];
      problems[i] = file_problem(folder, name, spec, hashes);
    }
  };
  {
    const std::size_t cpus = std::max(1u, std::thread::hardware_concurrency());
    std::vector<std::jthread> threads;
    for (std::size_t i = 1; i < std::min(cpus, files.size()); ++i) threads.emplace_back(work);
    work();
  }
  std::string found;
  for (const std::string& problem : problems) {
    if (!problem.empty()) enlist(found, problem, "; ");
  }
  if (!found.empty()) {
    throw IntegrityError(concat(folder.string(), ": ", found,
                                ". Copy the bundle again, or delete it and export again."));
  }
}

}  // namespace trt_pipeline::internal
