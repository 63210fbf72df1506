#include "options.hpp"

#include <algorithm>
#include <charconv>

#include "arguments.hpp"

namespace trt_pipeline::cli {
namespace {

using internal::concat;
using internal::InvalidInputError;

// A whole decimal number; false for anything else, and for one that the type cannot hold.
template <class Number>
bool read(const std::string& text, Number& number) {
  const char* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, number);
  return error == std::errc() && stop == end;
}

template <class Integer>
Integer integer(const std::string& name, const std::string& text, Integer low, Integer high) {
  Integer value{};
  if (read(text, value) && value >= low && value <= high) return value;
  throw InvalidInputError(
      concat(name, " must be an integer from ", low, " to ", high, ", got ", text, "."));
}

double real(const std::string& name, const std::string& text, double low, double high) {
  double value = 0;
  if (read(text, value)) return internal::checked_real(name, value, low, high);
  throw InvalidInputError(
      concat(name, " must be a finite number from ", low, " to ", high, ", got ", text, "."));
}

// Declares the option of a setting, such as --guidance-scale for guidance_scale.
template <class Take>
CLI::Option* option(CLI::App& app, std::string name, const std::string& help, Take take) {
  std::ranges::replace(name, '_', '-');
  return app.add_option_function<std::string>("--" + name, take, help);
}

void text(CLI::App& app, Arguments& arguments, const std::string& name,
          std::optional<std::string>& target, const std::string& help) {
  if (name == "prompt") {
    app.add_option("PROMPT", arguments.prompts, help + " None for a model without prompts.")
        ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
    return;
  }
  option(app, name, help, [&target](const std::string& given) { target = given; });
}

// Declares the option of a setting of two values.
template <class Take>
void two(CLI::App& app, std::string name, const std::string& help, const char* values, Take take) {
  std::ranges::replace(name, '_', '-');
  app.add_option_function<std::vector<std::string>>("--" + name, take, help)
      ->expected(2)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeLast)
      ->type_name(values);
}

void interval(CLI::App& app, const std::string& name, std::array<double, 2>& target, double low,
              double high, const std::string& help) {
  const auto take = [&target, name, low, high](const std::vector<std::string>& ends) {
    target = {real(name, ends.at(0), low, high), real(name, ends.at(1), low, high)};
    internal::check_interval(name, target[0], target[1], low, high);
  };
  two(app, name, help, "START STOP", take);
}

void pair(CLI::App& app, const std::string& name, std::array<std::int32_t, 2>& target,
          std::int32_t low, std::int32_t high, const std::string& help) {
  const auto take = [&target, name, low, high](const std::vector<std::string>& values) {
    target = {integer(name, values.at(0), low, high), integer(name, values.at(1), low, high)};
  };
  two(app, name, help, "INTEGER INTEGER", take);
}

void choice(CLI::App& app, std::string name, std::string& target, const std::string& choices,
            const std::string& help) {
  const auto take = [&target, name, choices](const std::string& given) {
    internal::check_choice(name, given, choices);
    target = given;
  };
  option(app, name, help + " One of: " + choices + ".", take);
}

void file(CLI::App& app, Arguments& arguments, const std::string& name, const std::string& help) {
  auto& target = name == "image" ? arguments.image : arguments.mask_image;
  option(app, name, help + " A PNG, which is not resized.", [&target](const std::string& given) {
    target = given;
  })->type_name("FILE");
}

void declare_settings(CLI::App& app, Arguments& arguments) {
  Settings& settings = arguments.settings;
#define TRT_PIPELINE_TEXT(name, fallback, help) text(app, arguments, #name, settings.name, help);
#define TRT_PIPELINE_SEED(name, help)                                     \
  option(app, #name, help, [&arguments](const std::string& given) {       \
    arguments.name = integer<std::uint64_t>(#name, given, 0, UINT64_MAX); \
  })->type_name("INTEGER");
#define TRT_PIPELINE_INTEGER(name, low, high, fallback, help)       \
  option(app, #name, help, [&settings](const std::string& given) {  \
    settings.name = integer<std::int32_t>(#name, given, low, high); \
  })->type_name("INTEGER");
#define TRT_PIPELINE_REAL(name, low, high, fallback, help)         \
  option(app, #name, help, [&settings](const std::string& given) { \
    settings.name = real(#name, given, low, high);                 \
  })->type_name("NUMBER");
#define TRT_PIPELINE_INTERVAL(name, low, high, start, stop, help) \
  interval(app, #name, settings.name, low, high, help);
#define TRT_PIPELINE_PAIR(name, low, high, first, second, help) \
  pair(app, #name, settings.name, low, high, help);
#define TRT_PIPELINE_CHOICE(name, choices, fallback, help) \
  choice(app, #name, settings.name, choices, help);
#define TRT_PIPELINE_FILE(name, help) file(app, arguments, #name, help);
#include "trt_pipeline_settings.inc"
}

}  // namespace

void declare(CLI::App& app, Arguments& arguments) {
  app.option_defaults()->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);  // as Python
  app.set_version_flag("--version", std::string("trt-pipeline-cpp ") + trt_pipeline_version());
  app.add_option("--bundle", arguments.bundle, "Folder that export-all wrote.")->required();
  option(app, "backend",
         concat("One of: ", trt_pipeline_backends(), ". The best available by default."),
         [&arguments](const std::string& given) { arguments.options.backend = given; });
  option(app, "threads", "For arithmetic on the CPU; all by default.",
         [&arguments](const std::string& given) {
           arguments.options.threads = integer<std::int32_t>("threads", given, 1, 1024);
         })
      ->type_name("INTEGER");
  option(app, "safety-checker",
         "bundle: the bundle's makes pictures black that must not be shown. None by default.",
         [&arguments](const std::string& given) { arguments.options.safety_checker = given; });
  option(app, "count", "Pictures for each prompt; 1 by default.",
         [&arguments](const std::string& given) {
           arguments.settings.num_images_per_prompt =
               integer<std::int32_t>("count", given, 1, 10'000);
         })
      ->type_name("INTEGER");
  declare_settings(app, arguments);
  app.add_option("-o,--output", arguments.output,
                 "A folder, for numbered pictures, or one picture's file name, which ends in .png. "
                 "This folder by default.");
  app.add_flag("--force", arguments.force, "Replace a file that is in the way.");
  app.add_flag_callback(
      "--no-ai-mark", [&arguments] { arguments.ai_mark = false; },
      "Leave out the XMP entry that says a trained model made the picture.");
  app.add_flag("--no-progress", arguments.no_progress, "Show no progress.");
  app.add_flag("--debug", arguments.debug, "Show log messages.");
}

}  // namespace trt_pipeline::cli
