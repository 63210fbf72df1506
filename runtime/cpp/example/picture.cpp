// Writes one picture as a PPM file: picture BUNDLE PROMPT OUTPUT
#include <fstream>
#include <iostream>
#include <trt_pipeline.hpp>

int main(int argc, char** argv) {
  if (argc != 4) {
    std::cerr << "usage: picture BUNDLE PROMPT OUTPUT.ppm\n";
    return 2;
  }
  try {
    const trt_pipeline::Pipeline pipe(argv[1]);
    trt_pipeline::Settings settings;
    settings.guidance_scale = 6;
    settings.seeds = {0};
    settings.progress = [](std::size_t step, std::size_t steps) {
      std::cerr << "\rstep " << step << " of " << steps;
      return true;  // false cancels
    };
    const auto pictures = pipe.generate(argv[2], settings);
    const auto pixels = pictures.pixels(0);
    std::ofstream file(argv[3], std::ios::binary);
    file << "P6\n" << pictures.width() << ' ' << pictures.height() << "\n255\n";
    file.write(reinterpret_cast<const char*>(pixels.data()), std::ssize(pixels));
    std::cerr << "\nwritten by " << pipe.info().backend << " on " << pipe.info().device << '\n';
    return file ? 0 : 1;
  } catch (const trt_pipeline::Error& error) {
    std::cerr << "error: " << error.what() << '\n';
    return 1;
  }
}
