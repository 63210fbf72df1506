#include "grid.hpp"

#include <algorithm>

#include "errors.hpp"

namespace trt_pipeline::cli {
namespace {

// Pillow opens no more without a warning, and other programs have such bounds as well.
constexpr std::size_t most_pixels = 89'478'485;

constexpr std::size_t channels = 3;

std::size_t columns_of(std::size_t count, std::optional<std::size_t> columns) {
  if (columns) return std::min(*columns, count);
  std::size_t root = 1;
  while (root * root < count) ++root;
  return root;
}

}  // namespace

PictureGrid::PictureGrid(std::size_t count, std::size_t height, std::size_t width,
                         std::optional<std::size_t> columns)
    : columns_(columns_of(count, columns)),
      rows_((count + columns_ - 1) / columns_),
      cell_height_(height),
      cell_width_(width) {
  if (this->height() * this->width() > most_pixels) {
    throw internal::InvalidInputError(
        internal::concat("a grid of ", count, " pictures would have ", this->width(), " × ",
                         this->height(), " pixels, more than ", most_pixels,
                         ", which most programs refuse to open. Make fewer pictures."));
  }
  pixels_.assign(this->height() * this->width() * channels, 255);
}

void PictureGrid::paste(std::size_t number, std::span<const std::uint8_t> pixels,
                        std::size_t height, std::size_t width) {
  const std::size_t top = row(number) * cell_height_, left = column(number) * cell_width_;
  for (std::size_t y = 0; y < height; ++y) {
    const std::size_t target = ((top + y) * this->width() + left) * channels;
    std::ranges::copy(pixels.subspan(y * width * channels, width * channels),
                      pixels_.begin() + static_cast<std::ptrdiff_t>(target));
  }
}

}  // namespace trt_pipeline::cli
