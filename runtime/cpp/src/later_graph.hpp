// A graph that not every call needs, opened when it is first used.
#pragma once

#include <memory>
#include <mutex>
#include <string>

#include "backends/backend.hpp"

namespace trt_pipeline::internal {

// Safe to share between threads. The bundle and the backend outlive it.
class LaterGraph {
 public:
  LaterGraph(const Bundle& bundle, Backend& backend, std::string name)
      : bundle_(bundle), backend_(backend), name_(std::move(name)) {}

  // IntegrityError if its files are not as listed by now: the bundle's may have been checked long
  // ago.
  Graph& opened();

 private:
  const Bundle& bundle_;
  Backend& backend_;
  const std::string name_;
  std::unique_ptr<Graph> graph_;
  std::mutex mutex_;
};

}  // namespace trt_pipeline::internal
