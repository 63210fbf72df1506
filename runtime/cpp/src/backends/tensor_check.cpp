#include "../errors.hpp"
#include "backend.hpp"

namespace trt_pipeline::internal {
namespace {

std::map<std::string, Range> ranges_of(const Bundle& bundle) {
  const Limits& limits = bundle.manifest.limits;
  const std::int64_t factor = bundle.manifest.model.vae_scale_factor;
  const auto latent = [&](const Range& pixels) {
    return Range{pixels[0] / factor, pixels[1] / factor};
  };
  return {{"batch", limits.batch},
          {"height", limits.height},
          {"width", limits.width},
          {"latent_height", latent(limits.height)},
          {"latent_width", latent(limits.width)}};
}

template <class Map>
std::string names_of(const Map& tensors) {
  std::string names;
  for (const auto& [name, tensor] : tensors) enlist(names, name);
  return names;
}

}  // namespace

TensorCheck::TensorCheck(std::string graph, const std::vector<TensorSpec>& inputs,
                         const Bundle& bundle)
    : graph_(std::move(graph)), inputs_(inputs), ranges_(ranges_of(bundle)) {}

void TensorCheck::operator()(const TensorViews& inputs) const {
  Sizes sizes;
  std::map<std::string, int> expected;
  for (const TensorSpec& spec : inputs_) {
    const auto found = inputs.find(spec.name);
    if (found != inputs.end()) check(spec, found->second, sizes);
    expected[spec.name];
  }
  if (names_of(inputs) != names_of(expected)) {
    throw InvalidInputError(concat(graph_, ": got the inputs ", names_of(inputs), ", expected ",
                                   names_of(expected), "."));
  }
}

void TensorCheck::check(const TensorSpec& spec, const TensorView& tensor, Sizes& sizes) const {
  const std::string where = graph_ + ": " + spec.name;
  if (tensor.dtype != spec.dtype) {
    throw InvalidInputError(
        concat(where, " is ", name_of(tensor.dtype), ", expected ", name_of(spec.dtype), "."));
  }
  bool fits = tensor.shape.size() == spec.shape.size();
  std::string expected;
  for (std::size_t i = 0; i < spec.shape.size(); ++i) {
    expected += i ? ", " : "";
    const std::size_t size = i < tensor.shape.size() ? tensor.shape[i] : 0;
    if (const auto* name = std::get_if<std::string>(&spec.shape[i])) {
      const std::size_t known = sizes.try_emplace(*name, size).first->second;
      expected += concat(*name, " = ", known);
      fits = fits && known == size;
    } else {
      const std::int64_t number = std::get<std::int64_t>(spec.shape[i]);
      expected += std::to_string(number);
      fits = fits && number == static_cast<std::int64_t>(size);
    }
  }
  if (!fits) {
    throw InvalidInputError(
        concat(where, " has shape ", describe(tensor.shape), ", expected (", expected, ")."));
  }
  for (std::size_t i = 0; i < spec.shape.size(); ++i) {
    check_range(where, spec.shape[i], tensor.shape[i]);
  }
}

void TensorCheck::check_range(const std::string& where, const Dim& dim, std::size_t size) const {
  const auto* name = std::get_if<std::string>(&dim);
  const auto found = name ? ranges_.find(*name) : ranges_.end();
  if (found == ranges_.end()) return;
  const auto [low, high] = found->second;
  const auto given = static_cast<std::int64_t>(size);
  if (given < low || given > high) {
    throw InvalidInputError(concat(where, " has ", *name, " ", size, ", but this bundle allows ",
                                   low, "..", high, "."));
  }
}

}  // namespace trt_pipeline::internal
