#include "golden.hpp"

#include <fstream>

namespace trt_pipeline::internal {

nlohmann::json golden(const std::string& name) {
  std::ifstream stream(std::string(GOLDEN) + "/" + name);
  return nlohmann::json::parse(stream);
}

}  // namespace trt_pipeline::internal
