#include "inpainting.hpp"

#include <algorithm>
#include <array>
#include <cmath>

namespace trt_pipeline::internal {
namespace {

using Colour = std::array<float, 3>;

// A colour for each pixel, and where it is known.
struct Field {
  Field(std::size_t height, std::size_t width)
      : height(height), width(width), values(height * width), known(height * width) {}

  std::size_t height, width;
  std::vector<Colour> values;
  std::vector<std::uint8_t> known;
};

float mixed(float latent, float noise, float alpha) {
  return std::sqrt(alpha) * latent + std::sqrt(1 - alpha) * noise;
}

// Means of the known values in blocks of 2 × 2.
Field halved(const Field& fine) {
  Field coarse((fine.height + 1) / 2, (fine.width + 1) / 2);
  std::vector<int> counts(coarse.known.size());
  for (std::size_t y = 0; y < fine.height; ++y) {
    for (std::size_t x = 0; x < fine.width; ++x) {
      const std::size_t from = y * fine.width + x, to = y / 2 * coarse.width + x / 2;
      if (!fine.known[from]) continue;
      for (std::size_t c = 0; c < 3; ++c) coarse.values[to][c] += fine.values[from][c];
      coarse.known[to] = 1;
      ++counts[to];
    }
  }
  for (std::size_t i = 0; i < counts.size(); ++i) {
    for (float& value : coarse.values[i]) value /= static_cast<float>(std::max(counts[i], 1));
  }
  return coarse;
}

struct Pair {
  std::size_t near, far;
};

// Where a place at twice the resolution lies between places; three quarters are the near one's.
Pair neighbours(std::size_t fine, std::size_t size) {
  const std::size_t near = fine / 2;
  const std::size_t before = near ? near - 1 : 0, after = std::min(near + 1, size - 1);
  return {near, fine % 2 ? after : before};
}

// One pixel at twice the height and width, interpolated linearly.
Colour doubled(const Field& coarse, std::size_t y, std::size_t x) {
  const Pair rows = neighbours(y, coarse.height), columns = neighbours(x, coarse.width);
  Colour colour{};
  for (std::size_t c = 0; c < 3; ++c) {
    const auto column = [&](std::size_t at) {
      return 0.75f * coarse.values[rows.near * coarse.width + at][c] +
             0.25f * coarse.values[rows.far * coarse.width + at][c];
    };
    colour[c] = 0.75f * column(columns.near) + 0.25f * column(columns.far);
  }
  return colour;
}

Colour mean_of_known(const Field& field) {
  Colour sum{};
  float count = 0;
  for (std::size_t i = 0; i < field.known.size(); ++i) {
    if (!field.known[i]) continue;
    for (std::size_t c = 0; c < 3; ++c) sum[c] += field.values[i][c];
    ++count;
  }
  for (float& value : sum) value /= std::max(count, 1.0f);
  return sum;
}

// Replaces what is unknown by a smooth continuation: pull-push over a pyramid.
void spread(Field& field) {
  if (std::ranges::find(field.known, 0) == field.known.end()) return;
  const bool end = std::min(field.height, field.width) == 1;
  Field coarse = end ? Field(1, 1) : halved(field);
  if (end) coarse.values[0] = mean_of_known(field);
  if (!end) spread(coarse);
  for (std::size_t y = 0; y < field.height; ++y) {
    for (std::size_t x = 0; x < field.width; ++x) {
      const std::size_t at = y * field.width + x;
      if (!field.known[at]) field.values[at] = end ? coarse.values[0] : doubled(coarse, y, x);
    }
  }
}

std::uint8_t rounded(float value) {
  return static_cast<std::uint8_t>(std::clamp(std::nearbyint(value), 0.0f, 255.0f));
}

// One picture's painted pixels become the merged ones; `field` is as large as it.
void merge(std::uint8_t* painted, const std::uint8_t* given, const std::uint8_t* repainted,
           Field& field) {
  const std::size_t pixels = field.known.size();
  if (std::all_of(repainted, repainted + pixels, [](std::uint8_t one) { return one; })) return;
  for (std::size_t i = 0; i < pixels; ++i) {
    field.known[i] = !repainted[i];
    for (std::size_t c = 0; c < 3; ++c) {
      field.values[i][c] = static_cast<float>(given[3 * i + c] - painted[3 * i + c]);
    }
  }
  spread(field);
  for (std::size_t i = 0; i < 3 * pixels; ++i) {
    const float offset = field.values[i / 3][i % 3];
    painted[i] = field.known[i / 3] ? given[i] : rounded(static_cast<float>(painted[i]) + offset);
  }
}

}  // namespace

void KnownLatents::restore(Tensor& current, float alpha) const {
  const auto clean = latents.as<float>(), start = noise.as<float>();
  const auto numbers = current.as<float>();
  const auto again = repainted.as<std::uint8_t>();
  const std::size_t channels = latents.shape[1], area = latents.shape[2] * latents.shape[3];
  for (std::size_t i = 0; i < numbers.size(); ++i) {
    const std::size_t sample = i / (channels * area);
    if (!again[sample * area + i % area]) numbers[i] = mixed(clean[i], start[i], alpha);
  }
}

Tensor noised(const Tensor& latents, const Tensor& noise, float alpha) {
  Tensor made(DType::float32, latents.shape);
  std::ranges::transform(latents.as<float>(), noise.as<float>(), made.as<float>().begin(),
                         [&](float latent, float z) { return mixed(latent, z, alpha); });
  return made;
}

Tensor repainted_latents(const ImageInput& image, std::size_t factor, bool any) {
  const std::size_t width = image.pixels.shape[2];
  Tensor latents(DType::uint8,
                 {image.masks(), image.pixels.shape[1] / factor, image.pixels.shape[2] / factor});
  const auto again = latents.as<std::uint8_t>();
  for (std::size_t i = 0; i < image.repainted.size(); ++i) {
    const std::size_t row = i / width, column = i % width;  // rows of all masks, one after another
    const bool counts = any || (row % factor == 0 && column % factor == 0);
    if (counts && image.repainted[i]) {
      again[row / factor * (width / factor) + column / factor] = 1;
    }
  }
  return latents;
}

Tensor paste(const Tensor& painted, const ImageInput& given) {
  Tensor merged = painted;
  const std::size_t pixels = given.area(), count = painted.shape[0];
  Field field(painted.shape[1], painted.shape[2]);
  for (std::size_t sample = 0; sample < count; ++sample) {
    const std::size_t image = entry_of(sample, given.images(), count);
    const std::size_t mask = entry_of(sample, given.masks(), count);
    merge(merged.as<std::uint8_t>().data() + 3 * pixels * sample,
          given.pixels.as<std::uint8_t>().data() + 3 * pixels * image,
          given.repainted.data() + pixels * mask, field);
  }
  return merged;
}

}  // namespace trt_pipeline::internal
