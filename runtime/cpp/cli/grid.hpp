// Grids: one picture with many, row after row.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace trt_pipeline::cli {

// Takes pictures one by one, so that only the grid is kept in memory.
class PictureGrid {
 public:
  // Plans a grid for `count` pictures, each at most height × width pixels. columns: none makes it
  // about as many pictures wide as high. InvalidInputError for more pixels than most programs open.
  PictureGrid(std::size_t count, std::size_t height, std::size_t width,
              std::optional<std::size_t> columns);

  // Puts RGB pixels [height, width, 3] at a picture's place, from the cell's upper left corner.
  void paste(std::size_t number, std::span<const std::uint8_t> pixels, std::size_t height,
             std::size_t width);

  // Row and column of a picture, each from 0.
  std::size_t row(std::size_t number) const { return number / columns_; }
  std::size_t column(std::size_t number) const { return number % columns_; }

  std::size_t height() const { return rows_ * cell_height_; }
  std::size_t width() const { return columns_ * cell_width_; }
  // RGB [height, width, 3], white where no picture is.
  std::span<const std::uint8_t> pixels() const { return pixels_; }

 private:
  std::size_t columns_, rows_, cell_height_, cell_width_;
  std::vector<std::uint8_t> pixels_;
};

}  // namespace trt_pipeline::cli
