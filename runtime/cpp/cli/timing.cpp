#include "timing.hpp"

#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <iostream>

namespace trt_pipeline::cli {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

double median(std::vector<double> values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

// Most memory that this process has held so far, in bytes.
long peak_memory() {
  rusage use{};
  getrusage(RUSAGE_SELF, &use);
  return use.ru_maxrss * 1024;
}

struct Run {
  double seconds;
  std::vector<double> steps;
};

Run run(const Pipeline& pipeline, const std::vector<Prompt>& prompts, Settings settings) {
  Run timed;
  auto last = Clock::now();
  settings.progress = [&](std::size_t step, std::size_t) {
    if (step) timed.steps.push_back(seconds_since(last));
    last = Clock::now();
    return true;
  };
  const auto start = Clock::now();
  pipeline.generate(prompts, settings);
  timed.seconds = seconds_since(start);
  return timed;
}

}  // namespace

void print_timing(const Arguments& arguments, int runs) {
  Settings settings = arguments.settings;
  std::vector<Prompt> prompts;
  for (const Job& job : jobs_of(arguments)) {
    prompts.emplace_back(job.prompt);
    settings.seeds.push_back(job.seed);
  }
  const auto start = Clock::now();
  const Pipeline pipeline(arguments.bundle, arguments.options);
  const double opened = seconds_since(start);
  const double first = run(pipeline, prompts, settings).seconds;
  std::vector<double> pictures, steps;
  for (int i = 0; i < runs; ++i) {
    const Run timed = run(pipeline, prompts, settings);
    pictures.push_back(timed.seconds);
    steps.insert(steps.end(), timed.steps.begin(), timed.steps.end());
  }
  const nlohmann::ordered_json figures = {{"backend", pipeline.info().backend},
                                          {"device", pipeline.info().device},
                                          {"batch", prompts.size()},
                                          {"steps", settings.num_inference_steps},
                                          {"guidance_scale", settings.guidance_scale},
                                          {"open_seconds", opened},
                                          {"first_call_seconds", first},
                                          {"call_seconds", median(pictures)},
                                          {"step_seconds", median(steps)},
                                          {"peak_memory_bytes", peak_memory()}};
  std::cout << figures.dump(1) << '\n';
}

}  // namespace trt_pipeline::cli
