// A cache that forgets what was not used for longest.
#pragma once

#include <list>
#include <memory>
#include <mutex>

#include "tensor.hpp"

namespace trt_pipeline::internal {

// Tensors by key, at most max_bytes of them; safe to share between threads.
template <class Key>
class TensorCache {
 public:
  explicit TensorCache(std::size_t max_bytes) : max_bytes_(max_bytes) {}

  // The tensor of this key, made now unless it is held.
  template <class Make>
  std::shared_ptr<const Tensor> get(const Key& key, Make make) {
    if (auto held = find(key)) return held;
    const std::shared_ptr<const Tensor> made = make();
    const std::lock_guard lock(mutex_);
    entries_.push_front({key, made});
    bytes_ += made->bytes.size();
    while (bytes_ > max_bytes_) {
      bytes_ -= entries_.back().tensor->bytes.size();
      entries_.pop_back();
    }
    return made;
  }

 private:
  struct Entry {
    Key key;
    std::shared_ptr<const Tensor> tensor;
  };

  std::shared_ptr<const Tensor> find(const Key& key) {
    const std::lock_guard lock(mutex_);
    for (auto entry = entries_.begin(); entry != entries_.end(); ++entry) {
      if (entry->key != key) continue;
      entries_.splice(entries_.begin(), entries_, entry);
      return entries_.front().tensor;
    }
    return nullptr;
  }

  const std::size_t max_bytes_;
  std::size_t bytes_ = 0;
  std::list<Entry> entries_;  // last used first
  std::mutex mutex_;
};

}  // namespace trt_pipeline::internal
