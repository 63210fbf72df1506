// An empty folder of a test's own, removed at its end.
#pragma once

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <stdexcept>
#include <string>

class TemporaryFolder {
 public:
  TemporaryFolder() : path(made()) {}
  ~TemporaryFolder() { std::filesystem::remove_all(path); }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;

  void write(const std::string& name, const std::string& content) const {
    std::filesystem::create_directories((path / name).parent_path());
    std::ofstream(path / name, std::ios::binary) << content;
  }

  const std::filesystem::path path;

 private:
  static std::filesystem::path made() {
    std::string name = std::filesystem::temp_directory_path() / "trt_pipeline_XXXXXX";
    if (!mkdtemp(name.data())) throw std::runtime_error("no temporary folder could be made");
    return name;
  }
};
