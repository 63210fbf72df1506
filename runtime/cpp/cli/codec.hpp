// Formats of picture files: how each is recognized, written and read.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "picture.hpp"
#include "pixels.hpp"

namespace trt_pipeline::cli {

// What a file says without its pixels.
struct Carried {
  std::size_t height, width;
  std::optional<std::string> settings;  // JSON
};

// One format.
struct Codec {
  // As --format names it.
  const char* name;
  // Of file names, in lower case; the first is the one that new files get.
  std::vector<std::string> suffixes;
  // Pixels that a side may have.
  std::size_t largest_side;
  // Bytes that the settings and the prompt beside them may take; 0 bounds the settings alone.
  std::size_t most_metadata;
  // What the build lacked to write and read it, as Debian packages it; null if nothing.
  const char* missing_package;

  bool (*recognizes)(std::string_view bytes);
  // The bytes of a file. std::runtime_error from this and the next two for what they cannot do.
  std::string (*encode)(const Picture& picture, const Encoding& encoding);
  Pixels (*decode)(std::string_view bytes);
  Carried (*carried)(std::string_view bytes);
};

// What every program reads and writes.
extern const Codec png_codec;
// These need libraries that the build may lack.
extern const Codec webp_codec, jpeg_codec;

// InvalidInputError if the program was built without a format.
void require(const Codec& codec);

// The format of a name such as png, which is one of them.
const Codec& codec_named(std::string_view name);

// The format that a file name's suffix stands for; InvalidInputError if it is none.
const Codec& codec_of(const std::filesystem::path& path);

// The format that a file begins as; InvalidInputError if it is none. name: what it calls the file.
const Codec& codec_of_bytes(const std::string& name, std::string_view bytes);

// InvalidInputError if a format has no room for so many pixels.
void check_sides(const Codec& codec, std::size_t height, std::size_t width);

// Settings as ASCII JSON; InvalidInputError if they are too long for a format.
std::string settings_text(const PictureSettings& settings, const Codec& codec);

}  // namespace trt_pipeline::cli
