#include "exif.hpp"

#include <doctest/doctest.h>

#include <random>

#include "errors.hpp"

using namespace trt_pipeline::cli;

namespace {

// A big-endian block whose UserComment is of type 1, as Pillow writes it.
std::string block_with(const std::string& comment) {
  std::string block("MM\0\x2A\0\0\0\x08\0\x01\x87\x69\0\x04\0\0\0\x01\0\0\0\x1A\0\0\0\0", 26);
  block += std::string("\0\x01\x92\x86\0\x01\0\0", 8);
  block.push_back(static_cast<char>(comment.size() >> 8));
  block.push_back(static_cast<char>(comment.size() & 0xFF));
  return block + std::string("\0\0\0\x2C\0\0\0\0", 8) + comment;
}

Picture picture() {
  PictureSettings settings;
  settings.prompt = "ein roter Kreis ○";
  settings.model = "tiny";
  return {{}, 0, 0, settings};
}

}  // namespace

TEST_CASE("EXIF that was written is read back") {
  const auto entries = read_exif(exif_of(picture(), png_codec));
  CHECK(entries.orientation == 1);
  REQUIRE(entries.settings);
  CHECK(*entries.settings == settings_text(*picture().settings, png_codec));
}

TEST_CASE("a picture without settings has EXIF without any") {
  CHECK(!read_exif(exif_of({{}, 0, 0, std::nullopt}, png_codec)).settings);
}

TEST_CASE("a comment is read in every character code that holds settings") {
  using namespace std::string_literals;
  CHECK(read_exif(block_with("ASCII\0\0\0{}"s)).settings == "{}");
  CHECK(read_exif(block_with("UNICODE\0{\0\xE9\0}\0"s)).settings == "{é}");
  CHECK(read_exif(block_with("UNICODE\0\xFE\xFF\0{\xD8\x3D\xDE\0\0}"s)).settings == "{😀}");
  CHECK(!read_exif(block_with("JIS\0\0\0\0\0holiday"s)).settings);
}

TEST_CASE("a block of any bytes is read without a fault") {
  const std::string whole = exif_of(picture(), png_codec);
  std::mt19937 random(0);
  const auto below = [&](std::size_t end) { return random() % end; };
  int lost = 0;
  for (int round = 0; round < 2000; ++round) {
    std::string damaged = whole.substr(0, below(whole.size() + 1));
    for (int i = 0; i < 3 && !damaged.empty(); ++i) {
      damaged[below(damaged.size())] = static_cast<char>(below(256));
    }
    lost += !read_exif(damaged).settings;
  }
  CHECK(lost > 0);
}
