#include "manifest.hpp"

#include <algorithm>
#include <cmath>
#include <set>

#include "errors.hpp"
#include "names.hpp"

namespace trt_pipeline::internal {
namespace {

// Of a picture in pixels, of a text in tokens, of latents in channels, of a batch: far more than
// any model has, and few enough that a manifest alone cannot ask for all the memory.
constexpr std::int64_t max_size = 1 << 16;
constexpr std::int64_t max_token_id = (std::int64_t{1} << 31) - 1;  // graphs take ids as int32
constexpr std::size_t max_added_tokens = 1024;
constexpr std::int64_t max_token_characters = 128;  // of an added token

std::string precision_of(const Entry& entry) {
  return entry.one_of({"fp32", "fp16"});
}

DType dtype_of(const Entry& entry) {
  const std::string name = entry.one_of({"float32", "float16", "int32", "uint8"});
  for (DType dtype : {DType::float32, DType::float16, DType::int32}) {
    if (name == name_of(dtype)) return dtype;
  }
  return DType::uint8;
}

Dim dim_of(const Entry& entry) {
  if (entry.value.is_string()) return entry.string();
  if (!entry.value.is_number_integer()) entry.refuse("an integer or a string");
  return entry.integer();
}

template <class T>
std::vector<T> list_of(const Entry& entry, T (*one)(const Entry&)) {
  std::vector<T> values;
  for (const Entry& item : entry.list()) values.push_back(one(item));
  return values;
}

template <class T>
std::map<std::string, T> map_of(const Entry& entry, T (*one)(const Entry&)) {
  std::map<std::string, T> values;
  for (const auto& [name, item] : entry.items()) values.emplace(name, one(item));
  return values;
}

TensorSpec tensor_of(const Entry& entry) {
  Object object(entry);
  TensorSpec tensor{object["name"].string(), dtype_of(object["dtype"]),
                    list_of(object["shape"], dim_of)};
  object.finish();
  return tensor;
}

GraphSpec graph_of(const Entry& entry) {
  Object object(entry);
  GraphSpec graph{object["path"].string(), object["weights"].string(),
                  list_of(object["inputs"], tensor_of), list_of(object["outputs"], tensor_of)};
  object.finish();
  return graph;
}

std::map<std::string, GraphSpec> precisions_of(const Entry& entry) {
  for (const auto& [name, graph] : entry.items()) {
    Entry{Json(name), "a name in " + entry.where}.one_of({"fp32", "fp16", "int8"});
  }
  return map_of(entry, graph_of);
}

// Refuses a number of a named entry that no model has.
void check_size(const Object& object, const char* name, std::int64_t value, std::int64_t low = 1) {
  if (value < low || value > max_size) {
    object.refuse(concat(name, " is ", value, ", expected ", low, " to ", max_size));
  }
}

ModelSpec model_of(const Entry& entry) {
  Object object(entry);
  ModelSpec model{object["name"].string(), object["family"].string(),
                  object["latent_channels"].integer(), object["vae_scale_factor"].integer()};
  if (object.has("context_tokens")) model.context_tokens = object["context_tokens"].integer();
  if (object.has("condition")) {
    const Entry condition = object["condition"];
    if (!condition.is_null()) {
      model.condition = condition.one_of({"low_resolution", "masked_image", "image"});
    }
  }
  if (object.has("guides_above_1_only")) {
    model.guides_above_1_only = object["guides_above_1_only"].boolean();
  }
  if (object.has("zeros_for_empty_prompt")) {
    model.zeros_for_empty_prompt = object["zeros_for_empty_prompt"].boolean();
  }
  object.finish();
  check_size(object, "latent_channels", model.latent_channels);
  check_size(object, "vae_scale_factor", model.vae_scale_factor);
  check_size(object, "context_tokens", model.context_tokens, 0);
  return model;
}

Defaults defaults_of(const Entry& entry) {
  Object object(entry);
  Defaults defaults{object["num_inference_steps"].integer(),
                    object["guidance_scale"].number(),
                    object["eta"].number(),
                    object["height"].integer(),
                    object["width"].integer(),
                    object["sampler"].string()};
  object.finish();
  check_size(object, "num_inference_steps", defaults.num_inference_steps);
  check_size(object, "height", defaults.height);
  check_size(object, "width", defaults.width);
  if (!std::isfinite(defaults.guidance_scale)) {
    object.refuse(
        concat("guidance_scale is ", defaults.guidance_scale, ", expected a finite number"));
  }
  if (!(defaults.eta >= 0 && defaults.eta <= 1)) {
    object.refuse(concat("eta is ", defaults.eta, ", expected 0 to 1"));
  }
  return defaults;
}

Range range_of(const Entry& entry) {
  const auto ends = entry.list_of(2);
  return {ends[0].integer(), ends[1].integer()};
}

Limits limits_of(const Entry& entry) {
  Object object(entry);
  Limits limits{range_of(object["batch"]), range_of(object["height"]), range_of(object["width"])};
  object.finish();
  const std::pair<const char*, Range> ranges[] = {
      {"batch", limits.batch}, {"height", limits.height}, {"width", limits.width}};
  for (const auto& [name, range] : ranges) {
    if (range[0] < 1 || range[1] < range[0] || range[1] > max_size) {
      object.refuse(concat(name, " is ", range[0], "..", range[1], ", expected a range within 1..",
                           max_size));
    }
  }
  return limits;
}

bool never_rises(const std::vector<double>& alphas) {
  double earlier = 1;
  for (double alpha : alphas) {
    if (!(alpha > 0 && alpha <= earlier)) return false;
    earlier = alpha;
  }
  return !alphas.empty() && alphas[0] != 1;
}

double number_of(const Entry& entry) {
  return entry.number();
}

std::array<double, 3> factors_of(const Entry& entry) {
  const auto factors = entry.list_of(3);
  return {factors[0].number(), factors[1].number(), factors[2].number()};
}

PredictionSpec prediction_of(const Entry& entry) {
  Object object(entry);
  const PredictionSpec prediction{factors_of(object["sample"]), factors_of(object["noise"])};
  object.finish();
  std::vector<double> factors(prediction.sample.begin(), prediction.sample.end());
  factors.insert(factors.end(), prediction.noise.begin(), prediction.noise.end());
  const bool finite = std::ranges::all_of(factors, [](double one) { return std::isfinite(one); });
  if (!finite || std::ranges::all_of(factors, [](double one) { return one == 0; })) {
    object.refuse("its factors must be finite numbers, and not all 0");
  }
  return prediction;
}

ScheduleSpec schedule_of(const Entry& entry) {
  Object object(entry);
  ScheduleSpec schedule{prediction_of(object["prediction"]), object["steps_offset"].integer(),
                        object["set_alpha_to_one"].boolean(),
                        object["timestep_spacing"].one_of({"leading", "linspace", "trailing"}),
                        list_of(object["alphas_cumprod"], number_of)};
  object.finish();
  if (!never_rises(schedule.alphas_cumprod)) {
    object.refuse("alphas_cumprod must be numbers between 0 and 1 that never rise");
  }
  const std::int64_t last = schedule.training_steps() - 1;
  if (schedule.steps_offset < 0 || schedule.steps_offset > last) {
    object.refuse(concat("steps_offset is ", schedule.steps_offset, ", expected 0 to ", last));
  }
  return schedule;
}

std::optional<bool> strip_accents_of(const Entry& entry) {
  if (entry.is_null()) return std::nullopt;
  if (!entry.value.is_boolean()) entry.refuse("true or false or null");
  return entry.boolean();
}

std::string string_of(const Entry& entry) {
  return entry.string();
}

AddedToken added_token_of(const Entry& entry) {
  Object object(entry);
  AddedToken token{object["content"].string(),      object["id"].integer(),
                   object["single_word"].boolean(), object["lstrip"].boolean(),
                   object["rstrip"].boolean(),      object["normalized"].boolean()};
  if (object.has("vectors")) token.vectors = object["vectors"].integer();
  object.finish();
  if (token.vectors < 1 || token.vectors > static_cast<std::int64_t>(max_added_tokens)) {
    object.refuse(concat("vectors is ", token.vectors, ", expected 1 to ", max_added_tokens));
  }
  const auto characters =
      std::ranges::count_if(token.content, [](char c) { return (c & 0xc0) != 0x80; });
  if (characters < 1 || characters > max_token_characters) {
    object.refuse(
        concat("content has ", characters, " characters, expected 1 to ", max_token_characters));
  }
  return token;
}

void check_added_tokens(const Object& object, const std::vector<AddedToken>& tokens) {
  if (tokens.size() > max_added_tokens) {
    object.refuse(
        concat("it adds ", tokens.size(), " tokens, expected at most ", max_added_tokens));
  }
  std::int64_t earlier = -1;
  std::set<std::string> contents;
  for (const AddedToken& token : tokens) {
    if (token.id <= earlier || token.id > max_token_id) {
      object.refuse(concat("the ids of added_tokens must rise within 0 to ", max_token_id));
    }
    earlier = token.id;
    if (!contents.insert(token.content).second) {
      object.refuse(concat("added_tokens has ", brief(Json(token.content)), " twice"));
    }
  }
  for (const AddedToken& token : tokens) {
    for (std::int64_t number = 1; number < token.vectors; ++number) {
      if (contents.contains(token.part(number))) continue;
      object.refuse(concat("added_tokens lacks ", brief(Json(token.part(number))), ", but ",
                           brief(Json(token.content)), " has ", token.vectors, " vectors"));
    }
  }
}

void check_files(const Object& object, const TokenizerSpec& spec) {
  const std::set<std::string> needed =
      spec.wordpiece ? std::set<std::string>{"vocab"} : std::set<std::string>{"vocab", "merges"};
  std::set<std::string> found;
  for (const auto& [name, file] : spec.files) found.insert(name);
  if (found == needed) return;
  std::string listed;
  for (const std::string& name : found) enlist(listed, brief(Json(name)));
  object.refuse(concat("its files are ", listed.empty() ? "none" : listed, ", expected \"vocab\"",
                       spec.wordpiece ? "" : " and \"merges\""));
}

void check_tokenizer(const Object& object, const TokenizerSpec& spec) {
  check_files(object, spec);
  if (spec.max_length < 2 || spec.max_length > max_size) {
    object.refuse(concat("max_length is ", spec.max_length, ", expected 2 to ", max_size));
  }
  const std::pair<const char*, std::int64_t> ids[] = {{"start_id", spec.start_id},
                                                      {"end_id", spec.end_id},
                                                      {"pad_id", spec.pad_id},
                                                      {"unk_id", spec.unk_id}};
  for (const auto& [name, id] : ids) {
    if (id < 0 || id > max_token_id) {
      object.refuse(concat(name, " is ", id, ", expected 0 to ", max_token_id));
    }
  }
  check_added_tokens(object, spec.added_tokens);
}

std::optional<WordPieceRules> wordpiece_rules_of(Object& object) {
  if (object["kind"].one_of({"wordpiece", "byte_pair"}) == "byte_pair") return std::nullopt;
  return WordPieceRules{object["clean_text"].boolean(), object["lowercase"].boolean(),
                        strip_accents_of(object["strip_accents"]),
                        object["tokenize_chinese_chars"].boolean()};
}

std::optional<TokenizerSpec> tokenizer_spec_of(const Entry& entry) {
  if (entry.is_null()) return std::nullopt;
  Object object(entry);
  const auto rules = wordpiece_rules_of(object);
  TokenizerSpec spec{map_of(object["files"], string_of),
                     object["max_length"].integer(),
                     object["padding_side"].one_of({"left", "right"}),
                     object["truncation_side"].one_of({"left", "right"}),
                     object["start_id"].integer(),
                     object["end_id"].integer(),
                     object["pad_id"].integer(),
                     object["unk_id"].integer(),
                     list_of(object["added_tokens"], added_token_of),
                     rules};
  object.finish();
  check_tokenizer(object, spec);
  return spec;
}

bool is_digit(char c) {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
}

FileSpec file_of(const Entry& entry) {
  Object object(entry);
  FileSpec file{object["size"].integer(), object["sha256"].string()};
  object.finish();
  if (file.size < 0) object.refuse(concat("size is ", file.size, ", expected 0 or more"));
  if (file.sha256.size() != 64 || !std::ranges::all_of(file.sha256, is_digit)) {
    object.refuse(concat("sha256 is ", brief(file.sha256), ", expected 64 digits from 0 to f"));
  }
  return file;
}

std::int64_t integer_of(const Entry& entry) {
  return entry.integer();
}

ShapeRange shape_range_of(const Entry& entry) {
  Object object(entry);
  ShapeRange range{list_of(object["min"], integer_of), list_of(object["opt"], integer_of),
                   list_of(object["max"], integer_of)};
  object.finish();
  return range;
}

EngineSpec engine_of(const Entry& entry) {
  Object object(entry), key(object["key"]);
  EngineSpec engine{object["graph"].string(),
                    object["path"].string(),
                    key["flavour"].one_of({"tensorrt", "tensorrt_rtx"}),
                    key["version"].string(),
                    key["compute_capability"].string(),
                    key["platform"].string(),
                    key["precision"].one_of({"fp32", "fp16", "bf16", "int8", "fp8"}),
                    key["onnx_sha256"].string(),
                    key["weights_sha256"].string(),
                    map_of(key["profile"], shape_range_of),
                    key["optimization_level"].integer()};
  if (key.has("hardware_compatibility_level")) {
    engine.hardware_compatibility_level = key["hardware_compatibility_level"].one_of(
        {"none", "ampere_plus", "same_compute_capability"});
  }
  if (key.has("version_compatible")) {
    engine.version_compatible = key["version_compatible"].boolean();
  }
  key.finish();
  object.finish();
  return engine;
}

PreviewMap preview_of(const Object& object, const Entry& entry, std::int64_t channels) {
  PreviewMap map;
  for (const Entry& row : entry.list()) map.push_back(list_of(row, number_of));
  const auto fits = [&](const auto& row) {
    return row.size() == static_cast<std::size_t>(channels) + 1;
  };
  if (!map.empty() && (map.size() != 3 || !std::ranges::all_of(map, fits))) {
    object.refuse("preview must be 3 rows of a weight for each channel and an offset");
  }
  return map;
}

}  // namespace

Manifest parse_entries(const Json& entries) {
  Object object({entries, "the manifest"});
  Manifest manifest{model_of(object["model"]),
                    defaults_of(object["defaults"]),
                    precision_of(object["precision"]),
                    map_of(object["graphs"], precisions_of),
                    limits_of(object["limits"]),
                    schedule_of(object["schedule"]),
                    tokenizer_spec_of(object["tokenizer"]),
                    map_of(object["files"], file_of),
                    {},
                    {},
                    std::nullopt};
  for (const auto& [name, entry] : object["provenance"].items()) entry.check_depth();
  if (object.has("engines")) manifest.engines = list_of(object["engines"], engine_of);
  if (object.has("preview")) {
    manifest.preview = preview_of(object, object["preview"], manifest.model.latent_channels);
  }
  if (object.has("tokenizer_2")) manifest.tokenizer_2 = tokenizer_spec_of(object["tokenizer_2"]);
  object.finish();
  try {
    std::vector<std::string> names;
    for (const auto& [name, file] : manifest.files) names.push_back(name);
    check_names(names);
  } catch (const FormatError& error) {
    object.refuse(error.what());
  }
  return manifest;
}

}  // namespace trt_pipeline::internal
