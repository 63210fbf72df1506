// Models that OpenVINO compiled, kept on disk so that only the first process compiles.
//
// OpenVINO's own cache does that too. But it reshapes and hashes a model to find it again, a fifth
// of a small model's cold start, and puts the whole process into the C locale meanwhile,
// where threads that do so at once leave it.
#pragma once

#include <filesystem>
#include <functional>
#include <map>
#include <openvino/openvino.hpp>
#include <string>

namespace trt_pipeline::internal {

// Options of compile_model, by name.
using Options = std::map<std::string, std::string>;

// Those of one core on the CPU, for C++ and Python alike.
class CompiledModels {
 public:
  explicit CompiledModels(ov::Core core);

  // The compiled form of a model, which is made where it is not kept. source: all that makes
  // another model of it: hashes, shapes.
  ov::CompiledModel compiled(const std::string& source, const Options& options,
                             const std::function<ov::CompiledModel()>& make);

 private:
  ov::Core core_;
  std::filesystem::path folder_;  // empty if there is none
  std::string fits_;
};

}  // namespace trt_pipeline::internal
