#include "prompt_files.hpp"

#include <doctest/doctest.h>

#include "errors.hpp"
#include "temporary_folder.hpp"

using namespace trt_pipeline::cli;
using trt_pipeline::internal::InvalidInputError;

namespace {

LineDefaults defaults(std::optional<std::uint64_t> seed = 100, int count = 1) {
  PictureSettings settings;
  settings.model = "tiny";
  settings.num_inference_steps = 50;
  settings.height = settings.width = 64;
  return {settings, {}, count, seed, 1};
}

std::vector<PromptLine> lines_of(const std::string& name, const std::string& content) {
  const TemporaryFolder folder;
  folder.write(name, content);
  return read_prompt_file(folder.path / name);
}

std::vector<Job> jobs_of(const std::string& content, const LineDefaults& given = defaults()) {
  return file_jobs(lines_of("prompts.jsonl", content), ".", given);
}

}  // namespace

TEST_CASE("comments and blank lines are skipped") {
  const auto lines =
      lines_of("prompts.txt", "\xef\xbb\xbf# shapes\n\nred \r\n  # no prompt\n  blue circle");
  REQUIRE(lines.size() == 2);
  CHECK(lines[0].number == 3);
  CHECK(lines[0].entries["prompt"] == "red");
  CHECK(lines[1].number == 5);
  CHECK(lines[1].entries["prompt"] == "blue circle");
}

TEST_CASE("a JSON line has settings of its own") {
  const auto jobs =
      jobs_of(R"({"prompt": "red", "seed": 18446744073709551615, "guidance_scale": 6, "eta": 0.3,)"
              R"( "guidance_interval": [0.1, 0.8], "timestep_spacing": "linspace", "width": 96})");
  REQUIRE(jobs.size() == 1);
  const PictureSettings& settings = jobs[0].settings;
  CHECK(settings.prompt == "red");
  CHECK(settings.seed == UINT64_MAX);
  CHECK(settings.guidance_scale == 6);
  CHECK(settings.guidance_interval == std::array{0.1, 0.8});
  CHECK(settings.timestep_spacing == "linspace");
  CHECK(settings.height == 64);
  CHECK(settings.width == 96);
}

TEST_CASE("a job is named by its line and copy, and seeds count the jobs before") {
  const auto jobs = jobs_of(
      "{\"prompt\": \"a\"}\n{\"prompt\": \"b\", \"seed\": 7, \"count\": 2}\n\n{\"prompt\": \"c\"}");
  REQUIRE(jobs.size() == 4);
  const char* names[] = {"00001-1", "00002-1", "00002-2", "00004-1"};
  const std::uint64_t seeds[] = {100, 7, 8, 103};
  for (std::size_t i = 0; i < jobs.size(); ++i) {
    CHECK(jobs[i].name == names[i]);
    CHECK(jobs[i].settings.seed == seeds[i]);
    CHECK(!jobs[i].any_seed);
  }
}

TEST_CASE("without any seed they are drawn") {
  const std::string content = "{\"prompt\": \"a\"}\n{\"prompt\": \"b\", \"seed\": 7}";
  const auto jobs = jobs_of(content, defaults(std::nullopt));
  CHECK(jobs[0].any_seed);
  CHECK(!jobs[1].any_seed);
}

TEST_CASE("a bad line is named") {
  const std::pair<const char*, const char*> bad[] = {
      {"red", "no JSON: "},
      {"[1]", "it is '[1]', expected a JSON object"},
      {R"({"prompt": "a", "steps": 5})", "'steps' is unknown, expected prompt, seed"},
      {R"({"seed": 1})", "it has no prompt"},
      {R"({"prompt": "a", "eta": 1, "eta": 2})", "entry \"eta\" is there twice"},
      {R"({"prompt": ["a"]})", "settings.prompt is a list, expected a string"},
      {R"({"prompt": "a", "seed": null})", "settings.seed is null, expected an integer"},
      {R"({"prompt": "a", "seed": -1})", "seed must be an integer from 0"},
      {R"({"prompt": "a", "seed": 18446744073709551615, "count": 2})", "seed must be an integer"},
      {R"({"prompt": "a", "eta": "0.3"})", "settings.eta is \"0.3\", expected a number"},
      {R"({"prompt": "a", "count": 0})", "count must be an integer from 1 to 10000, got 0"},
      {R"({"prompt": "a", "count": true})", "count must be an integer"},
      {R"({"prompt": "a", "image": "nowhere.png"})",
       "image ./nowhere.png cannot be read: No such"}};
  for (const auto& [line, message] : bad) {
    const std::string where = "prompts.jsonl line 3: ";
    CHECK_THROWS_WITH_AS(jobs_of(std::string("{\"prompt\": \"a\"}\n\n") + line),
                         doctest::Contains((where + message).c_str()), InvalidInputError);
  }
}

TEST_CASE("a file that is no prompt file is refused") {
  CHECK_THROWS_WITH_AS(lines_of("prompts.csv", "red"), doctest::Contains("ends in .txt"),
                       InvalidInputError);
  CHECK_THROWS_WITH_AS(lines_of("prompts.txt", "# later\n"), doctest::Contains("holds no prompts"),
                       InvalidInputError);
  CHECK_THROWS_WITH_AS(lines_of("prompts.txt", "red\n\xff\n"), doctest::Contains("line 2: "),
                       InvalidInputError);
}
