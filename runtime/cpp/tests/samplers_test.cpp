#include "samplers/samplers.hpp"

#include <doctest/doctest.h>

#include "errors.hpp"
#include "golden.hpp"

using namespace trt_pipeline::internal;

namespace {

ScheduleSpec schedule_of(const nlohmann::json& entry) {
  const auto& prediction = entry["prediction"];
  return {{prediction["sample"], prediction["noise"]},
          entry["steps_offset"],
          entry["set_alpha_to_one"],
          entry["timestep_spacing"],
          entry["alphas_cumprod"]};
}

SamplerTable table_of(const nlohmann::json& golden, const nlohmann::json& expected) {
  const auto published = schedule_of(golden["schedules"][expected["schedule"].get<std::string>()]);
  return sampler_table(expected["sampler"], choose_schedule(published, expected["choice"]),
                       expected["steps"], expected["eta"], expected["start"]);
}

}  // namespace

TEST_CASE("every sampler gives Python's table") {
  const auto samplers = golden("samplers.json");
  for (const auto& expected : samplers["cases"]) {
    if (expected.contains("error")) continue;
    CAPTURE(expected["schedule"].get<std::string>());
    CAPTURE(expected["sampler"].get<std::string>());
    CAPTURE(expected["steps"].get<int>());
    CAPTURE(expected["start"].get<int>());
    const SamplerTable table = table_of(samplers, expected);
    REQUIRE(table.timesteps.size() == expected["length"]);
    CHECK(table.noisy_steps == expected["noisy_steps"]);
    CHECK(float32_steps(table.initial_scale, expected["initial_scale"]) <= 1);
    REQUIRE(table.alphas_cumprod.size() == table.timesteps.size() + 1);
    CHECK(float32_steps(table.alphas_cumprod.back(), expected["last_alpha_cumprod"]) <= 1);
    for (std::size_t i = 0; i < expected["rows"].size(); ++i) {
      const std::size_t row = expected["rows"][i];
      CHECK(float32_steps(table.alphas_cumprod[row], expected["alphas_cumprod"][i]) <= 1);
      CHECK(table.timesteps[row] ==
            doctest::Approx(expected["timesteps"][i].get<double>()).epsilon(1e-7));
      for (std::size_t column = 0; column < 8; ++column) {
        const auto wanted = expected["coefficients"][i][column].get<double>();
        const double off = std::abs(table.coefficients[row][column] - wanted);
        // One step of float32, or what cancellation leaves of float64's last bits.
        CHECK_MESSAGE((off <= 1e-12 || float32_steps(table.coefficients[row][column], wanted) <= 1),
                      "row " << row << ", column " << column << ": "
                             << table.coefficients[row][column] << " for " << wanted);
      }
    }
  }
}

TEST_CASE("what Python refuses is refused with its words") {
  const auto samplers = golden("samplers.json");
  for (const auto& expected : samplers["cases"]) {
    if (!expected.contains("error")) continue;
    const auto message = expected["error"].get<std::string>();
    CHECK_THROWS_WITH_AS(table_of(samplers, expected), message.c_str(), InvalidInputError);
  }
}

TEST_CASE("an unknown sampler and an eta without a use are refused") {
  const auto schedule = schedule_of(golden("samplers.json")["schedules"]["leading"]);
  CHECK_THROWS_AS(sampler_table("heun", schedule, 5, 0), InvalidInputError);
  CHECK_THROWS_WITH_AS(sampler_table("euler", schedule, 5, 0.5),
                       "eta must be 0 with sampler euler, got 0.5; only ddim and tcd have an eta.",
                       InvalidInputError);
  for (const char* sampler : {"ddim", "tcd"}) {
    CHECK_THROWS_AS(sampler_table(sampler, schedule, 5, std::nan("")), InvalidInputError);
  }
}

TEST_CASE("CompVis never trained with a schedule that ends without signal") {
  auto schedule = schedule_of(golden("samplers.json")["schedules"]["leading"]);
  choose_schedule(schedule, "trained");
  schedule.alphas_cumprod.back() = 1e-7;
  CHECK_THROWS_AS(choose_schedule(schedule, "trained"), InvalidInputError);
  choose_schedule(schedule, "published");
}

TEST_CASE("consistency models need a schedule with the timesteps they were distilled from") {
  auto schedule = schedule_of(golden("samplers.json")["schedules"]["leading"]);
  schedule.alphas_cumprod.resize(50);
  CHECK(sampler_table("lcm", schedule, 50, 0).timesteps.back() == 0);
  schedule.alphas_cumprod.resize(49);
  CHECK_THROWS_WITH_AS(sampler_table("tcd", schedule, 1, 0),
                       "the schedule has 49 timesteps, but lcm and tcd need at least 50. Use "
                       "another sampler.",
                       InvalidInputError);
}
