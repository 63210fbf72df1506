// WebP through libwebp: the settings lie in EXIF, as the Python package writes them.
#include <webp/decode.h>
#include <webp/encode.h>
#include <webp/mux.h>

#include <memory>
#include <stdexcept>

#include "ai_mark.hpp"
#include "codec.hpp"
#include "exif.hpp"

namespace trt_pipeline::cli {
namespace {

using Mux = std::unique_ptr<WebPMux, void (*)(WebPMux*)>;

void check(bool done, const char* what) {
  if (!done) throw std::runtime_error(std::string("libwebp could not ") + what);
}

const std::uint8_t* start_of(std::string_view bytes) {
  return reinterpret_cast<const std::uint8_t*>(bytes.data());
}

// Pillow's choices, so that both programs write the same pixels.
std::string encoded_pixels(const Picture& picture, const Encoding& encoding) {
  WebPConfig config;
  WebPPicture frame;
  WebPMemoryWriter writer;
  check(WebPConfigInit(&config) && WebPPictureInit(&frame), "start: another version is installed");
  config.lossless = encoding.lossless;
  config.quality = static_cast<float>(encoding.quality);
  config.method = 4;
  frame.use_argb = 1;
  frame.width = static_cast<int>(picture.width);
  frame.height = static_cast<int>(picture.height);
  frame.writer = WebPMemoryWrite;
  frame.custom_ptr = &writer;
  WebPMemoryWriterInit(&writer);
  const std::unique_ptr<WebPPicture, void (*)(WebPPicture*)> owned(&frame, WebPPictureFree);
  const std::unique_ptr<WebPMemoryWriter, void (*)(WebPMemoryWriter*)> written(
      &writer, WebPMemoryWriterClear);
  check(WebPPictureImportRGB(&frame, picture.pixels.data(), 3 * frame.width), "take the pixels");
  check(WebPEncode(&config, &frame), "encode the picture");
  return {reinterpret_cast<const char*>(writer.mem), writer.size};
}

void put_chunk(WebPMux* mux, const char* name, const std::string& content) {
  const WebPData data{start_of(content), content.size()};
  check(WebPMuxSetChunk(mux, name, &data, 1) == WEBP_MUX_OK, "write a chunk");
}

bool recognizes_webp(std::string_view bytes) {
  return bytes.starts_with("RIFF") && bytes.find("WEBP") == 8;
}

std::string encode_webp(const Picture& picture, const Encoding& encoding) {
  const std::string pixels = encoded_pixels(picture, encoding);
  const WebPData image{start_of(pixels), pixels.size()};
  const Mux mux(WebPMuxNew(), WebPMuxDelete);
  check(mux && WebPMuxSetImage(mux.get(), &image, 1) == WEBP_MUX_OK, "make a file");
  put_chunk(mux.get(), "EXIF", exif_of(picture, webp_codec));
  if (encoding.ai_mark) put_chunk(mux.get(), "XMP ", ai_mark_xmp);
  WebPData file{};
  const std::unique_ptr<WebPData, void (*)(WebPData*)> owned(&file, WebPDataClear);
  check(WebPMuxAssemble(mux.get(), &file) == WEBP_MUX_OK, "finish the file");
  return {reinterpret_cast<const char*>(file.bytes), file.size};
}

Pixels decode_webp(std::string_view bytes) {
  int width = 0, height = 0;
  const std::unique_ptr<std::uint8_t, void (*)(void*)> rgba(
      WebPDecodeRGBA(start_of(bytes), bytes.size(), &width, &height), WebPFree);
  check(rgba != nullptr, "decode it");
  Pixels pixels{static_cast<std::size_t>(height), static_cast<std::size_t>(width), {}};
  pixels.rgba.assign(rgba.get(), rgba.get() + pixels.height * pixels.width * 4);
  return pixels;
}

Carried carried_by_webp(std::string_view bytes) {
  const WebPData file{start_of(bytes), bytes.size()};
  const Mux mux(WebPMuxCreate(&file, 0), WebPMuxDelete);
  int width = 0, height = 0;
  check(mux && WebPMuxGetCanvasSize(mux.get(), &width, &height) == WEBP_MUX_OK, "read it");
  Carried carried{static_cast<std::size_t>(height), static_cast<std::size_t>(width), {}};
  WebPData exif{};
  if (WebPMuxGetChunk(mux.get(), "EXIF", &exif) == WEBP_MUX_OK) {
    carried.settings = read_exif({reinterpret_cast<const char*>(exif.bytes), exif.size}).settings;
  }
  return carried;
}

}  // namespace

const Codec webp_codec = {"webp",      {".webp"},   WEBP_MAX_DIMENSION, 0, nullptr, recognizes_webp,
                          encode_webp, decode_webp, carried_by_webp};

}  // namespace trt_pipeline::cli
