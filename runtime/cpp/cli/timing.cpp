#include "timing.hpp"

#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <iostream>

#include "planning.hpp"

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

Run run(const Pipeline& pipeline, const Batch& batch) {
  Run timed;
  auto last = Clock::now();
  Caller caller(pipeline, [&](std::size_t step, std::size_t) {
    if (step) timed.steps.push_back(seconds_since(last));
    last = Clock::now();
    return true;
  });
  const auto start = Clock::now();
  caller.make(batch);
  timed.seconds = seconds_since(start);
  return timed;
}

}  // namespace

void print_timing(const Arguments& arguments) {
  const Inputs inputs = read_inputs(arguments);
  const auto start = Clock::now();
  const Pipeline pipeline(arguments.bundle, arguments.options);
  const double opened = seconds_since(start);
  Caller caller(pipeline, {});
  const std::vector<Job> jobs = jobs_of(arguments, inputs, pipeline.info(), caller);
  Batch all;
  for (const Job& job : jobs) all.push_back(&job);
  const Batch batch = batched(all, pipeline.info().batch_limits[1]).front();
  const double first = run(pipeline, batch).seconds;
  std::vector<double> pictures, steps;
  for (int i = 0; i < arguments.timed; ++i) {
    const Run timed = run(pipeline, batch);
    pictures.push_back(timed.seconds);
    steps.insert(steps.end(), timed.steps.begin(), timed.steps.end());
  }
  const PictureSettings& settings = batch.front()->settings;
  const nlohmann::ordered_json figures = {{"backend", pipeline.info().backend},
                                          {"device", pipeline.info().device},
                                          {"batch", batch.size()},
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
