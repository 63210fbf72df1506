#include "noise.hpp"

#include <doctest/doctest.h>

#include "errors.hpp"
#include "golden.hpp"

using namespace trt_pipeline::internal;

namespace {

template <class Stream>
double largest_difference(const nlohmann::json& draws, const nlohmann::json& counts, Stream stream,
                          double& steps) {
  double largest = 0;
  for (std::size_t i = 0; i < draws.size(); ++i) {
    const auto drawn = stream.draw(1, counts[i].get<std::size_t>());
    REQUIRE(drawn.size() == draws[i].size());
    for (std::size_t j = 0; j < drawn.size(); ++j) {
      const auto expected = draws[i][j].get<double>();
      largest = std::max(largest, std::abs(drawn[j] - expected));
      steps = std::max(steps, float32_steps(drawn[j], expected));
    }
  }
  return largest;
}

}  // namespace

TEST_CASE("a draw for fewer samples is of the first streams") {
  const auto streams = [] {
    std::vector<std::unique_ptr<NoiseStream>> made;
    for (std::uint64_t seed : {3, 4}) made.push_back(std::make_unique<SeedNoise>(seed));
    return PerSample(std::move(made));
  };
  PerSample first = streams(), both = streams();
  const auto alone = first.draw(1, 6), all = both.draw(2, 6);
  CHECK(alone == std::vector<float>(all.begin(), all.begin() + 6));
  const auto then = first.draw(2, 6);  // the second stream has not begun yet
  CHECK(std::equal(then.begin() + 6, then.end(), all.begin() + 6));
}

TEST_CASE("Philox gives NumPy's integers") {
  const auto noise = golden("noise.json");
  for (const auto& [seed, numbers] : noise["philox"].items()) {
    Philox bits(std::stoull(seed));
    for (const auto& number : numbers) CHECK(std::to_string(bits.next()) == number);
  }
}

TEST_CASE("SeedNoise gives Python's floats, to the last bit of float32") {
  const auto noise = golden("noise.json");
  double steps = 0;
  for (const auto& [seed, draws] : noise["seed"].items()) {
    largest_difference(draws, noise["counts"], SeedNoise(std::stoull(seed)), steps);
  }
  CHECK(steps <= 1);  // cosine and logarithm may differ in the last bit of float64
}

TEST_CASE("TorchGenerator gives Python's floats, to the last bits of float32") {
  const auto noise = golden("noise.json");
  double steps = 0;
  for (const auto& [seed, draws] : noise["torch"].items()) {
    const double largest =
        largest_difference(draws, noise["counts"], TorchGenerator(std::stoull(seed)), steps);
    CHECK(largest <= 4.8e-7);  // NumPy's float32 cosine and logarithm are not the C library's
  }
}

TEST_CASE("a sample's noise depends on its own seed alone") {
  std::vector<std::unique_ptr<NoiseStream>> streams;
  for (std::uint64_t seed : {3, 4}) streams.push_back(std::make_unique<SeedNoise>(seed));
  const auto both = PerSample(std::move(streams)).draw(2, 5);
  const auto alone = SeedNoise(4).draw(1, 5);
  CHECK(std::vector(both.begin() + 5, both.end()) == alone);
}

TEST_CASE("one seed gives the seeds after it") {
  CHECK(image_seeds({5}, 3) == std::vector<std::uint64_t>{5, 6, 7});
  CHECK(image_seeds({9, 1}, 2) == std::vector<std::uint64_t>{9, 1});
}

TEST_CASE("seeds that do not fit are refused") {
  CHECK_THROWS_WITH_AS(image_seeds({1, 2}, 3), "seeds has 2 entries for 3 images.",
                       InvalidInputError);
  CHECK_THROWS_AS(image_seeds({UINT64_MAX}, 2), InvalidInputError);
}
