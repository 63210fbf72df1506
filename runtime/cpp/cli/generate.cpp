#include "generate.hpp"

#include <algorithm>
#include <iostream>

#include "errors.hpp"
#include "output.hpp"
#include "picture_settings.hpp"
#include "png.hpp"
#include "sha256.hpp"

namespace trt_pipeline::cli {
namespace {

using internal::concat;
using internal::InvalidInputError;

// Says in IPTC's words that a picture was made by a trained model.
constexpr const char* ai_mark =
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

// Reads the files that pictures begin with into the settings.
void add_images(const Arguments& arguments, Settings& settings) {
  if (arguments.image) {
    const Pixels image = read_png(concat("image ", arguments.image->string()), *arguments.image);
    settings.image = image.on_white();
    settings.image_height = static_cast<std::int32_t>(image.height);
    settings.image_width = static_cast<std::int32_t>(image.width);
  }
  if (!arguments.mask_image) return;
  const Pixels mask =
      read_png(concat("mask_image ", arguments.mask_image->string()), *arguments.mask_image);
  if (!mask.is_opaque()) {
    throw InvalidInputError(
        "mask_image has transparent parts, which mean different things in different programs. Make "
        "it opaque: white where the image is painted again, black elsewhere.");
  }
  const auto height = static_cast<std::int32_t>(mask.height);
  const auto width = static_cast<std::int32_t>(mask.width);
  if (arguments.image && (height != settings.image_height || width != settings.image_width)) {
    throw InvalidInputError(concat("mask_image is ", width, "x", height, " pixels, but image is ",
                                   settings.image_width, "x", settings.image_height,
                                   "; they must agree."));
  }
  settings.mask_image = mask.grey();
}

std::optional<std::string> hash_of(const std::optional<std::filesystem::path>& path) {
  return path ? std::optional(internal::file_sha256(*path)) : std::nullopt;
}

std::vector<Chunk> chunks_of(const std::string& prompt, const nlohmann::ordered_json& settings,
                             bool marked) {
  std::vector<Chunk> chunks = {{"Software", concat("trt-pipeline ", trt_pipeline_version())},
                               {"Description", prompt},
                               {"trt-pipeline", settings.dump(-1, ' ', true)}};
  if (marked) chunks.push_back({"XML:com.adobe.xmp", ai_mark});
  return chunks;
}

}  // namespace

void generate(const Arguments& arguments) {
  Settings settings = arguments.settings;
  add_images(arguments, settings);
  if (arguments.seed) settings.seeds = {*arguments.seed};
  const auto copies = static_cast<std::size_t>(settings.num_images_per_prompt);
  const std::size_t count = std::max<std::size_t>(arguments.prompts.size(), 1) * copies;
  const Output output(arguments.output, arguments.force, count);
  const auto& names = arguments.prompts;
  const std::vector<Prompt> prompts(names.begin(), names.end());

  const Pipeline pipeline(arguments.bundle, arguments.options);
  const Pictures pictures = pipeline.generate(prompts, settings);
  PictureFacts facts{"",
                     0,
                     static_cast<std::int32_t>(pictures.height()),
                     static_cast<std::int32_t>(pictures.width()),
                     hash_of(arguments.image),
                     hash_of(arguments.mask_image)};
  for (std::size_t i = 0; i < pictures.size(); ++i) {
    facts.seed = pictures.seeds()[i];
    facts.prompt = names.empty() ? "" : names[i / copies];
    const auto entries = settings_json(settings, facts, pipeline.info());
    const auto chunks = chunks_of(facts.prompt, entries, arguments.ai_mark);
    const std::string bytes =
        encoded_png(pictures.pixels(i), pictures.height(), pictures.width(), chunks);
    std::cout << output.save(bytes).string() << std::endl;
  }
}

}  // namespace trt_pipeline::cli
