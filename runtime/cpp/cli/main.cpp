// trt-pipeline-cpp: pictures of prompts from the command line, as `trt-pipeline generate`.
//
// Exit status: 0 done, 1 failure, 2 usage or bad input, 130 interrupted.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <atomic>
#include <csignal>
#include <iostream>

#include "jobs.hpp"
#include "timing.hpp"

namespace {

using namespace trt_pipeline;
using namespace trt_pipeline::cli;

constexpr int failure = 1, usage = 2, interrupted = 130;

volatile std::sig_atomic_t stop = 0;

void declare(CLI::App& app, Arguments& arguments, bool& debug, int& timed) {
  Settings& settings = arguments.settings;
  app.set_version_flag("--version", std::string("trt-pipeline-cpp ") + trt_pipeline_version());
  app.add_option("BUNDLE", arguments.bundle, "Folder that export-all wrote.")->required();
  app.add_option("PROMPT", arguments.prompts,
                 "What the pictures show; none for a model without prompts.");
  app.add_option("--seed", arguments.seed,
                 "Of the first picture; the next take the numbers after it.");
  app.add_option("--steps,--num-inference-steps", settings.num_inference_steps)
      ->capture_default_str();
  app.add_option("--guidance-scale", settings.guidance_scale)->capture_default_str();
  app.add_option("--sampler", settings.sampler)
      ->check(CLI::IsMember({"ddim", "euler", "euler_ancestral", "pndm", "lms", "dpmsolver++",
                             "dpmsolver++_karras", "unipc"}))
      ->description("The checkpoint's own by default.");
  app.add_option("--guidance-interval", settings.guidance_interval,
                 "The part of the steps that is guided.")
      ->capture_default_str();
  app.add_option("--schedule", settings.schedule)
      ->check(CLI::IsMember({"published", "trained"}))
      ->capture_default_str();
  app.add_option("--timestep-spacing", settings.timestep_spacing)
      ->check(CLI::IsMember({"leading", "linspace", "trailing"}))
      ->description("The checkpoint's own by default.");
  app.add_option("--negative-prompt", settings.negative_prompt, "What guidance leads away from.");
  app.add_option("--eta", settings.eta, "0 is deterministic DDIM, 1 is DDPM.")
      ->capture_default_str();
  app.add_option("--count", arguments.count, "Pictures for each prompt.")
      ->check(CLI::Range(1, 10000))
      ->capture_default_str();
  app.add_option("--height", settings.height, "Pixels; the model's own, or the image's.");
  app.add_option("--width", settings.width, "Pixels; the model's own, or the image's.");
  app.add_option("--image", arguments.image, "A PNG to begin with instead of noise; not resized.");
  app.add_option("--strength", settings.strength,
                 "0 to 1, the part of the steps that the image goes through.");
  app.add_option("--mask-image", arguments.mask_image,
                 "A PNG of the image's size, white where it is painted anew.");
  app.add_option("--vae-tile-size", settings.vae_tile_size, "Decode in tiles of so many pixels.");
  app.add_option(
      "--backend", arguments.options.backend,
      std::string("One of: ") + trt_pipeline_backends() + ". The best available by default.");
  app.add_option("--threads", arguments.options.threads,
                 "For arithmetic on the CPU; all by default.")
      ->check(CLI::Range(1, 1024));
  app.add_option("-o,--output", arguments.output,
                 "A folder, for numbered pictures, or one picture's file name.")
      ->capture_default_str();
  app.add_flag("--no-ai-mark", arguments.no_ai_mark,
               "Leave out the XMP entry that says a trained model made the picture.");
  app.add_flag("--force", arguments.force, "Replace the output file.");
  app.add_flag("--no-progress", arguments.no_progress, "Show no progress.");
  app.add_flag("--json", arguments.as_json, "Print one JSON document.");
  app.add_flag("--debug", debug, "Show log messages.");
  app.add_option("--time", timed,
                 "Make no files: time this many runs of one batch and print the figures as JSON.")
      ->check(CLI::Range(1, 10000));
}

std::string one_line(std::string text) {
  std::ranges::replace(text, '\n', ' ');
  return text;
}

void prepare(Arguments& arguments, bool debug) {
  arguments.options.log = [debug](trt_pipeline_log_level level, const char* message) {
    if (level == TRT_PIPELINE_WARNING || debug) {
      std::cerr << (level == TRT_PIPELINE_WARNING ? "warning: " : "") << one_line(message) << '\n';
    }
  };
  arguments.settings.progress = [quiet = arguments.no_progress](std::size_t step,
                                                                std::size_t steps) {
    if (!quiet && step && (step == steps || step % 10 == 0)) {
      std::cerr << "step " << step << " of " << steps << '\n';
    }
    return stop == 0;
  };
}

void generate(const Arguments& arguments) {
  const auto jobs = jobs_of(arguments);
  const Save save = saver_of(arguments, jobs.size());
  if (!arguments.no_progress) std::cerr << "loading " << arguments.bundle << '\n';
  const Pipeline pipeline(arguments.bundle, arguments.options);
  auto documents = nlohmann::ordered_json::array();
  make_pictures(pipeline, arguments, jobs, [&](const Picture& picture) {
    const std::string path = save(picture).string();
    if (!arguments.as_json) std::cout << path << std::endl;
    nlohmann::ordered_json document = {{"path", path}};
    document.update(picture.settings);
    documents.push_back(document);
  });
  if (arguments.as_json) std::cout << documents.dump(1, ' ', true) << '\n';
}

int fail(const std::string& message, int status) {
  std::cerr << "error: " << one_line(message) << '\n';
  return status;
}

int status_of(trt_pipeline_status status) {
  switch (status) {
    case TRT_PIPELINE_CANCELLED:
      return interrupted;
    case TRT_PIPELINE_INVALID_INPUT:
    case TRT_PIPELINE_BUNDLE_ERROR:
    case TRT_PIPELINE_BUNDLE_VERSION_ERROR:
    case TRT_PIPELINE_INTEGRITY_ERROR:
      return usage;
    default:
      return failure;
  }
}

}  // namespace

int main(int argc, char** argv) {
  Arguments arguments;
  bool debug = false;
  int timed = 0;
  CLI::App app("Make a picture of each PROMPT and print the files' paths.", "trt-pipeline-cpp");
  std::signal(SIGINT, [](int) { stop = 1; });
  try {
    declare(app, arguments, debug, timed);
    app.parse(argc, argv);
    prepare(arguments, debug);
    read_sources(arguments);
    timed ? print_timing(arguments, timed) : generate(arguments);
    return 0;
  } catch (const CLI::Success& request) {  // --help and --version
    return app.exit(request);
  } catch (const CLI::ParseError& error) {
    return fail(error.what(), usage);
  } catch (const UsageError& error) {
    return fail(error.what(), usage);
  } catch (const Error& error) {
    return stop ? fail("interrupted", interrupted) : fail(error.what(), status_of(error.status()));
  } catch (const std::exception& error) {
    return fail(error.what(), failure);
  }
}
