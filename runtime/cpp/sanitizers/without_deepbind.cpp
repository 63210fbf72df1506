// AddressSanitizer and ThreadSanitizer refuse RTLD_DEEPBIND, with which OpenVINO's threading
// library loads a part of itself: github.com/google/sanitizers/issues/611.
#include <dlfcn.h>

extern "C" __attribute__((visibility("default"))) void* dlopen(const char* file,
                                                               int mode) noexcept {
  using Open = void* (*)(const char*, int);
  static const auto next = reinterpret_cast<Open>(dlsym(RTLD_NEXT, "dlopen"));
  return next(file, mode & ~RTLD_DEEPBIND);
}
