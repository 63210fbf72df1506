// Manifest: what the entries of bundle.json say, as docs/reference/bundle-format.md specifies them.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "decoding.hpp"
#include "previews.hpp"
#include "tensor.hpp"

namespace trt_pipeline::internal {

// A number where the size is fixed, a name where it varies.
using Dim = std::variant<std::int64_t, std::string>;

struct TensorSpec {
  std::string name;
  DType dtype;
  std::vector<Dim> shape;
};

// One ONNX graph at one arithmetic precision; files are relative to the bundle.
struct GraphSpec {
  std::string path;
  std::string weights;
  std::vector<TensorSpec> inputs;
  std::vector<TensorSpec> outputs;
};

struct ModelSpec {
  std::string name;
  std::string family;  // the exporter's file that describes models of this kind
  std::int64_t latent_channels;
  std::int64_t vae_scale_factor;    // pixels per latent
  std::int64_t context_tokens = 0;  // in a row of context_kv; 0 without it
  // What the denoiser's `condition` is made of; empty without it. low_resolution: the picture to
  // enlarge, RGB in -1..1, of the latents' height and width. masked_image: a mask, 1 where it is
  // painted again, then the latents of the picture without that part. image: the latents of the
  // picture to change, zero in the row without guidance.
  std::string condition = {};
  bool guides_above_1_only = false;     // a guidance scale of 1 or less means no guidance
  bool zeros_for_empty_prompt = false;  // a negative prompt that is not given is a row of zeros
};

// What a call uses for settings that it leaves out; sizes in pixels.
struct Defaults {
  std::int64_t num_inference_steps;
  double guidance_scale;
  double eta;
  std::int64_t height;
  std::int64_t width;
  std::string sampler;
};

// An inclusive range.
using Range = std::array<std::int64_t, 2>;

// What the graphs of a bundle accept; sizes in pixels, multiples of vae_scale_factor.
struct Limits {
  Range batch;
  Range height;
  Range width;
};

// What the denoiser predicts: output = u(ᾱ)·x0 + w(ᾱ)·ε. u and w are linear in 1, √ᾱ and √(1-ᾱ):
// each entry holds those three factors.
struct PredictionSpec {
  std::array<double, 3> sample;  // of u
  std::array<double, 3> noise;   // of w
};

// The noise schedule that the model was trained with.
struct ScheduleSpec {
  PredictionSpec prediction;
  std::int64_t steps_offset;
  bool set_alpha_to_one;
  std::string timestep_spacing;  // leading, linspace or trailing, as diffusers names them
  std::vector<double> alphas_cumprod;

  std::int64_t training_steps() const { return static_cast<std::int64_t>(alphas_cumprod.size()); }
};

// A piece of text that is one token wherever it stands, however words are split otherwise.
struct AddedToken {
  std::string content;
  std::int64_t id;
  bool single_word;     // found only where no letter, digit or mark touches it
  bool lstrip, rstrip;  // takes the white space before it, after it
  bool normalized;      // looked for in normalized text, in its own normalized form
  // How many tokens a text that has it is read with: <x> of three is <x> <x>_1 <x>_2.
  std::int64_t vectors = 1;

  // The content of one of its tokens.
  std::string part(std::int64_t number) const {
    return number ? content + "_" + std::to_string(number) : content;
  }
};

// What BERT does to a text before it splits words.
struct WordPieceRules {
  bool clean_text;  // drops control characters, makes white space blanks
  bool lowercase;
  std::optional<bool> strip_accents;  // none follows lowercase
  bool tokenize_chinese_chars;
};

// How prompts become token ids.
struct TokenizerSpec {
  // What a file holds → the file: `vocab`, and of CLIP's tokenizer `merges` besides.
  std::map<std::string, std::string> files;
  std::int64_t max_length;
  std::string padding_side;     // left or right
  std::string truncation_side;  // where a longer prompt loses tokens
  std::int64_t start_id, end_id, pad_id;
  std::int64_t unk_id;                      // of what has no pieces
  std::vector<AddedToken> added_tokens;     // by rising id
  std::optional<WordPieceRules> wordpiece;  // none for CLIP's kind, byte_pair
};

struct FileSpec {
  std::int64_t size;   // bytes
  std::string sha256;  // lower-case hexadecimal
};

// The shapes that an engine takes for one input: TensorRT's optimization profile.
struct ShapeRange {
  std::vector<std::int64_t> min, opt, max;
};

// One TensorRT plan, and all that makes it stale when it changes.
struct EngineSpec {
  std::string graph;
  std::string path;
  std::string flavour;  // tensorrt or tensorrt_rtx
  std::string version;
  std::string compute_capability;  // of an ampere_plus plan the lowest one
  std::string platform;
  std::string precision;  // fp32, fp16, bf16, int8 or fp8: of the arithmetic
  std::string
      onnx_sha256;  // of the fp16 graph, or for 8 bits of the int8 one, which has its ranges
  std::string weights_sha256;
  std::map<std::string, ShapeRange> profile;
  std::int64_t optimization_level;
  std::string hardware_compatibility_level = "none";
  bool version_compatible = false;
};

// The one with an int8 form.
inline constexpr const char* quantized_graph = "denoiser";

struct Manifest {
  ModelSpec model;
  Defaults defaults;
  std::string precision;  // in which the weights are stored
  std::map<std::string, std::map<std::string, GraphSpec>> graphs;  // name → precision → graph
  Limits limits;
  ScheduleSpec schedule;
  std::optional<TokenizerSpec> tokenizer;  // none for models without prompts
  std::map<std::string, FileSpec> files;
  std::vector<EngineSpec> engines;
  PreviewMap preview;                        // empty if there is none
  std::optional<TokenizerSpec> tokenizer_2;  // of a second text encoder
};

// Every entry of bundle.json but format_version; FormatError names what does not fit.
Manifest parse_entries(const Json& entries);

}  // namespace trt_pipeline::internal
