#include "codec.hpp"

#include <algorithm>
#include <cctype>

#include "errors.hpp"

namespace trt_pipeline::cli {
namespace {

using internal::concat;
using internal::InvalidInputError;

const Codec* const codecs[] = {&png_codec, &webp_codec, &jpeg_codec};

}  // namespace

void require(const Codec& codec) {
  if (!codec.missing_package) return;
  throw InvalidInputError(concat("this program was built without ", codec.missing_package,
                                 ", which a ", codec.name,
                                 " needs. Install it and build again, or take a png."));
}

const Codec& codec_named(std::string_view name) {
  return **std::ranges::find_if(codecs, [&](const Codec* codec) { return codec->name == name; });
}

const Codec& codec_of(const std::filesystem::path& path) {
  std::string suffix = path.extension().string();
  std::ranges::transform(suffix, suffix.begin(), [](unsigned char c) { return std::tolower(c); });
  std::string known;
  for (const Codec* codec : codecs) {
    for (const std::string& one : codec->suffixes) {
      if (suffix == one) return *codec;
      internal::enlist(known, one);
    }
  }
  throw InvalidInputError(concat("output ", path.string(), ": a picture's name ends in ", known,
                                 "; a folder's has no dot."));
}

const Codec& codec_of_bytes(const std::string& name, std::string_view bytes) {
  for (const Codec* codec : codecs) {
    if (codec->recognizes(bytes)) return *codec;
  }
  throw InvalidInputError(concat(name, " is no PNG, WebP or JPEG."));
}

void check_sides(const Codec& codec, std::size_t height, std::size_t width) {
  if (std::max(height, width) > codec.largest_side) {
    throw InvalidInputError(concat("a ", codec.name, " picture has sides up to ",
                                   codec.largest_side, " pixels, got ", width, " × ", height,
                                   ". Write a PNG."));
  }
}

std::string settings_text(const PictureSettings& settings, const Codec& codec) {
  const std::string text = to_json(settings).dump(-1, ' ', true);
  const std::size_t beside = codec.most_metadata ? settings.prompt.size() : 0;
  const std::size_t most = codec.most_metadata ? codec.most_metadata : max_settings_bytes;
  if (text.size() + beside > most) {
    throw InvalidInputError(concat("the settings take ", text.size(), " bytes, more than a ",
                                   codec.name, " picture can carry. Shorten the prompt",
                                   codec.most_metadata ? ", or write a PNG." : "."));
  }
  return text;
}

}  // namespace trt_pipeline::cli
