// Delivery: finished pictures to their files and into the grid, and their paths to stdout.
#pragma once

#include <nlohmann/json.hpp>
#include <optional>

#include "destinations.hpp"
#include "grid.hpp"

namespace trt_pipeline::cli {

// The picture that shows all pictures of a call.
struct GridFile {
  std::filesystem::path path;
  PictureGrid grid;
};

// The grid that is asked for, if any; InvalidInputError for one that cannot be.
std::optional<GridFile> plan_grid(const Arguments& arguments, const std::vector<Job>& jobs,
                                  const std::optional<Destination>& destination);

// Puts finished pictures where they belong and prints where that is.
class Delivery {
 public:
  Delivery(const Arguments& arguments, const std::vector<Job>& jobs,
           const std::optional<Destination>& destination, std::optional<GridFile> grid)
      : arguments_(arguments), jobs_(jobs), destination_(destination), grid_(std::move(grid)) {}

  // Takes a picture that is there already.
  void keep(const Job& job, const std::filesystem::path& path);
  // Takes a new picture.
  void add(const Job& job, const Picture& picture);
  // Writes the grid and prints what is left to print.
  void finish();

 private:
  void tell(const Job& job, const std::filesystem::path& path);
  void show(const Job& job, std::span<const std::uint8_t> pixels);

  const Arguments& arguments_;
  const std::vector<Job>& jobs_;
  const std::optional<Destination>& destination_;
  std::optional<GridFile> grid_;
  nlohmann::ordered_json entries_ = nlohmann::ordered_json::array();
};

}  // namespace trt_pipeline::cli
