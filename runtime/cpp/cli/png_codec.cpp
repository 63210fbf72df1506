// PNG: the settings lie in text chunks, as the Python package writes them.
#include <png.h>

#include <algorithm>
#include <cstring>
#include <stdexcept>

#include "ai_mark.hpp"
#include "codec.hpp"
#include "trt_pipeline.h"

namespace trt_pipeline::cli {
namespace {

constexpr const char* settings_chunk = "trt-pipeline";  // keyword of the settings as JSON
constexpr png_uint_32 most_pixels_a_side = 1 << 16;     // that are read
constexpr png_alloc_size_t most_chunk_bytes = 2 * max_settings_bytes;  // unpacked
constexpr std::size_t signature_bytes = 8;

struct Chunk {
  const char* keyword;
  std::string text;
};

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

  std::string write(const Picture& picture, const std::vector<Chunk>& chunks) {
    png_set_IHDR(png_, info_, static_cast<png_uint_32>(picture.width),
                 static_cast<png_uint_32>(picture.height), 8, PNG_COLOR_TYPE_RGB,
                 PNG_INTERLACE_NONE, PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
    for (const Chunk& chunk : chunks) add_text(chunk);
    png_write_info(png_, info_);
    const std::size_t stride = picture.width * 3;
    for (std::size_t y = 0; y < picture.height; ++y) {
      png_write_row(png_, picture.pixels.subspan(y * stride, stride).data());
    }
    png_write_end(png_, info_);
    return std::move(file_);
  }

 private:
  // tEXt holds Latin-1 only, so other text goes into iTXt, as Pillow does it.
  void add_text(const Chunk& chunk) {
    const bool ascii = std::ranges::all_of(chunk.text, [](char c) { return c >= 0; });
    png_text text{};
    text.compression = ascii ? PNG_TEXT_COMPRESSION_NONE : PNG_ITXT_COMPRESSION_NONE;
    text.key = const_cast<char*>(chunk.keyword);
    text.text = const_cast<char*>(chunk.text.c_str());
    text.text_length = ascii ? chunk.text.size() : 0;
    text.itxt_length = ascii ? 0 : chunk.text.size();
    png_set_text(png_, info_, &text, 1);
  }

  std::string file_;
  png_structp png_;
  png_infop info_ = nullptr;
};

class PngReader {
 public:
  explicit PngReader(std::string_view bytes)
      : left_(bytes),
        png_(png_create_read_struct(PNG_LIBPNG_VER_STRING, nullptr, fail, ignore)),
        info_(png_create_info_struct(png_)) {
    png_set_read_fn(png_, &left_, take);
    png_set_user_limits(png_, most_pixels_a_side, most_pixels_a_side);
    png_set_chunk_malloc_max(png_, most_chunk_bytes);
  }
  ~PngReader() { png_destroy_read_struct(&png_, &info_, nullptr); }
  PngReader(const PngReader&) = delete;
  PngReader& operator=(const PngReader&) = delete;

  // What stands before the pixels.
  Carried carried() {
    png_read_info(png_, info_);
    Carried carried{png_get_image_height(png_, info_), png_get_image_width(png_, info_), {}};
    png_textp texts = nullptr;
    const int count = png_get_text(png_, info_, &texts, nullptr);
    for (int i = 0; i < count; ++i) {
      const std::size_t length = std::max(texts[i].text_length, texts[i].itxt_length);
      if (std::strcmp(texts[i].key, settings_chunk) == 0)
        carried.settings = {texts[i].text, length};
    }
    return carried;
  }

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
  static void take(png_structp png, png_bytep bytes, std::size_t count) {
    auto& left = *static_cast<std::string_view*>(png_get_io_ptr(png));
    if (left.size() < count) fail(png, "it ends too early");
    std::copy_n(left.begin(), count, bytes);
    left.remove_prefix(count);
  }

  std::string_view left_;
  png_structp png_;
  png_infop info_;
};

std::vector<Chunk> chunks_of(const Picture& picture, const Encoding& encoding) {
  std::vector<Chunk> chunks = {{"Software", std::string("trt-pipeline ") + trt_pipeline_version()}};
  if (picture.settings) {
    chunks.push_back({"Description", picture.settings->prompt});
    chunks.push_back({settings_chunk, settings_text(*picture.settings, png_codec)});
  }
  if (encoding.ai_mark) chunks.push_back({"XML:com.adobe.xmp", ai_mark_xmp});
  return chunks;
}

bool recognizes_png(std::string_view bytes) {
  return bytes.size() >= signature_bytes &&
         !png_sig_cmp(reinterpret_cast<png_const_bytep>(bytes.data()), 0, signature_bytes);
}

std::string encode_png(const Picture& picture, const Encoding& encoding) {
  return PngWriter().write(picture, chunks_of(picture, encoding));
}

Pixels decode_png(std::string_view bytes) {
  return PngReader(bytes).pixels();
}

Carried carried_by_png(std::string_view bytes) {
  return PngReader(bytes).carried();
}

}  // namespace

const Codec png_codec = {"png",      {".png"},   (1u << 31) - 1, 0, nullptr, recognizes_png,
                         encode_png, decode_png, carried_by_png};

}  // namespace trt_pipeline::cli
