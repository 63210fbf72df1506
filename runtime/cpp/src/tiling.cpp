#include "tiling.hpp"

#include <algorithm>
#include <cmath>

namespace trt_pipeline::internal {
namespace {

constexpr double overlap = 0.25;  // part of a tile's side that it shares with the next one

std::size_t nearest(double number) {
  return static_cast<std::size_t>(std::nearbyint(number));  // half to even, as Python
}

// Where tiles begin so that neighbours overlap and the last one ends at the border.
std::vector<std::size_t> starts(std::size_t size, std::size_t tile) {
  const std::size_t last = size > tile ? size - tile : 0;
  const std::size_t stride = tile - nearest(static_cast<double>(tile) * overlap);
  const std::size_t steps = (last + stride - 1) / stride;
  std::vector<std::size_t> all;
  for (std::size_t i = 0; i < steps; ++i) {
    all.push_back(
        nearest(static_cast<double>(i) * (static_cast<double>(last) / static_cast<double>(steps))));
  }
  all.push_back(last);
  return all;
}

// Weights [pixels] that rise from a border over the overlap, and fall to the other one.
std::vector<float> ramp(std::size_t pixels, std::size_t factor, std::size_t tile) {
  const auto shared = static_cast<double>(
      std::max<std::size_t>(1, nearest(static_cast<double>(tile) * overlap)) * factor);
  std::vector<float> weights(pixels);
  for (std::size_t i = 0; i < pixels; ++i) {
    const double distance = static_cast<double>(std::min(i, pixels - 1 - i)) + 0.5;
    weights[i] = static_cast<float>(std::min(distance / shared, 1.0));
  }
  return weights;
}

// The latents [B, C, rows, columns] of one tile.
Tensor cut(const Tensor& latents, std::size_t top, std::size_t left, std::size_t tile) {
  Shape shape = latents.shape;
  shape[2] = std::min(tile, shape[2] - top);
  shape[3] = std::min(tile, shape[3] - left);
  Tensor piece(DType::float32, shape);
  const std::size_t height = latents.shape[2], width = latents.shape[3];
  auto to = piece.as<float>().begin();
  for (std::size_t plane = 0; plane < shape[0] * shape[1]; ++plane) {
    for (std::size_t row = 0; row < shape[2]; ++row) {
      const std::size_t from = (plane * height + top + row) * width + left;
      to = std::copy_n(latents.as<float>().begin() + static_cast<std::ptrdiff_t>(from), shape[3],
                       to);
    }
  }
  return piece;
}

// Sums of weighted tiles [B, H, W, 3], and of their weights [H, W].
class Canvas {
 public:
  Canvas(std::size_t batch, std::size_t height, std::size_t width)
      : shape_{batch, height, width, 3}, pixels_(count_of(shape_)), weights_(height * width) {}

  // top, left: in pixels; rows, columns: the weights of the piece's pixels.
  void add(const Tensor& piece, std::size_t top, std::size_t left, const std::vector<float>& rows,
           const std::vector<float>& columns) {
    const auto bytes = piece.as<std::uint8_t>();
    for (std::size_t y = 0; y < rows.size(); ++y) {
      for (std::size_t x = 0; x < columns.size(); ++x) {
        const float weight = rows[y] * columns[x];
        weights_[(top + y) * shape_[2] + left + x] += weight;
        for (std::size_t b = 0; b < shape_[0]; ++b) {
          const std::size_t to = ((b * shape_[1] + top + y) * shape_[2] + left + x) * 3;
          const std::size_t from = ((b * rows.size() + y) * columns.size() + x) * 3;
          for (std::size_t c = 0; c < 3; ++c) {
            pixels_[to + c] += weight * static_cast<float>(bytes[from + c]);
          }
        }
      }
    }
  }

  Tensor mean() const {
    Tensor picture(DType::uint8, shape_);
    const auto bytes = picture.as<std::uint8_t>();
    for (std::size_t i = 0; i < bytes.size(); ++i) {
      const float weight = weights_[i / 3 % weights_.size()];
      bytes[i] = static_cast<std::uint8_t>(std::nearbyint(pixels_[i] / weight));
    }
    return picture;
  }

 private:
  Shape shape_;
  std::vector<float> pixels_;
  std::vector<float> weights_;
};

}  // namespace

Tensor decode_in_tiles(const Decode& decode, const Tensor& latents, std::size_t tile,
                       std::size_t factor) {
  const std::size_t height = latents.shape[2], width = latents.shape[3];
  if (height <= tile && width <= tile) return decode(latents);
  Canvas canvas(latents.shape[0], height * factor, width * factor);
  for (std::size_t top : starts(height, tile)) {
    for (std::size_t left : starts(width, tile)) {
      const Tensor piece = decode(cut(latents, top, left, tile));
      canvas.add(piece, top * factor, left * factor, ramp(piece.shape[1], factor, tile),
                 ramp(piece.shape[2], factor, tile));
    }
  }
  return canvas.mean();
}

}  // namespace trt_pipeline::internal
