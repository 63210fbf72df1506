#include "noise.hpp"

#include <cmath>
#include <limits>
#include <numbers>
#include <numeric>

#include "errors.hpp"

namespace trt_pipeline::internal {
namespace {

constexpr double two_pi = 2 * std::numbers::pi;

struct Product {
  std::uint64_t high, low;
};

Product multiply(std::uint64_t a, std::uint64_t b) {
  __extension__ using Wide = unsigned __int128;
  const Wide product = Wide{a} * b;
  return {static_cast<std::uint64_t>(product >> 64), static_cast<std::uint64_t>(product)};
}

}  // namespace

std::uint64_t Philox::next() {
  if (used_ == block_.size()) next_block();
  return block_[used_++];
}

void Philox::next_block() {
  for (std::uint64_t& digit : counter_) {
    if (++digit != 0) break;
  }
  auto key = key_;
  auto state = counter_;
  for (int round = 0; round < 10; ++round) {
    const Product left = multiply(0xD2E7470EE14C6C93, state[0]);
    const Product right = multiply(0xCA5A826395121157, state[2]);
    state = {right.high ^ state[1] ^ key[0], right.low, left.high ^ state[3] ^ key[1], left.low};
    key[0] += 0x9E3779B97F4A7C15;
    key[1] += 0xBB67AE8584CAA73B;
  }
  block_ = state;
  used_ = 0;
}

std::vector<float> SeedNoise::draw(std::size_t samples, std::size_t count) {
  const std::size_t total = samples * count;
  std::vector<float> normal((total + 1) / 2 * 2);
  for (std::size_t i = 0; i < normal.size(); i += 2) {
    const double u = static_cast<double>((bits_.next() >> 11) + 1) * 0x1p-53;  // in (0, 1]
    const double v = static_cast<double>(bits_.next() >> 11) * 0x1p-53;        // in [0, 1)
    const double radius = std::sqrt(-2 * std::log(u));
    normal[i] = static_cast<float>(radius * std::cos(two_pi * v));
    normal[i + 1] = static_cast<float>(radius * std::sin(two_pi * v));
  }
  normal.resize(total);
  return normal;
}

std::vector<float> TorchGenerator::draw(std::size_t samples, std::size_t count) {
  const std::size_t total = samples * count;
  if (total >= 16) return fill(total);
  std::vector<float> normal(total);
  for (float& number : normal) number = static_cast<float>(next());
  return normal;
}

// Box-Muller on blocks of 16; a shorter tail redraws the last 16.
std::vector<float> TorchGenerator::fill(std::size_t count) {
  const auto uniform = [this] { return static_cast<float>(twister_() & 0xFFFFFF) * 0x1p-24f; };
  std::vector<float> normal(count);
  for (float& number : normal) number = uniform();
  for (std::size_t block = 0; block + 16 <= count; block += 16) box_muller_16(&normal[block]);
  if (count % 16) {
    float* tail = &normal[count - 16];
    for (std::size_t i = 0; i < 16; ++i) tail[i] = uniform();
    box_muller_16(tail);
  }
  return normal;
}

// Element j < 8 gives the radius and element j + 8 the angle.
void TorchGenerator::box_muller_16(float* block) {
  for (std::size_t j = 0; j < 8; ++j) {
    const float radius = std::sqrt(-2 * std::log(1 - block[j]));
    const float angle = static_cast<float>(two_pi) * block[j + 8];
    block[j] = radius * std::cos(angle);
    block[j + 8] = radius * std::sin(angle);
  }
}

// One number in float64; every second one is the sine kept from the one before.
double TorchGenerator::next() {
  if (spare_) return *std::exchange(spare_, std::nullopt);
  const double angle = two_pi * uniform53();
  const double radius = std::sqrt(-2 * std::log1p(-uniform53()));
  spare_ = radius * std::sin(angle);
  return radius * std::cos(angle);
}

double TorchGenerator::uniform53() {
  const std::uint64_t high = twister_(), low = twister_();
  return static_cast<double>((high << 32 | low) & ((std::uint64_t{1} << 53) - 1)) * 0x1p-53;
}

std::vector<float> PerSample::draw(std::size_t samples, std::size_t count) {
  std::vector<float> normal;
  normal.reserve(samples * count);
  for (std::size_t i = 0; i < samples; ++i) {
    const auto drawn = streams_.at(i)->draw(1, count);
    normal.insert(normal.end(), drawn.begin(), drawn.end());
  }
  return normal;
}

std::vector<std::uint64_t> image_seeds(const std::vector<std::uint64_t>& seeds, std::size_t batch) {
  if (seeds.size() > 1 || (seeds.size() == 1 && batch == 1)) {
    if (seeds.size() != batch) {
      throw InvalidInputError(concat("seeds has ", counted(seeds.size(), "entry", "entries"),
                                     " for ", counted(batch, "image"), "."));
    }
    return seeds;
  }
  const std::uint64_t first = seeds.empty() ? std::random_device{}() : seeds[0];
  const std::uint64_t last = std::numeric_limits<std::uint64_t>::max() - (batch - 1);
  if (first > last) {
    throw InvalidInputError(
        concat("seed must be an integer from 0 to ", last, ", got ", first, "."));
  }
  std::vector<std::uint64_t> all(batch);
  std::iota(all.begin(), all.end(), first);
  return all;
}

}  // namespace trt_pipeline::internal
