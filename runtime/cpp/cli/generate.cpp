#include "generate.hpp"

#include <iostream>

#include "delivery.hpp"
#include "planning.hpp"

namespace trt_pipeline::cli {
namespace {

using Kept = std::unordered_map<const Job*, std::filesystem::path>;

Batch missing(const std::vector<Job>& jobs, const Kept& kept) {
  Batch missing;
  for (const Job& job : jobs) {
    if (!kept.contains(&job)) missing.push_back(&job);
  }
  return missing;
}

// Batch after batch, so that finished pictures are on disk early.
void make(Caller& caller, const std::vector<Batch>& batches, Delivery& delivery) {
  for (const Batch& batch : batches) {
    const Pictures pictures = caller.make(batch);
    for (std::size_t i = 0; i < batch.size(); ++i) {
      delivery.add(*batch[i],
                   {pictures.pixels(i), pictures.height(), pictures.width(), batch[i]->settings});
    }
  }
}

void announce(std::size_t pictures, std::size_t kept) {
  std::cerr << "generating " << pictures << (pictures == 1 ? " picture" : " pictures");
  if (kept) std::cerr << ", " << kept << " kept";
  std::cerr << '\n';
}

}  // namespace

void generate(const Arguments& arguments, const Progress& progress) {
  const Inputs inputs = read_inputs(arguments);
  std::optional<Destination> destination;
  if (arguments.output || !arguments.grid) destination.emplace(open_destination(arguments));
  if (!arguments.no_progress) std::cerr << "loading " << arguments.bundle << '\n';
  const Pipeline pipeline(arguments.bundle, arguments.options);
  Caller caller(pipeline, progress);
  const std::vector<Job> jobs = jobs_of(arguments, inputs, pipeline.info(), caller);
  if (destination) destination->check(jobs);
  auto grid = plan_grid(arguments, jobs, destination);
  Kept kept;
  if (destination && arguments.prompt_file) {
    kept = kept_pictures(*destination, jobs, arguments.resume);
  }
  Delivery delivery(arguments, jobs, destination, std::move(grid));
  for (const Job& job : jobs) {
    if (kept.contains(&job)) delivery.keep(job, kept.at(&job));
  }
  const Batch todo = missing(jobs, kept);
  if (!arguments.no_progress) announce(todo.size(), kept.size());
  make(caller, batched(todo, pipeline.info().batch_limits[1]), delivery);
  delivery.finish();
}

}  // namespace trt_pipeline::cli
