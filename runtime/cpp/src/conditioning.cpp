#include "conditioning.hpp"

#include <algorithm>

namespace trt_pipeline::internal {
namespace {

// Keys and values of the prompts used last; 7.7 MB each for ldm-text2im-large-256 in float32.
constexpr std::size_t context_cache_bytes = 256u << 20;
// Time projections of the schedules used last; 4 MB for 50 steps of the same model.
constexpr std::size_t time_cache_bytes = 128u << 20;

template <class T>
std::vector<T> slice(const std::vector<T>& all, std::size_t start, std::size_t count) {
  const auto begin = all.begin() + static_cast<std::ptrdiff_t>(start);
  return {begin, begin + static_cast<std::ptrdiff_t>(count)};
}

// A row a sample, of its prediction alone.
Guidance row_a_sample(std::size_t count) {
  Guidance guidance{{DType::int32, {count}}, {DType::float32, {count, count}}, {}};
  for (std::size_t i = 0; i < count; ++i) {
    guidance.rows.as<std::int32_t>()[i] = static_cast<std::int32_t>(i);
    guidance.matrix.as<float>()[i * count + i] = 1;
  }
  return guidance;
}

// What each row's sample has of a condition [B, …].
Tensor condition_of(const Tensor& whole, std::size_t start, std::span<const std::int32_t> rows) {
  Shape shape = whole.shape;
  const std::size_t bytes = whole.bytes.size() / shape[0];
  shape[0] = rows.size();
  Tensor condition(whole.dtype, shape);
  auto to = condition.bytes.begin();
  for (const std::int32_t row : rows) {
    const std::size_t sample = start + static_cast<std::size_t>(row);
    to = std::copy_n(whole.bytes.data() + sample * bytes, bytes, to);
  }
  return condition;
}

}  // namespace

Conditioning::Conditioning(const Bundle& bundle, Backend& backend)
    : bundle_(bundle),
      embeds_guidance_(embeds_guidance(bundle)),
      text_encoder_(takes_prompts(bundle) ? backend.open("text_encoder") : nullptr),
      time_embedding_(backend.open("time_embedding")),
      contexts_(context_cache_bytes),
      times_(time_cache_bytes) {}

// Parts end where samples begin that see other rows without guidance: whether a step can take the
// features of another must not depend on a sample's company.
Conditions Conditioning::conditions(const Plan& plan, const OnPart& on_part) {
  const auto max_count = static_cast<std::size_t>(bundle_.manifest.limits.batch[1]);
  Conditions made;
  for (std::size_t start = 0, end = 0; start < plan.count(); start = end) {
    const bool differs = changes(plan, start);
    while (end < plan.count() && end - start < max_count && changes(plan, end) == differs) ++end;
    made.guided.push_back(part(plan, start, end - start, true, on_part));
    made.unguided.push_back(differs ? part(plan, start, end - start, false, on_part)
                                    : made.guided.back());
  }
  return made;
}

// Whether a sample sees other rows in steps without guidance.
bool Conditioning::changes(const Plan& plan, std::size_t sample) const {
  const bool all_guided = std::ranges::find(plan.guided, false) == plan.guided.end();
  return text_encoder_ && !embeds_guidance_ && !all_guided && plan.scales[sample] != 1;
}

std::shared_ptr<const Part> Conditioning::part(const Plan& plan, std::size_t start,
                                               std::size_t count, bool guided,
                                               const OnPart& on_part) {
  Part part{start, count, {}, {}};
  Guidance made = guidance(plan, start, count, guided);
  const auto rows = made.rows.as<std::int32_t>();
  on_part(count, rows.size());
  if (text_encoder_) part.constants.emplace("context_kv", context_kv(made.texts));
  if (plan.condition) {
    part.constants.emplace("condition", condition_of(*plan.condition, start, rows));
  }
  for (const std::int32_t row : rows) {
    const double scale = plan.scales[start + static_cast<std::size_t>(row)];
    part.time_embeds.push_back(time_embeds(plan.table.timesteps, embeds_guidance_ ? scale : 1.0));
  }
  part.constants.emplace("rows", std::move(made.rows));
  part.constants.emplace("guidance", std::move(made.matrix));
  return std::make_shared<const Part>(std::move(part));
}

// An embedded scale takes the place of unconditional rows.
Guidance Conditioning::guidance(const Plan& plan, std::size_t start, std::size_t count,
                                bool guided) const {
  if (!text_encoder_) return row_a_sample(count);
  const bool by_rows = guided && !embeds_guidance_;
  return guide(slice(plan.prompts.mixtures, start, count),
               slice(plan.prompts.negatives, start, count),
               by_rows ? slice(plan.scales, start, count) : std::vector<double>(count, 1.0));
}

// [M, K], encoded one by one so that a prompt's never depends on its company.
Tensor Conditioning::context_kv(const std::vector<InputIds>& texts) {
  std::vector<SharedTensor> rows;
  for (const InputIds& ids : texts) {
    rows.push_back(contexts_.get(ids, [&] {
      const TensorView input{DType::int32, {1, ids.size()}, ids.data()};
      return output_of(*text_encoder_, {{"input_ids", input}}, "context_kv", {1, 0});
    }));
  }
  return concatenated(rows);
}

// [N, E]; scale: of guidance, where it is embedded.
SharedTensor Conditioning::time_embeds(const std::vector<float>& timesteps, double scale) {
  return times_.get({timesteps, scale}, [&] {
    const std::size_t steps = timesteps.size();
    const std::vector<float> scales(steps, static_cast<float>(scale));
    TensorViews inputs = {{"timesteps", {DType::float32, {steps}, timesteps.data()}}};
    if (embeds_guidance_) {
      inputs.emplace("guidance_scale", TensorView(DType::float32, {steps}, scales.data()));
    }
    return output_of(*time_embedding_, inputs, "time_embeds", {steps, 0});
  });
}

}  // namespace trt_pipeline::internal
