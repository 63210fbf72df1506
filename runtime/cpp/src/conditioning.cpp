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

// What each row sees of its sample's condition [B, …]: zeros, or all of it.
Tensor condition_of(const Tensor& whole, std::size_t start, const Guidance& guidance) {
  const auto rows = guidance.rows.as<std::int32_t>();
  Shape shape = whole.shape;
  const std::size_t bytes = whole.bytes.size() / shape[0];
  shape[0] = rows.size();
  Tensor condition(whole.dtype, shape);
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const std::size_t sample = start + static_cast<std::size_t>(rows[i]);
    if (!guidance.sees_image[i]) continue;
    std::copy_n(whole.bytes.data() + sample * bytes, bytes, condition.bytes.data() + i * bytes);
  }
  return condition;
}

// Zeros instead of what a graph gives, for a batch of 1.
SharedOutputs zeros_of(const GraphSpec& graph) {
  Tensors zeros;
  for (const TensorSpec& output : graph.outputs) {
    Shape shape;
    for (const Dim& dim : output.shape) {
      const auto* size = std::get_if<std::int64_t>(&dim);
      shape.push_back(size ? static_cast<std::size_t>(*size) : 1);
    }
    zeros.emplace(output.name, Tensor(output.dtype, shape));
  }
  return std::make_shared<const Tensors>(std::move(zeros));
}

// A row [P] of each of N steps.
Tensor at_each_step(const Tensor& row, std::size_t steps) {
  Tensor rows(row.dtype, {steps, count_of(row.shape)});
  for (std::size_t i = 0; i < steps; ++i) {
    std::copy_n(row.bytes.data(), row.bytes.size(), rows.bytes.data() + i * row.bytes.size());
  }
  return rows;
}

}  // namespace

Conditioning::Conditioning(const Bundle& bundle, Backend& backend)
    : bundle_(bundle),
      text_spec_(takes_prompts(bundle) ? &bundle.graph("text_encoder", backend.precision())
                                       : nullptr),
      embeds_guidance_(embeds_guidance(bundle)),
      embeds_texts_(embeds_texts(bundle)),
      embeds_sizes_(embeds_sizes(bundle)),
      text_encoder_(takes_prompts(bundle) ? backend.open("text_encoder") : nullptr),
      time_embedding_(backend.open("time_embedding")),
      texts_(context_cache_bytes),
      times_(time_cache_bytes) {}

// Parts end where samples begin that see other rows without guidance: whether a step can take the
// features of another must not depend on a sample's company.
Conditions Conditioning::conditions(const Plan& plan, const std::optional<Tensor>& condition,
                                    const OnPart& on_part) {
  const auto max_count = static_cast<std::size_t>(bundle_.manifest.limits.batch[1]);
  Conditions made;
  for (std::size_t start = 0, end = 0; start < plan.count(); start = end) {
    const bool differs = changes(plan, start);
    while (end < plan.count() && end - start < max_count && changes(plan, end) == differs) ++end;
    const auto made_part = [&](bool guided) {
      return part(plan, condition, start, end - start, guided, on_part);
    };
    made.guided.push_back(made_part(true));
    made.unguided.push_back(differs ? made_part(false) : made.guided.back());
  }
  return made;
}

// Whether a sample sees other rows in steps without guidance.
bool Conditioning::changes(const Plan& plan, std::size_t sample) const {
  const bool all_guided = std::ranges::find(plan.guided, false) == plan.guided.end();
  return text_encoder_ && !embeds_guidance_ && !all_guided && plan.scales[sample].text != 1;
}

std::shared_ptr<const Part> Conditioning::part(const Plan& plan,
                                               const std::optional<Tensor>& condition,
                                               std::size_t start, std::size_t count, bool guided,
                                               const OnPart& on_part) {
  Part part{start, count, {}, {}};
  Guidance made = guidance(plan, start, count, guided);
  const auto rows = made.rows.as<std::int32_t>();
  on_part(count, rows.size());
  std::vector<SharedTensor> contexts;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const double scale = plan.scales[start + static_cast<std::size_t>(rows[i])].text;
    TimeKey times{plan.table.timesteps, embeds_guidance_ ? scale : 1.0, {}, plan.time_ids};
    if (text_encoder_) contexts.push_back(one_output(encoded(made.texts[i]), "context_kv"));
    if (embeds_texts_) times.text = made.texts[i];
    part.time_embeds.push_back(time_embeds(times));
  }
  if (text_encoder_) part.constants.emplace("context_kv", concatenated(contexts));
  if (condition) part.constants.emplace("condition", condition_of(*condition, start, made));
  part.constants.emplace("rows", std::move(made.rows));
  part.constants.emplace("guidance", std::move(made.matrix));
  return std::make_shared<const Part>(std::move(part));
}

// An embedded scale takes the place of unconditional rows.
Guidance Conditioning::guidance(const Plan& plan, std::size_t start, std::size_t count,
                                bool guided) const {
  if (!text_encoder_) {
    const std::vector<Mixture> textless(count, {{{}, 1.0}});
    return guide(textless, {}, std::vector<GuidanceScales>(count));
  }
  const bool by_rows = guided && !embeds_guidance_;
  return guide(slice(plan.prompts.mixtures, start, count),
               slice(plan.prompts.negatives, start, count),
               by_rows ? slice(plan.scales, start, count) : std::vector<GuidanceScales>(count));
}

// What the text encoder gives of one text, so that it never depends on the text's company.
SharedOutputs Conditioning::encoded(const TextIds& text) {
  return texts_.get(text, [&] {
    if (text.empty()) return zeros_of(*text_spec_);
    TensorViews inputs;
    for (std::size_t i = 0; i < text.size(); ++i) {
      inputs.emplace(i ? "input_ids_2" : "input_ids",
                     TensorView(DType::int32, {1, text[i].size()}, text[i].data()));
    }
    std::map<std::string, Shape> expected = {{"context_kv", {1, 0}}};
    if (embeds_texts_) expected["text_embeds"] = {1, 0};
    return outputs_of(*text_encoder_, inputs, expected);
  });
}

// [N, E] of what joins the N timesteps.
SharedTensor Conditioning::time_embeds(const TimeKey& key) {
  const auto make = [&] {
    const std::size_t steps = key.timesteps.size();
    const std::vector<float> scales(steps, static_cast<float>(key.scale));
    TensorViews inputs = {{"timesteps", {DType::float32, {steps}, key.timesteps.data()}}};
    if (embeds_guidance_) {
      inputs.emplace("guidance_scale", TensorView(DType::float32, {steps}, scales.data()));
    }
    Tensors repeats;
    if (embeds_texts_) {
      const SharedOutputs text = encoded(key.text);
      repeats.emplace("text_embeds", at_each_step(text->find("text_embeds")->second, steps));
    }
    if (embeds_sizes_) {
      Tensor sizes(DType::float32, {key.time_ids.size()});
      std::ranges::copy(key.time_ids, sizes.as<float>().begin());
      repeats.emplace("time_ids", at_each_step(sizes, steps));
    }
    inputs.insert(repeats.begin(), repeats.end());
    return outputs_of(*time_embedding_, inputs, {{"time_embeds", {steps, 0}}});
  };
  return one_output(times_.get(key, make), "time_embeds");
}

}  // namespace trt_pipeline::internal
