#include "guidance.hpp"

namespace trt_pipeline::internal {
namespace {

struct Line {
  std::size_t sample;
  const InputIds* text;
  double weight;
};

std::vector<Line> lines_of(const std::vector<Mixture>& mixtures,
                           const std::vector<InputIds>& negatives,
                           const std::vector<double>& scales) {
  std::vector<Line> lines;
  for (std::size_t sample = 0; sample < scales.size(); ++sample) {
    if (scales[sample] != 1) lines.push_back({sample, &negatives[sample], 1 - scales[sample]});
    for (const WeightedText& text : mixtures[sample]) {
      lines.push_back({sample, &text.input_ids, scales[sample] * text.weight});
    }
  }
  return lines;
}

}  // namespace

Guidance guide(const std::vector<Mixture>& mixtures, const std::vector<InputIds>& negatives,
               const std::vector<double>& scales) {
  const auto lines = lines_of(mixtures, negatives, scales);
  Guidance guidance{
      {DType::int32, {lines.size()}}, {DType::float32, {mixtures.size(), lines.size()}}, {}};
  const auto rows = guidance.rows.as<std::int32_t>();
  const auto matrix = guidance.matrix.as<float>();
  for (std::size_t m = 0; m < lines.size(); ++m) {
    rows[m] = static_cast<std::int32_t>(lines[m].sample);
    matrix[lines[m].sample * lines.size() + m] = static_cast<float>(lines[m].weight);
    guidance.texts.push_back(*lines[m].text);
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
