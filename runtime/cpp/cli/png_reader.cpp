#include "png_reader.hpp"

#include <png.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <memory>
#include <stdexcept>
#include <string>
#include <system_error>

namespace trt_pipeline::cli {
namespace {

namespace fs = std::filesystem;

constexpr png_uint_32 most_pixels_a_side = 1 << 16;
constexpr std::size_t signature_bytes = 8;

// libpng must not return from an error, and its own way out, longjmp, skips destructors.
[[noreturn]] void fail_reading(png_structp, png_const_charp message) {
  throw std::runtime_error(message);
}

void ignore(png_structp, png_const_charp) {}

class Reader {
 public:
  Reader() : png_(png_create_read_struct(PNG_LIBPNG_VER_STRING, nullptr, fail_reading, ignore)) {
    info_ = png_create_info_struct(png_);
  }
  ~Reader() { png_destroy_read_struct(&png_, &info_, nullptr); }
  Reader(const Reader&) = delete;
  Reader& operator=(const Reader&) = delete;

  Pixels read(std::FILE* file) {
    png_init_io(png_, file);
    png_set_sig_bytes(png_, signature_bytes);
    png_set_user_limits(png_, most_pixels_a_side, most_pixels_a_side);
    png_read_info(png_, info_);
    if (png_get_bit_depth(png_, info_) > 8) fail_reading(png_, "16 bits a channel, expected 8");
    png_set_expand(png_);
    png_set_gray_to_rgb(png_);
    png_set_add_alpha(png_, 255, PNG_FILLER_AFTER);
    png_set_interlace_handling(png_);
    png_read_update_info(png_, info_);
    Pixels pixels{png_get_image_height(png_, info_), png_get_image_width(png_, info_), {}};
    const std::size_t stride = png_get_rowbytes(png_, info_);
    pixels.rgba.resize(pixels.height * stride);
    std::vector<png_bytep> rows;
    for (std::size_t y = 0; y < pixels.height; ++y) rows.push_back(&pixels.rgba[y * stride]);
    png_read_image(png_, rows.data());
    png_read_end(png_, nullptr);
    return pixels;
  }

 private:
  png_structp png_;
  png_infop info_;
};

}  // namespace

Pixels read_png(const fs::path& path) {
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::fopen(path.c_str(), "rb"),
                                                             std::fclose);
  if (!file) {
    const std::string reason = std::error_code(errno, std::generic_category()).message();
    throw std::runtime_error(path.string() + " cannot be read: " + reason + ".");
  }
  std::array<png_byte, signature_bytes> signature{};
  const std::size_t count = std::fread(signature.data(), 1, signature.size(), file.get());
  if (count < signature.size() || png_sig_cmp(signature.data(), 0, signature.size())) {
    throw std::runtime_error(path.string() + " is no PNG. Convert it to one.");
  }
  try {
    return Reader().read(file.get());
  } catch (const std::exception& error) {
    throw std::runtime_error(path.string() + " cannot be read: " + error.what() + ".");
  }
}

std::vector<std::uint8_t> Pixels::on_white() const {
  std::vector<std::uint8_t> rgb;
  rgb.reserve(rgba.size() / 4 * 3);
  for (std::size_t i = 0; i < rgba.size(); i += 4) {
    const int alpha = rgba[i + 3];
    for (std::size_t c = 0; c < 3; ++c) {
      const int mixed = rgba[i + c] * alpha + 255 * (255 - alpha);
      rgb.push_back(static_cast<std::uint8_t>((mixed + 127) / 255));
    }
  }
  return rgb;
}

std::vector<std::uint8_t> Pixels::grey() const {
  std::vector<std::uint8_t> grey;
  grey.reserve(rgba.size() / 4);
  for (std::size_t i = 0; i < rgba.size(); i += 4) {
    const int luma = 19595 * rgba[i] + 38470 * rgba[i + 1] + 7471 * rgba[i + 2] + 0x8000;
    grey.push_back(static_cast<std::uint8_t>(luma >> 16));
  }
  return grey;
}

}  // namespace trt_pipeline::cli
