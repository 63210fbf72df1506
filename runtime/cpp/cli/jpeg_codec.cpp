// JPEG through libjpeg: the settings lie in EXIF, as the Python package writes them.
#include <cstdio>
#include <cstdlib>
#include <stdexcept>

#include <jpeglib.h>

#include "ai_mark.hpp"
#include "codec.hpp"
#include "exif.hpp"

namespace trt_pipeline::cli {
namespace {

constexpr int app1 = JPEG_APP0 + 1;  // the marker of EXIF and of XMP
constexpr unsigned int most_marker_bytes = 0xFFFF;
constexpr std::string_view exif_name("Exif\0\0", 6);
constexpr std::string_view xmp_name("http://ns.adobe.com/xap/1.0/\0", 29);
constexpr std::size_t most_metadata = 65'000;  // of the 65,533 bytes of a marker

// libjpeg must not return from an error, and its usual way out, longjmp, skips destructors.
[[noreturn]] void fail(j_common_ptr jpeg) {
  char message[JMSG_LENGTH_MAX];
  jpeg->err->format_message(jpeg, message);
  throw std::runtime_error(message);
}

// A warning means lost pixels; other messages are details.
void refuse_warnings(j_common_ptr jpeg, int level) {
  if (level < 0) fail(jpeg);
}

jpeg_error_mgr* throwing(jpeg_error_mgr& errors) {
  jpeg_std_error(&errors);
  errors.error_exit = fail;
  errors.emit_message = refuse_warnings;
  return &errors;
}

class JpegWriter {
 public:
  JpegWriter() {
    jpeg_.err = throwing(errors_);
    jpeg_create_compress(&jpeg_);
    jpeg_mem_dest(&jpeg_, &bytes_, &size_);
  }
  ~JpegWriter() {
    jpeg_destroy_compress(&jpeg_);
    std::free(bytes_);
  }
  JpegWriter(const JpegWriter&) = delete;
  JpegWriter& operator=(const JpegWriter&) = delete;

  std::string write(const Picture& picture, const Encoding& encoding) {
    jpeg_.image_width = static_cast<JDIMENSION>(picture.width);
    jpeg_.image_height = static_cast<JDIMENSION>(picture.height);
    jpeg_.input_components = 3;
    jpeg_.in_color_space = JCS_RGB;
    jpeg_set_defaults(&jpeg_);
    jpeg_set_quality(&jpeg_, encoding.quality, TRUE);
    jpeg_.comp_info[0].h_samp_factor = jpeg_.comp_info[0].v_samp_factor = 1;  // 4:4:4
    jpeg_start_compress(&jpeg_, TRUE);
    put_marker(exif_name, exif_of(picture, jpeg_codec));
    if (encoding.ai_mark) put_marker(xmp_name, ai_mark_xmp);
    for (std::size_t y = 0; y < picture.height; ++y) {
      JSAMPROW row = const_cast<JSAMPROW>(&picture.pixels[y * picture.width * 3]);
      jpeg_write_scanlines(&jpeg_, &row, 1);
    }
    jpeg_finish_compress(&jpeg_);
    return {reinterpret_cast<const char*>(bytes_), size_};
  }

 private:
  void put_marker(std::string_view name, const std::string& content) {
    const std::string marker = std::string(name) + content;
    jpeg_write_marker(&jpeg_, app1, reinterpret_cast<const JOCTET*>(marker.data()),
                      static_cast<unsigned int>(marker.size()));
  }

  jpeg_error_mgr errors_;
  jpeg_compress_struct jpeg_{};
  unsigned char* bytes_ = nullptr;
  unsigned long size_ = 0;
};

class JpegReader {
 public:
  explicit JpegReader(std::string_view bytes) {
    jpeg_.err = throwing(errors_);
    jpeg_create_decompress(&jpeg_);
    jpeg_mem_src(&jpeg_, reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size());
    jpeg_save_markers(&jpeg_, app1, most_marker_bytes);
  }
  ~JpegReader() { jpeg_destroy_decompress(&jpeg_); }
  JpegReader(const JpegReader&) = delete;
  JpegReader& operator=(const JpegReader&) = delete;

  Carried carried() {
    jpeg_read_header(&jpeg_, TRUE);
    return {jpeg_.image_height, jpeg_.image_width, exif().settings};
  }

  Pixels pixels() {
    jpeg_read_header(&jpeg_, TRUE);
    if (exif().orientation != 1) {
      throw std::runtime_error("its EXIF orientation turns it; save it upright first");
    }
    jpeg_.out_color_space = JCS_RGB;
    jpeg_start_decompress(&jpeg_);
    Pixels pixels{jpeg_.output_height, jpeg_.output_width, {}};
    pixels.rgba.reserve(pixels.height * pixels.width * 4);
    std::vector<JSAMPLE> row(pixels.width * 3);
    while (jpeg_.output_scanline < jpeg_.output_height) {
      JSAMPROW start = row.data();
      jpeg_read_scanlines(&jpeg_, &start, 1);
      for (std::size_t x = 0; x < row.size(); x += 3) {
        pixels.rgba.insert(pixels.rgba.end(), {row[x], row[x + 1], row[x + 2], 255});
      }
    }
    jpeg_finish_decompress(&jpeg_);
    return pixels;
  }

 private:
  ExifEntries exif() const {
    for (const jpeg_marker_struct* marker = jpeg_.marker_list; marker; marker = marker->next) {
      const std::string_view bytes(reinterpret_cast<const char*>(marker->data),
                                   marker->data_length);
      if (bytes.starts_with(exif_name)) return read_exif(bytes.substr(exif_name.size()));
    }
    return {};
  }

  jpeg_error_mgr errors_;
  jpeg_decompress_struct jpeg_{};
};

bool recognizes_jpeg(std::string_view bytes) {
  return bytes.starts_with("\xFF\xD8\xFF");
}

std::string encode_jpeg(const Picture& picture, const Encoding& encoding) {
  return JpegWriter().write(picture, encoding);
}

Pixels decode_jpeg(std::string_view bytes) {
  return JpegReader(bytes).pixels();
}

Carried carried_by_jpeg(std::string_view bytes) {
  return JpegReader(bytes).carried();
}

}  // namespace

const Codec jpeg_codec = {"jpeg",          {".jpg", ".jpeg"}, 65500,       most_metadata,  nullptr,
                          recognizes_jpeg, encode_jpeg,       decode_jpeg, carried_by_jpeg};

}  // namespace trt_pipeline::cli
