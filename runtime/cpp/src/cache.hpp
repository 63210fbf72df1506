// A cache that forgets what was not used for longest.
#pragma once

#include <list>
#include <memory>
#include <mutex>

#include "graph_outputs.hpp"

namespace trt_pipeline::internal {

// Graphs' outputs by key, at most max_bytes of them; safe to share between threads.
template <class Key>
class OutputCache {
 public:
  explicit OutputCache(std::size_t max_bytes) : max_bytes_(max_bytes) {}

  // The outputs of this key, made now unless they are held.
  template <class Make>
  SharedOutputs get(const Key& key, Make make) {
    if (auto held = find(key)) return held;
    const SharedOutputs made = make();
    const std::lock_guard lock(mutex_);
    entries_.push_front({key, made});
    bytes_ += bytes_of(*made);
    while (bytes_ > max_bytes_) {
      bytes_ -= bytes_of(*entries_.back().outputs);
      entries_.pop_back();
    }
    return made;
  }

 private:
  struct Entry {
    Key key;
    SharedOutputs outputs;
  };

  static std::size_t bytes_of(const Tensors& outputs) {
    std::size_t bytes = 0;
    for (const auto& [name, tensor] : outputs) bytes += tensor.bytes.size();
    return bytes;
  }

  SharedOutputs find(const Key& key) {
    const std::lock_guard lock(mutex_);
    for (auto entry = entries_.begin(); entry != entries_.end(); ++entry) {
      if (entry->key != key) continue;
      entries_.splice(entries_.begin(), entries_, entry);
      return entries_.front().outputs;
    }
    return nullptr;
  }

  const std::size_t max_bytes_;
  std::size_t bytes_ = 0;
  std::list<Entry> entries_;  // last used first
  std::mutex mutex_;
};

}  // namespace trt_pipeline::internal
