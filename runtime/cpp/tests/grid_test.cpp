#include "grid.hpp"

#include <doctest/doctest.h>

#include "errors.hpp"

using trt_pipeline::cli::PictureGrid;
using trt_pipeline::internal::InvalidInputError;

TEST_CASE("a grid is about as wide as high") {
  const std::size_t widths[] = {1, 2, 2, 2, 3, 3, 3, 3, 3, 4};
  for (std::size_t count = 1; count <= 10; ++count) {
    CHECK(PictureGrid(count, 1, 1, std::nullopt).width() == widths[count - 1]);
  }
}

TEST_CASE("a grid has no more columns than pictures") {
  const PictureGrid grid(3, 2, 5, 7);
  CHECK(grid.width() == 15);
  CHECK(grid.height() == 2);
}

TEST_CASE("a picture lies at its place and white is around it") {
  PictureGrid grid(3, 1, 2, 2);
  grid.paste(0, std::vector<std::uint8_t>{1, 2, 3, 4, 5, 6}, 1, 2);
  grid.paste(2, std::vector<std::uint8_t>{7, 8, 9}, 1, 1);
  const auto pixels = grid.pixels();
  CHECK(std::vector(pixels.begin(), pixels.end()) ==
        std::vector<std::uint8_t>{1, 2, 3, 4,   5,   6,   255, 255, 255, 255, 255, 255,
                                  7, 8, 9, 255, 255, 255, 255, 255, 255, 255, 255, 255});
  CHECK(grid.row(2) == 1);
  CHECK(grid.column(2) == 0);
}

TEST_CASE("a grid that most programs refuse to open is refused") {
  CHECK_THROWS_WITH_AS(PictureGrid(10'000, 256, 256, std::nullopt),
                       doctest::Contains("25600 × 25600 pixels"), InvalidInputError);
}
