#include "kinds.hpp"

#include "errors.hpp"

namespace trt_pipeline::internal {
namespace {

constexpr std::pair<const char*, Kind> kinds[] = {
    {"LDMTextToImagePipeline", Kind::text_to_image},
    {"LDMPipeline", Kind::unconditional},
    {"LDMSuperResolutionPipeline", Kind::super_resolution}};

}  // namespace

std::int32_t default_steps(Kind kind) {
  return kind == Kind::super_resolution ? 100 : 50;
}

Kind kind_of(const Bundle& bundle) {
  const std::string& pipeline = bundle.manifest.model.pipeline;
  std::string known;
  for (const auto& [name, kind] : kinds) {
    if (pipeline == name) return kind;
    enlist(known, name);
  }
  throw BundleError(concat(bundle.path.string(), " is a bundle of ", brief(Json(pipeline)),
                           "; this library runs ", known, ". Use a release that knows it."));
}

}  // namespace trt_pipeline::internal
