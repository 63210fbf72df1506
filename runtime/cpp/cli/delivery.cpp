#include "delivery.hpp"

#include <algorithm>
#include <iostream>

#include "errors.hpp"
#include "picture_reader.hpp"
#include "picture_writer.hpp"

namespace trt_pipeline::cli {

namespace fs = std::filesystem;

std::optional<GridFile> plan_grid(const Arguments& arguments, const std::vector<Job>& jobs,
                                  const std::optional<Destination>& destination) {
  if (!arguments.grid) return std::nullopt;
  const fs::path& path = *arguments.grid;
  if (destination && destination->may_write(path)) {
    throw internal::InvalidInputError(
        internal::concat("output ", path.string(), " cannot be a picture's file and the grid's."));
  }
  const Codec& codec = check_file(path, arguments.force);
  std::int32_t height = 0, width = 0;
  for (const Job& job : jobs) {
    height = std::max(height, job.settings.height);
    width = std::max(width, job.settings.width);
  }
  GridFile file{path, PictureGrid(jobs.size(), static_cast<std::size_t>(height),
                                  static_cast<std::size_t>(width), arguments.grid_columns)};
  check_sides(codec, file.grid.height(), file.grid.width());
  return file;
}

void Delivery::keep(const Job& job, const fs::path& path) {
  tell(job, path);
  if (grid_) show(job, read_pixels(path.string(), path).on_white());
}

void Delivery::add(const Job& job, const Picture& picture) {
  tell(job, destination_ ? destination_->save(picture, job) : fs::path());
  if (grid_) show(job, picture.pixels);
}

// path: empty if the picture is in the grid only.
void Delivery::tell(const Job& job, const fs::path& path) {
  auto& entry = entries_.emplace_back(nlohmann::ordered_json::object());
  if (!path.empty()) {
    entry["path"] = path.string();
    if (!arguments_.as_json) std::cout << path.string() << std::endl;
  }
  if (grid_) {
    const auto number = static_cast<std::size_t>(&job - jobs_.data());
    entry["grid"] = grid_->path.string();
    entry["row"] = grid_->grid.row(number);
    entry["column"] = grid_->grid.column(number);
  }
  entry.update(to_json(job.settings));
}

void Delivery::show(const Job& job, std::span<const std::uint8_t> pixels) {
  const auto number = static_cast<std::size_t>(&job - jobs_.data());
  grid_->grid.paste(number, pixels, static_cast<std::size_t>(job.settings.height),
                    static_cast<std::size_t>(job.settings.width));
}

void Delivery::finish() {
  if (grid_) {
    const PictureGrid& grid = grid_->grid;
    save_picture({grid.pixels(), grid.height(), grid.width(), std::nullopt}, arguments_.encoding,
                 grid_->path, arguments_.force);
    if (!arguments_.as_json) std::cout << grid_->path.string() << std::endl;
  }
  if (arguments_.as_json) std::cout << entries_.dump(1, ' ', true) << '\n';
}

}  // namespace trt_pipeline::cli
