// A candidate of benchmarks/latency.py: the library, asked as Python's candidates are.
//
//     trt_pipeline_candidate '{"bundle": "engines/shapes", "backend": "openvino", "threads": 2}'
//
// Requests on stdin and answers on stdout are JSON objects, one a line, those of Python's
// trt_pipeline.bench.worker. The first request opens the bundle.
#include <chrono>
#include <ctime>
#include <fstream>
#include <iostream>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "npy.hpp"
#include "trt_pipeline.hpp"

namespace {

using Clock = std::chrono::steady_clock;
using nlohmann::json;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

// Of all threads of this process.
double cpu_seconds() { return static_cast<double>(std::clock()) / CLOCKS_PER_SEC; }

// Resident memory of this process at most; ru_maxrss would count its parent's at the fork.
std::uint64_t peak_host_bytes() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with("VmHWM:")) return std::stoull(line.substr(6)) * 1024;
  }
  return 0;
}

trt_pipeline::Pipeline open_bundle(const json& arguments) {
  trt_pipeline::Options options;
  options.backend = arguments.at("backend");
  if (!arguments.at("threads").is_null()) options.threads = arguments.at("threads");
  return trt_pipeline::Pipeline(arguments.at("bundle"), options);
}

trt_pipeline::Settings settings_of(const json& workload) {
  trt_pipeline::Settings settings;
  settings.num_inference_steps = workload.at("num_inference_steps");
  settings.guidance_scale = workload.at("guidance_scale");
  settings.sampler = "ddim";
  settings.eta = workload.at("eta");
  settings.noise = TRT_PIPELINE_NOISE_TORCH;
  settings.seeds = {workload.at("seed").get<std::uint64_t>()};
  return settings;
}

std::vector<trt_pipeline::Prompt> prompts_of(const json& request) {
  const std::vector<std::string> texts = request.at("prompts");
  return {texts.begin(), texts.end()};
}

json generate(const trt_pipeline::Pipeline& pipeline, const json& request) {
  const auto settings = settings_of(request.at("workload"));
  const auto prompts = prompts_of(request);
  const double computed = cpu_seconds();
  const auto start = Clock::now();
  const trt_pipeline::Pictures pictures = pipeline.generate(prompts, settings);
  const double seconds = seconds_since(start);
  const double cpu = cpu_seconds() - computed;
  const std::size_t count = pictures.size() * pictures.height() * pictures.width() * 3;
  trt_pipeline::benchmark::write_npy(request.at("pictures").get<std::string>(),
                                     {pictures.size(), pictures.height(), pictures.width(), 3},
                                     {pictures.get().pixels, count});
  return {{"seconds", seconds},
          {"cpu_seconds", cpu},
          {"joules", nullptr},
          {"host_bytes", peak_host_bytes()},
          {"device_bytes", nullptr},
          {"device", pipeline.info().device},
          {"arithmetic", pipeline.info().arithmetic}};
}

// The ABI shows the steps only.
json parts(const trt_pipeline::Pipeline& pipeline, const json& request) {
  auto settings = settings_of(request.at("workload"));
  std::vector<double> steps;
  const auto start = Clock::now();
  auto last = start;
  settings.progress = [&](std::size_t step, std::size_t) {
    if (step) steps.push_back(seconds_since(last));
    last = Clock::now();
    return true;
  };
  // A GPU that may run all steps at once would report them at the end.
  settings.callback_on_step_end = [](const trt_pipeline_step&) { return true; };
  pipeline.generate(prompts_of(request), settings);
  return {{"parts", {{"denoiser", steps}, {"total", {seconds_since(start)}}}}};
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::cerr << "usage: trt_pipeline_candidate ARGUMENTS\n";
    return 2;
  }
  std::optional<trt_pipeline::Pipeline> pipeline;
  for (std::string line; std::getline(std::cin, line);) {
    json answer;
    try {
      if (!pipeline) pipeline = open_bundle(json::parse(argv[1]));
      const json request = json::parse(line);
      const auto respond = request.at("what") == "parts" ? parts : generate;
      answer = respond(*pipeline, request);
    } catch (const std::exception& error) {
      answer = {{"error", error.what()}};
    }
    std::cout << answer.dump() << std::endl;
  }
  return 0;
}
