#include "png.hpp"

#include <png.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <memory>
#include <stdexcept>
#include <system_error>

#include "errors.hpp"

namespace trt_pipeline::cli {
namespace {

using internal::concat;
using internal::InvalidInputError;

constexpr png_uint_32 max_side = 1 << 16;  // pixels that are read
constexpr std::size_t signature_bytes = 8;

// libpng must not return from an error, and its own way out, longjmp, skips destructors.
[[noreturn]] void fail(png_structp, png_const_charp message) {
  throw std::runtime_error(message);
}

void ignore(png_structp, png_const_charp) {}

void append(png_structp png, png_bytep bytes, std::size_t count) {
  auto& file = *static_cast<std::string*>(png_get_io_ptr(png));
  file.append(reinterpret_cast<const char*>(bytes), count);
}

void flush(png_structp) {}

class PngWriter {
 public:
  PngWriter() : png_(png_create_write_struct(PNG_LIBPNG_VER_STRING, nullptr, fail, ignore)) {
    info_ = png_create_info_struct(png_);
    png_set_write_fn(png_, &file_, append, flush);
  }
  ~PngWriter() { png_destroy_write_struct(&png_, &info_); }
  PngWriter(const PngWriter&) = delete;
  PngWriter& operator=(const PngWriter&) = delete;

  // tEXt holds Latin-1 only, so other text goes into iTXt, as Pillow does it.
  void add(const Chunk& chunk) {
    const bool ascii = std::ranges::all_of(chunk.text, [](char c) { return c >= 0; });
    png_text text{};
    text.compression = ascii ? PNG_TEXT_COMPRESSION_NONE : PNG_ITXT_COMPRESSION_NONE;
    text.key = const_cast<char*>(chunk.keyword);
    text.text = const_cast<char*>(chunk.text.c_str());
    text.text_length = ascii ? chunk.text.size() : 0;
    text.itxt_length = ascii ? 0 : chunk.text.size();
    png_set_text(png_, info_, &text, 1);
  }

  std::string write(std::span<const std::uint8_t> pixels, std::size_t height, std::size_t width) {
    png_set_IHDR(png_, info_, static_cast<png_uint_32>(width), static_cast<png_uint_32>(height), 8,
                 PNG_COLOR_TYPE_RGB, PNG_INTERLACE_NONE, PNG_COMPRESSION_TYPE_DEFAULT,
                 PNG_FILTER_TYPE_DEFAULT);
    png_write_info(png_, info_);
    for (std::size_t y = 0; y < height; ++y) {
      png_write_row(png_, pixels.subspan(y * width * 3, width * 3).data());
    }
    png_write_end(png_, info_);
    return std::move(file_);
  }

 private:
  std::string file_;
  png_structp png_;
  png_infop info_ = nullptr;
};

class PngReader {
 public:
  explicit PngReader(std::FILE* file)
      : png_(png_create_read_struct(PNG_LIBPNG_VER_STRING, nullptr, fail, ignore)),
        info_(png_create_info_struct(png_)) {
    png_init_io(png_, file);
    png_set_sig_bytes(png_, signature_bytes);
    png_set_user_limits(png_, max_side, max_side);
  }
  ~PngReader() { png_destroy_read_struct(&png_, &info_, nullptr); }
  PngReader(const PngReader&) = delete;
  PngReader& operator=(const PngReader&) = delete;

  Pixels pixels() {
    png_read_info(png_, info_);
    if (png_get_bit_depth(png_, info_) > 8) fail(png_, "16 bits a channel, expected 8");
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

bool Pixels::is_opaque() const {
  for (std::size_t i = 3; i < rgba.size(); i += 4) {
    if (rgba[i] != 255) return false;
  }
  return true;
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

Pixels read_png(const std::string& name, const std::filesystem::path& path) {
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::fopen(path.c_str(), "rb"),
                                                             std::fclose);
  png_byte signature[signature_bytes] = {};
  if (!file || (std::fread(signature, 1, signature_bytes, file.get()), std::ferror(file.get()))) {
    throw InvalidInputError(
        concat(name, " cannot be read: ", std::generic_category().message(errno), "."));
  }
  if (png_sig_cmp(signature, 0, signature_bytes)) {
    throw InvalidInputError(concat(name, " is not a PNG."));
  }
  try {
    return PngReader(file.get()).pixels();
  } catch (const std::runtime_error& error) {
    throw InvalidInputError(concat(name, " cannot be read: ", error.what(), "."));
  }
}

std::string encoded_png(std::span<const std::uint8_t> pixels, std::size_t height, std::size_t width,
                        const std::vector<Chunk>& chunks) {
  PngWriter writer;
  for (const Chunk& chunk : chunks) writer.add(chunk);
  return writer.write(pixels, height, width);
}

}  // namespace trt_pipeline::cli
