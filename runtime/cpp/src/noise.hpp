// Standard normal noise from seeds: the project's own streams and torch's.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <random>
#include <utility>
#include <vector>

namespace trt_pipeline::internal {

// Where a call takes its noise from: the latents first, then a draw a step if needed.
class NoiseStream {
 public:
  virtual ~NoiseStream() = default;
  // The stream's next standard normal numbers, `count` for each of `samples` samples.
  virtual std::vector<float> draw(std::size_t samples, std::size_t count) = 0;
};

// Philox4x64-10 (Salmon et al. 2011) with the key (seed, 0), as numpy.random.Philox(key=seed).
class Philox {
 public:
  explicit Philox(std::uint64_t seed) : key_{seed, 0} {}
  std::uint64_t next();

 private:
  void next_block();

  std::array<std::uint64_t, 2> key_;
  std::array<std::uint64_t, 4> counter_{};
  std::array<std::uint64_t, 4> block_{};
  std::size_t used_ = 4;
};

// The noise of one image: Philox and Box-Muller, in float64 and rounded to float32. A draw of n
// numbers takes 2·ceil(n / 2) outputs of Philox.
class SeedNoise : public NoiseStream {
 public:
  explicit SeedNoise(std::uint64_t seed) : bits_(seed) {}
  std::vector<float> draw(std::size_t samples, std::size_t count) override;

 private:
  Philox bits_;
};

// torch's CPU generator after torch.manual_seed(seed), to the last bits of float32.
// Source: ATen's DistributionTemplates.h (normal_fill) and DistributionsHelper.h.
class TorchGenerator : public NoiseStream {
 public:
  explicit TorchGenerator(std::uint64_t seed) : twister_(static_cast<std::uint32_t>(seed)) {}
  std::vector<float> draw(std::size_t samples, std::size_t count) override;

 private:
  std::vector<float> fill(std::size_t count);
  // Replaces 16 floats from `block` on.
  void box_muller_16(float* block);
  double next();
  double uniform53();

  std::mt19937 twister_;
  std::optional<double> spare_;
};

// One stream for each sample of a batch, so that no sample's noise depends on the others. A draw
// for fewer samples is of the first ones.
class PerSample : public NoiseStream {
 public:
  explicit PerSample(std::vector<std::unique_ptr<NoiseStream>> streams)
      : streams_(std::move(streams)) {}
  std::vector<float> draw(std::size_t samples, std::size_t count) override;

 private:
  std::vector<std::unique_ptr<NoiseStream>> streams_;
};

// One seed for each image of a batch: s gives s, s + 1, …; a list is taken as it is; none starts
// from a random s. InvalidInputError for a list of another length or seeds past 2^64 - 1.
std::vector<std::uint64_t> image_seeds(const std::vector<std::uint64_t>& seeds, std::size_t batch);

}  // namespace trt_pipeline::internal
