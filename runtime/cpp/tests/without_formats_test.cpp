#include <doctest/doctest.h>

#include "codec.hpp"
#include "destinations.hpp"
#include "errors.hpp"
#include "picture_reader.hpp"
#include "temporary_folder.hpp"

using namespace trt_pipeline::cli;
using trt_pipeline::internal::InvalidInputError;

TEST_CASE("a format that the build lacks names its library before any work") {
  const TemporaryFolder folder;
  CHECK_THROWS_WITH_AS(check_file(folder.path / "a.jpg", false),
                       doctest::Contains("built without libjpeg (libjpeg-dev)"), InvalidInputError);
  CHECK_THROWS_WITH_AS(check_file(folder.path / "a.webp", false),
                       doctest::Contains("built without libwebp (libwebp-dev)"), InvalidInputError);
  CHECK(&check_file(folder.path / "a.png", false) == &png_codec);
}

TEST_CASE("a file of such a format is recognized and not read") {
  const TemporaryFolder folder;
  folder.write("a.jpg", "\xFF\xD8\xFF and so on");
  CHECK_THROWS_WITH_AS(read_settings(folder.path / "a.jpg"),
                       doctest::Contains("built without libjpeg"), InvalidInputError);
}
