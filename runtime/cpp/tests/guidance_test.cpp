#include "guidance.hpp"

#include <doctest/doctest.h>

#include "golden.hpp"

using namespace trt_pipeline::internal;

namespace {

// Any injective map will do, as guidance only hands the ids on. Null is no text at all.
TextIds ids_of(const nlohmann::json& text) {
  if (text.is_null()) return {};
  const auto characters = text.get<std::string>();
  return {InputIds(characters.begin(), characters.end())};
}

std::vector<GuidanceScales> scales_of(const nlohmann::json& expected) {
  std::vector<GuidanceScales> scales;
  for (std::size_t i = 0; i < expected["scales"].size(); ++i) {
    const auto& image = expected["image_scales"][i];
    scales.push_back(guiding(expected["scales"][i],
                             image.is_null() ? std::nullopt : std::optional<double>(image),
                             expected["guides_above_1_only"]));
  }
  return scales;
}

}  // namespace

TEST_CASE("guidance gives Python's rows, matrix and texts") {
  const auto kept = golden("guidance.json");
  for (const auto& expected : kept["matrices"]) {
    std::vector<Mixture> mixtures;
    for (const auto& mixture : expected["mixtures"]) {
      auto& texts = mixtures.emplace_back();
      for (const auto& pair : mixture) texts.push_back({ids_of(pair[0]), pair[1]});
    }
    std::vector<TextIds> negatives, texts;
    for (const auto& text : expected["negatives"]) negatives.push_back(ids_of(text));
    for (const auto& text : expected["texts"]) texts.push_back(ids_of(text));

    const Guidance guidance = guide(mixtures, negatives, scales_of(expected));

    std::vector<float> matrix;
    for (const auto& row : expected["matrix"]) {
      matrix.insert(matrix.end(), row.begin(), row.end());
    }
    const auto rows = guidance.rows.as<std::int32_t>();
    const auto numbers = guidance.matrix.as<float>();
    CHECK(std::vector<int>(rows.begin(), rows.end()) == expected["rows"].get<std::vector<int>>());
    CHECK(std::vector<float>(numbers.begin(), numbers.end()) == matrix);
    CHECK(guidance.texts == texts);
    CHECK(guidance.sees_image == expected["sees_image"].get<std::vector<bool>>());
  }
}

TEST_CASE("an interval guides Python's steps") {
  const auto kept = golden("guidance.json");
  for (const auto& expected : kept["guided_steps"]) {
    CHECK(guided_steps(expected["interval"], expected["steps"]) ==
          expected["guided"].get<std::vector<bool>>());
  }
}
