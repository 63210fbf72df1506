// Pictures with torch's noise, which the command line does not draw, for a comparison with
// Python's.
//
// torch_pictures BUNDLE OUT SAMPLER STRENGTH COPIES IMAGES MASKS SEED... PROMPT...
//
// IMAGES and MASKS: files with the bytes of square pictures of 64 pixels, RGB and grey, or -. There
// are as many prompts as follow the last number. STRENGTH 0: leaves it out.
#include <fstream>
#include <iostream>
#include <iterator>

#include "trt_pipeline.hpp"

using namespace trt_pipeline;

namespace {

constexpr std::int32_t side = 64;

std::vector<std::uint8_t> bytes_of(const std::string& path) {
  if (path == "-") return {};
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

bool is_number(const std::string& text) {
  return text.find_first_not_of("0123456789") == std::string::npos;
}

Settings settings_of(const std::vector<std::string>& arguments) {
  Settings settings;
  settings.noise = TRT_PIPELINE_NOISE_TORCH;
  settings.num_inference_steps = 4;
  settings.guidance_scale = 3;
  settings.sampler = arguments.at(2);
  if (const double strength = std::stod(arguments.at(3)); strength > 0)
    settings.strength = strength;
  settings.num_images_per_prompt = std::stoi(arguments.at(4));
  settings.image = bytes_of(arguments.at(5));
  settings.image_height = settings.image_width = side;
  settings.mask_image = bytes_of(arguments.at(6));
  return settings;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    const std::vector<std::string> arguments(argv + 1, argv + argc);
    Settings settings = settings_of(arguments);
    std::vector<Prompt> prompts;
    for (std::size_t i = 7; i < arguments.size(); ++i) {
      if (is_number(arguments[i])) {
        settings.seeds.push_back(std::stoull(arguments[i]));
      } else {
        prompts.emplace_back(arguments[i]);
      }
    }
    const Pictures pictures = Pipeline(arguments.at(0)).generate(prompts, settings);
    std::ofstream file(arguments.at(1), std::ios::binary);
    for (std::size_t i = 0; i < pictures.size(); ++i) {
      const auto pixels = pictures.pixels(i);
      file.write(reinterpret_cast<const char*>(pixels.data()), std::ssize(pixels));
    }
    return 0;
  } catch (const std::exception& error) {
    std::cerr << "error: " << error.what() << '\n';
    return 1;
  }
}
