#include "picture_reader.hpp"

#include <stdexcept>

#include "codec.hpp"
#include "errors.hpp"
#include "files.hpp"
#include "strict_json.hpp"

namespace trt_pipeline::cli {
namespace {

namespace fs = std::filesystem;
using internal::concat;
using internal::InvalidInputError;

Carried carried_by(const fs::path& path) {
  const std::string bytes = read_file(path.string(), path);
  const Codec& codec = codec_of_bytes(path.string(), bytes);
  require(codec);
  try {
    return codec.carried(bytes);
  } catch (const InvalidInputError& error) {
    throw InvalidInputError(concat(path.string(), ": ", error.what()));
  } catch (const std::runtime_error& error) {
    throw InvalidInputError(concat(path.string(), " is damaged (", error.what(), ")."));
  }
}

PictureSettings decoded(const fs::path& path, const std::string& text) {
  if (text.size() > max_settings_bytes) {
    throw InvalidInputError(concat(path.string(), ": its settings take ", text.size(),
                                   " bytes, expected at most ", max_settings_bytes, "."));
  }
  nlohmann::json value;
  try {
    value = internal::strict_json(text);
  } catch (const std::exception& error) {
    throw InvalidInputError(concat(path.string(), ": no JSON: ", error.what(), "."));
  }
  try {
    return settings_of(value);
  } catch (const std::exception& error) {
    throw InvalidInputError(concat(path.string(), ": ", error.what(), "."));
  }
}

}  // namespace

PictureSettings read_settings(const fs::path& path) {
  const Carried carried = carried_by(path);
  if (!carried.settings) {
    throw InvalidInputError(concat(path.string(), " carries no settings of trt-pipeline."));
  }
  const PictureSettings settings = decoded(path, *carried.settings);
  if (static_cast<std::int64_t>(carried.height) != settings.height ||
      static_cast<std::int64_t>(carried.width) != settings.width) {
    throw InvalidInputError(concat(path.string(), " is ", carried.width, " × ", carried.height,
                                   " pixels, but its settings are those of a picture of ",
                                   settings.width, " × ", settings.height,
                                   ": it was changed, or they are another's."));
  }
  return settings;
}

Pixels read_pixels(const std::string& name, const fs::path& path) {
  const std::string bytes = read_file(name, path);
  const Codec& codec = codec_of_bytes(name, bytes);
  require(codec);
  try {
    return codec.decode(bytes);
  } catch (const std::runtime_error& error) {
    throw InvalidInputError(concat(name, " cannot be read: ", error.what(), "."));
  }
}

}  // namespace trt_pipeline::cli
