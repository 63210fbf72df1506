#include "npy.hpp"

#include <fstream>
#include <stdexcept>
#include <string>

namespace trt_pipeline::benchmark {
namespace {

constexpr std::size_t alignment = 64;  // of where the numbers begin
constexpr std::size_t preamble = 10;   // magic, version and length of the header

std::string header_of(const std::vector<std::size_t>& shape) {
  std::string text = "{'descr': '|u1', 'fortran_order': False, 'shape': (";
  for (const std::size_t size : shape) text += std::to_string(size) + ",";
  text += ")}";
  text.resize((preamble + text.size() + alignment) / alignment * alignment - preamble - 1, ' ');
  return text + "\n";
}

}  // namespace

void write_npy(const std::filesystem::path& path, const std::vector<std::size_t>& shape,
               std::span<const std::uint8_t> numbers) {
  const std::string header = header_of(shape);
  const char length[] = {static_cast<char>(header.size() & 0xff),
                         static_cast<char>(header.size() >> 8)};
  std::ofstream file(path, std::ios::binary);
  file.write("\x93NUMPY\x01\x00", 8).write(length, sizeof length) << header;
  file.write(reinterpret_cast<const char*>(numbers.data()),
             static_cast<std::streamsize>(numbers.size()));
  if (!file.flush()) throw std::runtime_error(path.string() + " cannot be written.");
}

}  // namespace trt_pipeline::benchmark
