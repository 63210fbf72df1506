// Where there is no libFuzzer: changes the seed files at random for a number of seconds.
//
//     fuzzer -max_total_time=SECONDS SEED_FOLDER
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <iterator>
#include <random>
#include <string>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace {

using Bytes = std::vector<std::uint8_t>;

std::vector<Bytes> read_seeds(const std::string& folder) {
  std::vector<Bytes> seeds;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    std::ifstream stream(entry.path(), std::ios::binary);
    seeds.emplace_back(std::istreambuf_iterator<char>(stream), std::istreambuf_iterator<char>());
  }
  return seeds;
}

class Mutator {
 public:
  explicit Mutator(unsigned seed) : random_(seed) {}

  std::size_t below(std::size_t bound) { return bound ? random_() % bound : 0; }

  void change(Bytes& bytes, const Bytes& other) {
    const auto at = static_cast<std::ptrdiff_t>(below(bytes.size() + 1));
    const auto end = at + static_cast<std::ptrdiff_t>(below(bytes.size() + 1 - at));
    const auto from = static_cast<std::ptrdiff_t>(below(other.size() + 1));
    switch (below(5)) {
      case 0:
        if (!bytes.empty()) bytes[below(bytes.size())] ^= static_cast<std::uint8_t>(1 << below(8));
        break;
      case 1:
        bytes.insert(bytes.begin() + at, static_cast<std::uint8_t>(below(256)));
        break;
      case 2:
        bytes.erase(bytes.begin() + at, bytes.begin() + end);
        break;
      case 3:
        bytes.insert(bytes.begin() + at, other.begin() + from, other.end());
        break;
      default: {
        const Bytes part(bytes.begin() + at, bytes.begin() + end);
        bytes.insert(bytes.begin() + end, part.begin(), part.end());
      }
    }
    if (bytes.size() > 1 << 16) bytes.resize(1 << 16);
  }

 private:
  std::mt19937 random_;
};

}  // namespace

int main(int argc, char** argv) {
  const std::string option = "-max_total_time=";
  if (argc != 3 || !std::string(argv[1]).starts_with(option)) {
    std::cerr << "usage: fuzzer -max_total_time=SECONDS SEED_FOLDER\n";
    return 2;
  }
  const auto seeds = read_seeds(argv[2]);
  const auto end =
      std::chrono::steady_clock::now() + std::chrono::seconds(std::atoi(argv[1] + option.size()));
  Mutator mutator(1);
  std::size_t runs = 0;
  for (; !seeds.empty() && std::chrono::steady_clock::now() < end; ++runs) {
    Bytes bytes = seeds[mutator.below(seeds.size())];
    for (std::size_t i = mutator.below(8); i-- > 0;) {
      mutator.change(bytes, seeds[mutator.below(seeds.size())]);
    }
    LLVMFuzzerTestOneInput(bytes.data(), bytes.size());
  }
  std::cout << runs << " runs\n";
  return runs ? 0 : 1;
}
