# TensorRT or TensorRT for RTX, whichever TensorRT_LIBRARY_NAME names, and the CUDA runtime:
# TensorRT::TensorRT.
#
# TensorRT_ROOT names an unpacked release, CUDAToolkit_ROOT a toolkit. Where headers and libraries
# lie apart, as with pip's wheels, set TensorRT_INCLUDE_DIR, TensorRT_LIBRARY, CUDA_INCLUDE_DIR and
# CUDA_RUNTIME_LIBRARY.
find_path(TensorRT_INCLUDE_DIR NvInfer.h)
find_library(TensorRT_LIBRARY ${TensorRT_LIBRARY_NAME})
find_path(CUDA_INCLUDE_DIR cuda_runtime_api.h HINTS ${CUDAToolkit_ROOT} /usr/local/cuda
  PATH_SUFFIXES include)
find_library(CUDA_RUNTIME_LIBRARY cudart HINTS ${CUDAToolkit_ROOT} /usr/local/cuda
  PATH_SUFFIXES lib64 lib)

include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(TensorRT
  REQUIRED_VARS TensorRT_LIBRARY TensorRT_INCLUDE_DIR CUDA_RUNTIME_LIBRARY CUDA_INCLUDE_DIR)
if(TensorRT_FOUND AND NOT TARGET TensorRT::TensorRT)
  add_library(TensorRT::TensorRT INTERFACE IMPORTED)
  set_target_properties(TensorRT::TensorRT PROPERTIES
    INTERFACE_LINK_LIBRARIES "${TensorRT_LIBRARY};${CUDA_RUNTIME_LIBRARY}"
    INTERFACE_INCLUDE_DIRECTORIES "${TensorRT_INCLUDE_DIR};${CUDA_INCLUDE_DIR}")
endif()
