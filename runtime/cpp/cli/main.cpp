// trt-pipeline-cpp: shows the library on the command line, as `trt-pipeline generate` does.
//
// Exit status: 0 done, 1 failure, 2 usage or bad input, 130 interrupted.
#include <algorithm>
#include <csignal>
#include <iostream>
#include <set>

#include "errors.hpp"
#include "generate.hpp"
#include "options.hpp"

namespace {

using namespace trt_pipeline;
using namespace trt_pipeline::cli;

constexpr int failure = 1, usage = 2, interrupted = 130;

volatile std::sig_atomic_t stop = 0;

// Without what would break the line, or steer a terminal: some of it may be from a stranger's file.
std::string one_line(std::string text) {
  std::ranges::replace(text, '\n', ' ');
  std::ranges::replace_if(
      text, [](unsigned char c) { return c < 0x20 || c == 0x7f; }, '?');
  return text;
}

// Each message once, as Python does, however many pictures it is about.
auto log_of(const Arguments& arguments) {
  return [debug = arguments.debug, told = std::set<std::string>()](trt_pipeline_log_level level,
                                                                   const char* message) mutable {
    const bool warning = level == TRT_PIPELINE_WARNING;
    if ((warning || debug) && told.insert(message).second) {
      std::cerr << (warning ? "warning: " : "") << one_line(message) << '\n';
    }
  };
}

auto progress_of(const Arguments& arguments) {
  return [quiet = arguments.no_progress](std::size_t step, std::size_t steps) {
    if (!quiet && step && (step == steps || step % 10 == 0)) {
      std::cerr << "step " << step << " of " << steps << '\n';
    }
    return stop == 0;
  };
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
  // ONNX Runtime 1.32 reports on its use over the network, unless this is set when it begins.
  setenv("ORT_DISABLE_TELEMETRY", "1", 0);
  Arguments arguments;
  CLI::App app("Make a picture of each PROMPT and print the files' paths.", "trt-pipeline-cpp");
  std::signal(SIGINT, [](int) { stop = 1; });
  try {
    declare(app, arguments);
    app.parse(argc, argv);
    arguments.options.log = log_of(arguments);
    arguments.settings.progress = progress_of(arguments);
    generate(arguments);
    return 0;
  } catch (const CLI::Success& request) {  // --help and --version
    return app.exit(request);
  } catch (const CLI::ParseError& error) {
    return fail(error.what(), usage);
  } catch (const internal::InvalidInputError& error) {
    return fail(error.what(), usage);
  } catch (const Error& error) {
    return stop ? fail("interrupted", interrupted) : fail(error.what(), status_of(error.status()));
  } catch (const std::exception& error) {
    return fail(error.what(), failure);
  }
}
