#include "png_file.hpp"

#include <png.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstdio>
#include <memory>
#include <stdexcept>
#include <system_error>
#include <vector>

#include "trt_pipeline.h"

namespace trt_pipeline::cli {
namespace {

namespace fs = std::filesystem;

constexpr const char* settings_chunk = "trt-pipeline";  // keyword of the settings as JSON

// Says in IPTC's words that a picture was made by a trained model.
constexpr const char* xmp =
    "<?xpacket begin=\"\uFEFF\" id=\"W5M0MpCehiHzreSzNTczkc9d\"?>\n"
    "<x:xmpmeta xmlns:x=\"adobe:ns:meta/\">\n"
    " <rdf:RDF xmlns:rdf=\"http://www.w3.org/1999/02/22-rdf-syntax-ns#\">\n"
    "  <rdf:Description rdf:about=\"\"\n"
    "    xmlns:Iptc4xmpExt=\"http://iptc.org/std/Iptc4xmpExt/2008-02-29/\"\n"
    "    Iptc4xmpExt:DigitalSourceType=\"http://cv.iptc.org/newscodes/digitalsourcetype/"
    "trainedAlgorithmicMedia\"/>\n"
    " </rdf:RDF>\n"
    "</x:xmpmeta>\n"
    "<?xpacket end=\"w\"?>";

struct Chunk {
  const char* keyword;
  std::string text;
};

// libpng must not return from an error, and its own way out, longjmp, skips destructors.
[[noreturn]] void fail(png_structp, png_const_charp message) {
  throw std::runtime_error(std::string("libpng: ") + message);
}

class Writer {
 public:
  Writer() : png_(png_create_write_struct(PNG_LIBPNG_VER_STRING, nullptr, fail, nullptr)) {
    info_ = png_create_info_struct(png_);
  }
  ~Writer() { png_destroy_write_struct(&png_, &info_); }
  Writer(const Writer&) = delete;
  Writer& operator=(const Writer&) = delete;

  void write(std::FILE* file, const Picture& picture, const std::vector<Chunk>& chunks) {
    png_init_io(png_, file);
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

  png_structp png_;
  png_infop info_ = nullptr;
};

std::vector<Chunk> chunks_of(const Picture& picture) {
  std::vector<Chunk> chunks = {{"Software", std::string("trt-pipeline ") + trt_pipeline_version()},
                               {"Description", picture.settings.at("prompt").get<std::string>()},
                               {settings_chunk, picture.settings.dump(-1, ' ', true)}};
  if (picture.ai_mark) chunks.push_back({"XML:com.adobe.xmp", xmp});
  return chunks;
}

void write_file(const Picture& picture, const fs::path& path) {
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::fopen(path.c_str(), "wbx"),
                                                             std::fclose);
  if (!file) throw fs::filesystem_error("write", path, {errno, std::generic_category()});
  Writer().write(file.get(), picture, chunks_of(picture));
  if (std::fflush(file.get())) {
    throw fs::filesystem_error("write", path, {errno, std::generic_category()});
  }
}

void publish(const fs::path& unfinished, const fs::path& path, bool overwrite) {
  if (overwrite) return fs::rename(unfinished, path);
  std::error_code error;
  fs::create_hard_link(unfinished, path, error);  // unlike a rename, never replaces
  if (!error) return;
  if (error == std::errc::file_exists || fs::exists(path)) {
    throw fs::filesystem_error("write", path, std::make_error_code(std::errc::file_exists));
  }
  fs::rename(unfinished, path);  // a file system without hard links
}

std::string numbered(int number) {
  std::array<char, 16> name{};
  std::snprintf(name.data(), name.size(), "%05d.png", number);
  return name.data();
}

int highest_number(const fs::path& folder) {
  int highest = -1;
  for (const auto& entry : fs::directory_iterator(folder)) {
    if (entry.path().extension() != ".png") continue;
    const std::string stem = entry.path().stem().string();
    int number = 0;
    const auto [end, error] = std::from_chars(stem.data(), stem.data() + stem.size(), number);
    if (error == std::errc() && end == stem.data() + stem.size())
      highest = std::max(highest, number);
  }
  return highest;
}

}  // namespace

void save_png(const Picture& picture, const fs::path& path, bool overwrite) {
  static int count = 0;
  const std::string name = "." + path.filename().string() + "." + std::to_string(getpid()) + "." +
                           std::to_string(count++) + ".tmp";
  const fs::path unfinished = path.parent_path() / name;
  try {
    write_file(picture, unfinished);
    publish(unfinished, path, overwrite);
  } catch (...) {
    std::error_code ignored;
    fs::remove(unfinished, ignored);
    throw;
  }
  std::error_code ignored;
  fs::remove(unfinished, ignored);
}

fs::path save_numbered(const Picture& picture, const fs::path& folder) {
  fs::create_directories(folder);
  for (int number = highest_number(folder) + 1;; ++number) {
    const fs::path path = folder / numbered(number);
    try {
      save_png(picture, path, false);
      return path;
    } catch (const fs::filesystem_error& error) {
      if (error.code() != std::errc::file_exists) throw;  // else another process took the number
    }
  }
}

}  // namespace trt_pipeline::cli
