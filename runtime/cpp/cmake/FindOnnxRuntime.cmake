# ONNX Runtime's C API: OnnxRuntime::OnnxRuntime.
#
# OnnxRuntime_ROOT names a release or an installed package. A pip wheel has the library but no
# headers: name its onnxruntime/capi folder as OnnxRuntime_LIBRARY_DIR and the folder with
# onnxruntime_c_api.h, of the same or an older version, as OnnxRuntime_INCLUDE_DIR.
find_path(OnnxRuntime_INCLUDE_DIR onnxruntime_c_api.h
  PATH_SUFFIXES onnxruntime onnxruntime/core/session)
if(OnnxRuntime_LIBRARY_DIR)
  file(GLOB OnnxRuntime_FOUND_LIBRARY ${OnnxRuntime_LIBRARY_DIR}/libonnxruntime.so*)
  # The wheel lacks the links that programs look for, so they are made here.
  set(OnnxRuntime_LINKS ${CMAKE_BINARY_DIR}/onnxruntime)
  file(MAKE_DIRECTORY ${OnnxRuntime_LINKS})
  foreach(name libonnxruntime.so.1 libonnxruntime.so)
    list(GET OnnxRuntime_FOUND_LIBRARY 0 target)
    file(CREATE_LINK ${target} ${OnnxRuntime_LINKS}/${name} SYMBOLIC)
  endforeach()
  set(OnnxRuntime_WHEEL_LINK ${OnnxRuntime_LINKS}/libonnxruntime.so.1)
  set(OnnxRuntime_LIBRARY ${OnnxRuntime_LINKS}/libonnxruntime.so CACHE FILEPATH "ONNX Runtime")
endif()
find_library(OnnxRuntime_LIBRARY onnxruntime)

include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(OnnxRuntime
  REQUIRED_VARS OnnxRuntime_LIBRARY OnnxRuntime_INCLUDE_DIR)
if(OnnxRuntime_FOUND AND NOT TARGET OnnxRuntime::OnnxRuntime)
  add_library(OnnxRuntime::OnnxRuntime SHARED IMPORTED)
  set_target_properties(OnnxRuntime::OnnxRuntime PROPERTIES
    IMPORTED_LOCATION ${OnnxRuntime_LIBRARY}
    INTERFACE_INCLUDE_DIRECTORIES ${OnnxRuntime_INCLUDE_DIR})
endif()
