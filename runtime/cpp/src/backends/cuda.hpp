// Owners of what the CUDA runtime hands out.
#pragma once

#include <cuda_runtime_api.h>

#include <memory>
#include <string>

#include "../errors.hpp"

namespace trt_pipeline::internal {

// BackendError with CUDA's message, unless the status is fine.
inline void check_cuda(cudaError_t status, const std::string& what) {
  if (status != cudaSuccess) {
    throw BackendError(concat(what, ": CUDA says ", cudaGetErrorString(status), "."));
  }
}

// Owns a handle; its destructor has nobody to tell of a failure.
template <class Handle, cudaError_t (*Free)(Handle)>
struct CudaDeleter {
  using pointer = Handle;
  void operator()(Handle handle) const { Free(handle); }
};
template <class Handle, cudaError_t (*Free)(Handle)>
using CudaOwner = std::unique_ptr<Handle, CudaDeleter<Handle, Free>>;

using CudaStream = CudaOwner<cudaStream_t, cudaStreamDestroy>;
using CudaGraph = CudaOwner<cudaGraph_t, cudaGraphDestroy>;
using CudaGraphExec = CudaOwner<cudaGraphExec_t, cudaGraphExecDestroy>;
using CudaMemory = CudaOwner<void*, cudaFree>;

inline CudaStream make_stream() {
  cudaStream_t stream = nullptr;
  check_cuda(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), "no stream");
  return CudaStream(stream);
}

inline CudaMemory allocate(std::size_t bytes) {
  void* memory = nullptr;
  check_cuda(cudaMalloc(&memory, bytes), concat("no ", bytes, " bytes of GPU memory"));
  return CudaMemory(memory);
}

// One CUDA graph of what `work` enqueues on the stream, without running it. BackendError if CUDA or
// the work refuses.
template <class Work>
CudaGraphExec record(cudaStream_t stream, const std::string& what, Work work) {
  check_cuda(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal), what);
  cudaGraph_t captured = nullptr;
  try {
    work();
  } catch (...) {
    // An invalidated capture ends with an error, which must not meet the next call.
    if (cudaStreamEndCapture(stream, &captured) != cudaSuccess) cudaGetLastError();
    const CudaGraph abandoned(captured);
    throw;
  }
  const cudaError_t ended = cudaStreamEndCapture(stream, &captured);
  const CudaGraph owned(captured);
  if (ended != cudaSuccess) cudaGetLastError();
  check_cuda(ended, what);
  cudaGraphExec_t instance = nullptr;
  check_cuda(cudaGraphInstantiate(&instance, captured, 0), what);
  return CudaGraphExec(instance);
}

}  // namespace trt_pipeline::internal
