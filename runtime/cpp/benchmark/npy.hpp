// NumPy's file format, version 1.0: numpy.org/doc/stable/reference/generated/numpy.lib.format.html
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <vector>

namespace trt_pipeline::benchmark {

// One uint8 array in C order. std::runtime_error if the file cannot be written.
void write_npy(const std::filesystem::path& path, const std::vector<std::size_t>& shape,
               std::span<const std::uint8_t> numbers);

}  // namespace trt_pipeline::benchmark
