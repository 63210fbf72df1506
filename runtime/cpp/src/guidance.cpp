#include "guidance.hpp"

namespace trt_pipeline::internal {
namespace {

struct Line {
  std::size_t sample;
  const TextIds* text;
  double weight;
  bool sees_image = true;
};

std::vector<Line> lines_of(const std::vector<Mixture>& mixtures,
                           const std::vector<TextIds>& negatives,
                           const std::vector<GuidanceScales>& scales) {
  std::vector<Line> lines;
  for (std::size_t sample = 0; sample < scales.size(); ++sample) {
    const auto& [scale, image] = scales[sample];
    if (scale != 1 && image) {
      lines.push_back({sample, &negatives[sample], 1 - *image, false});
      lines.push_back({sample, &negatives[sample], *image - scale});
    } else if (scale != 1) {
      lines.push_back({sample, &negatives[sample], 1 - scale});
    }
    for (const WeightedText& text : mixtures[sample]) {
      lines.push_back({sample, &text.input_ids, scale * text.weight});
    }
  }
  return lines;
}

}  // namespace

GuidanceScales guiding(double text, const std::optional<double>& image, bool above_1_only) {
  const bool guides = !(image && *image < 1) && !(above_1_only && text <= 1);
  return {guides ? text : 1, image};
}

Guidance guide(const std::vector<Mixture>& mixtures, const std::vector<TextIds>& negatives,
               const std::vector<GuidanceScales>& scales) {
  const auto lines = lines_of(mixtures, negatives, scales);
  Guidance guidance{
      {DType::int32, {lines.size()}}, {DType::float32, {mixtures.size(), lines.size()}}, {}, {}};
  const auto rows = guidance.rows.as<std::int32_t>();
  const auto matrix = guidance.matrix.as<float>();
  for (std::size_t m = 0; m < lines.size(); ++m) {
    rows[m] = static_cast<std::int32_t>(lines[m].sample);
    matrix[lines[m].sample * lines.size() + m] = static_cast<float>(lines[m].weight);
    guidance.texts.push_back(*lines[m].text);
    guidance.sees_image.push_back(lines[m].sees_image);
  }
  return guidance;
}

std::vector<bool> guided_steps(const std::array<double, 2>& interval, std::size_t steps) {
  const auto [start, stop] = interval;
  std::vector<bool> guided;
  for (std::size_t step = 0; step < steps; ++step) {
    const double part = static_cast<double>(step) / static_cast<double>(steps);
    guided.push_back(start <= part && part < stop);
  }
  return guided;
}

}  // namespace trt_pipeline::internal
