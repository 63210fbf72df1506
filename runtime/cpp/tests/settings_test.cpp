#include "settings.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <string>

#include "errors.hpp"

using namespace trt_pipeline::internal;

namespace {

template <class Change>
std::string refusal(Change change) {
  trt_pipeline_settings settings = default_settings();
  change(settings);
  try {
    check_settings(settings);
    return "was accepted";
  } catch (const InvalidInputError& error) {
    return error.what();
  }
}

const Defaults own{100, 3.5, 0.25, 64, 96, "euler"};

}  // namespace

TEST_CASE("settings that are left out pass every check") {
  CHECK_NOTHROW(check_settings(default_settings()));
}

TEST_CASE("a setting outside its bounds is refused in Python's words") {
  CHECK(refusal([](auto& s) { s.num_inference_steps = -1; }) ==
        "num_inference_steps must be an integer from 1 to 1000000, got -1.");
  CHECK(refusal([](auto& s) { s.cache_interval = 0; }) ==
        "cache_interval must be an integer from 1 to 1000, got 0.");
  CHECK(refusal([](auto& s) { s.strength = 1.5; }) ==
        "strength must be a finite number from 0 to 1, got 1.5.");
  CHECK(refusal([](auto& s) { s.guidance_scale = INFINITY; }) ==
        "guidance_scale must be a finite number from -1e+06 to 1e+06, got inf.");
  CHECK(refusal([](auto& s) { s.guidance_interval[0] = 2; }) ==
        "guidance_interval must be a finite number from 0 to 1, got 2.");
  CHECK(refusal([](auto& s) { s.guidance_interval[1] = NAN; }).starts_with("guidance_interval"));
}

TEST_CASE("an interval must not stop before it starts") {
  CHECK(refusal([](auto& s) {
          s.guidance_interval[0] = 0.75;
          s.guidance_interval[1] = 0.5;
        }) == "guidance_interval must not stop before it starts, got 0.75 to 0.5.");
}

TEST_CASE("each of a pair has the same bounds, and a pair of zeros means none where zero is none") {
  CHECK(refusal([](auto& s) { s.target_size[0] = 64; }) ==
        "target_size must be an integer from 1 to 65536, got 0.");
  CHECK(refusal([](auto& s) { s.crops_coords_top_left[1] = -1; }) ==
        "crops_coords_top_left must be an integer from 0 to 65536, got -1.");
  trt_pipeline_settings settings = default_settings();
  CHECK(quoted(settings, "original_size") == "");
  settings.original_size[0] = settings.original_size[1] = 64;
  CHECK(quoted(settings, "original_size") == "(64, 64)");
}

TEST_CASE("a choice is one of those that the table lists, and not a part of one") {
  CHECK(refusal([](auto& s) { s.schedule = "linear"; }) ==
        "schedule must be one of published, trained, got 'linear'.");
  for (const char* sampler : {"", "dim", "ddim, euler", "dpmsolver"}) {
    CHECK(
        refusal([&](auto& s) { s.sampler = sampler; }).starts_with("sampler must be one of ddim"));
  }
  CHECK(refusal([](auto& s) { s.sampler = "dpmsolver++_karras"; }) == "was accepted");
}

TEST_CASE("what is left out is the bundle's own") {
  const auto settings = completed(default_settings(), own);
  CHECK(settings.num_inference_steps == 100);
  CHECK(settings.guidance_scale == 3.5);
  CHECK(settings.eta == 0.25);
  CHECK(settings.height == 64);
  CHECK(settings.width == 96);
  CHECK(std::string(settings.sampler) == "euler");
}

TEST_CASE("another sampler has an eta of 0, and the size follows from an image") {
  auto given = default_settings();
  const std::uint8_t pixel[3] = {};
  given.sampler = "ddim";
  given.image = pixel;
  const auto settings = completed(given, own);
  CHECK(settings.eta == 0);
  CHECK(settings.height == 0);
  given.sampler = "euler";
  CHECK(completed(given, own).eta == 0.25);
}
