/* trt_pipeline.h: prompts to pictures from a bundle of trt-pipeline, without Python.
 *
 *     trt_pipeline_handle *pipe = NULL;
 *     trt_pipeline_pictures *pictures = NULL;
 *     trt_pipeline_settings settings;
 *     trt_pipeline_settings_default(&settings);
 *     settings.prompt = "a red circle";
 *     if (trt_pipeline_create("engines/shapes", NULL, &pipe) == TRT_PIPELINE_OK &&
 *         trt_pipeline_generate(pipe, &settings, &pictures) == TRT_PIPELINE_OK)
 *       use(pictures->pixels, pictures->width, pictures->height);
 *     else
 *       puts(trt_pipeline_error_message());
 *     trt_pipeline_pictures_free(pictures);
 *     trt_pipeline_free(pipe);
 *
 * Strings are UTF-8 and end with a zero byte. Names and defaults are those of the Python package;
 * docs/reference/settings.md explains the settings.
 *
 * Threads: every function may be called from any thread. One pipeline may serve several threads at
 * once. Only trt_pipeline_free must come after every other use of its pipeline has returned, and
 * trt_pipeline_pictures_free after every use of its pictures.
 *
 * Ownership: what the library returns stays its own until the matching free function; what the
 * caller passes in is read during the call only, and never kept.
 *
 * Structs with a `size` field may grow at their end. A *_default function fills in the size that
 * the caller was compiled with, so old programs run with newer libraries. No struct passed to the
 * library may be shared with a thread that writes to it.
 *
 * No exception leaves the library, and none may leave a callback.
 */
#ifndef TRT_PIPELINE_H
#define TRT_PIPELINE_H

#include <stddef.h>
#include <stdint.h>

#if defined(_WIN32)
#define TRT_PIPELINE_API
#else
#define TRT_PIPELINE_API __attribute__((visibility("default")))
#endif

#ifdef __cplusplus
extern "C" {
#endif

typedef enum trt_pipeline_status {
  TRT_PIPELINE_OK = 0,
  /** An argument is outside what is allowed. */
  TRT_PIPELINE_INVALID_INPUT = 1,
  /** The folder is not a bundle, or its manifest does not follow the format. */
  TRT_PIPELINE_BUNDLE_ERROR = 2,
  /** The bundle was written by another version of the format. */
  TRT_PIPELINE_BUNDLE_VERSION_ERROR = 3,
  /** A file of the bundle is missing, or is not the one its manifest describes. */
  TRT_PIPELINE_INTEGRITY_ERROR = 4,
  /** A backend could not load or run a graph. */
  TRT_PIPELINE_BACKEND_ERROR = 5,
  /** The library was built without the backend that was asked for. */
  TRT_PIPELINE_MISSING_BACKEND = 6,
  /** The progress callback asked to stop. */
  TRT_PIPELINE_CANCELLED = 7,
  TRT_PIPELINE_OUT_OF_MEMORY = 8,
  /** A fault of this library. */
  TRT_PIPELINE_INTERNAL_ERROR = 9
} trt_pipeline_status;

typedef enum trt_pipeline_verify {
  /** Compare size and sha256 of every file. */
  TRT_PIPELINE_VERIFY_FULL = 0,
  /** Compare sizes only. */
  TRT_PIPELINE_VERIFY_MANIFEST = 1,
  TRT_PIPELINE_VERIFY_NONE = 2,
  /** Not to be used: so that any number may be passed, and is refused. */
  TRT_PIPELINE_VERIFY_MAX_ENUM = 0x7fffffff
} trt_pipeline_verify;

typedef enum trt_pipeline_log_level {
  TRT_PIPELINE_INFO = 0,
  /** Such as a prompt that is longer than the model reads. */
  TRT_PIPELINE_WARNING = 1
} trt_pipeline_log_level;

typedef enum trt_pipeline_noise {
  /** Python's `seed`: a picture depends on its own seed alone. */
  TRT_PIPELINE_NOISE_SEED = 0,
  /** Python's `generator=TorchGenerator(seed)`: what torch's CPU generator draws. */
  TRT_PIPELINE_NOISE_TORCH = 1,
  /** Not to be used: so that any number may be passed, and is refused. */
  TRT_PIPELINE_NOISE_MAX_ENUM = 0x7fffffff
} trt_pipeline_noise;

typedef enum trt_pipeline_output {
  TRT_PIPELINE_OUTPUT_PIXELS = 0,
  /** The denoised latents, not decoded. */
  TRT_PIPELINE_OUTPUT_LATENTS = 1,
  /** Not to be used: so that any number may be passed, and is refused. */
  TRT_PIPELINE_OUTPUT_MAX_ENUM = 0x7fffffff
} trt_pipeline_output;

/** An open bundle. */
typedef struct trt_pipeline_handle trt_pipeline_handle;

/** How to open a bundle. */
typedef struct trt_pipeline_options {
  /** Bytes of this struct; set by trt_pipeline_options_default. */
  size_t size;
  /** A name of trt_pipeline_backends(); NULL is the first of them. */
  const char* backend;
  trt_pipeline_verify verify;
  /** For arithmetic on the CPU, 1 to 1024; 0 is every CPU that this process may use. */
  int32_t threads;
  /** Called with each log message, from the thread whose call it is about; NULL drops them. */
  void (*log)(void* user_data, trt_pipeline_log_level level, const char* message);
  void* log_user_data;
  /** Public Ed25519 keys, each the name of a PEM file or its text: one of them must have signed
   * the bundle. NULL takes unsigned bundles. They need TRT_PIPELINE_VERIFY_FULL. */
  const char* const* trusted_keys;
  size_t trusted_key_count;
  /** "bundle": the bundle's safety checker makes pictures black that must not be shown. NULL is
   *  none. */
  const char* safety_checker;
} trt_pipeline_options;

/** One text, as characters or as token ids. This struct never grows. */
typedef struct trt_pipeline_text {
  /** NULL if input_ids are given. */
  const char* text;
  /** Ids of the whole row, start and end included; padding is added on the bundle's side. Not for
   *  models with two tokenizers. */
  const int32_t* input_ids;
  size_t input_id_count;
  /** Of this text's prediction in a mixture; the weights of a prompt sum to 1. */
  double weight;
} trt_pipeline_text;

/** What one picture shows: usually one text of weight 1. This struct never grows. */
typedef struct trt_pipeline_prompt {
  const trt_pipeline_text* texts;
  size_t text_count;
} trt_pipeline_prompt;

/** One finished step; valid during the callback. May grow. */
typedef struct trt_pipeline_step {
  /** From 0. */
  size_t index;
  size_t steps;
  double timestep;
  /** [B, C, h, w] in C order after the step; the callback may change them. */
  float* latents;
  /** B, C, h and w. */
  size_t count;
  size_t latent_channels;
  size_t latent_height;
  size_t latent_width;
} trt_pipeline_step;

/** What a step's latents will become. This struct never grows. */
typedef struct trt_pipeline_preview {
  /** RGB, [B, height, width, 3] in C order; valid until the callback returns. */
  const uint8_t* pixels;
  size_t height;
  size_t width;
} trt_pipeline_preview;

/** What to generate. Each setting of the table in trt_pipeline_settings.inc is a field at the end.
 *  NULL, 0 and NAN leave a setting to the bundle, or mean none at all. */
typedef struct trt_pipeline_settings {
  /** Bytes of this struct; set by trt_pipeline_settings_default. */
  size_t size;

  /** What each picture shows, instead of `prompt`. */
  const trt_pipeline_prompt* prompts;
  size_t prompt_count;
  /** Pictures of the first prompt come first, then of the second. 1 to 10000. */
  int32_t num_images_per_prompt;
  /** One a picture, instead of negative_prompt; their weights are not read. One with neither text
   *  nor input_ids is not given, which differs from the empty text for Stable Diffusion XL. */
  const trt_pipeline_text* negative_prompts;
  size_t negative_prompt_count;
  /** One a picture, instead of guidance_scale. */
  const double* guidance_scales;
  size_t guidance_scale_count;
  /** One a picture, instead of image_guidance_scale. */
  const double* image_guidance_scales;
  size_t image_guidance_scale_count;

  trt_pipeline_noise noise;
  /** None draws random seeds, which the pictures name. NOISE_SEED: one seed s gives the pictures
   *  s, s + 1, …; else one a picture. NOISE_TORCH: one seed for the whole batch, or one a
   *  picture. */
  const uint64_t* seeds;
  size_t seed_count;
  /** The starting noise [B, C, h, w] instead of the first draw; NULL draws it. */
  const float* latents;
  /** Numbers in `latents`, B·C·h·w. */
  size_t latents_count;

  /** What to begin with instead of noise, or to change: RGB [image_count, image_height,
   *  image_width, 3] in C order, one for all pictures, one a prompt or one a picture; NULL begins
   *  with noise. Nothing is resized: the pictures get the image's size, and height and width must
   *  be 0 or the same.
   *  For a super-resolution model, what to enlarge by vae_scale_factor: its sides are multiples of
   *  32, and height and width 0. */
  const uint8_t* image;
  size_t image_count;
  int32_t image_height;
  int32_t image_width;
  /** [mask_image_count, image_height, image_width]: where it is 128 or more the image is painted
   *  again, elsewhere its latents stay, or with `overlay` its pixels; as many as of image. */
  const uint8_t* mask_image;
  size_t mask_image_count;

  trt_pipeline_output output;

  /** Called on the calling thread before each of the `steps` denoiser steps and once after them.
   *  Anything but 0 cancels: generate returns TRT_PIPELINE_CANCELLED. NULL is never called. */
  int (*progress)(void* user_data, size_t step, size_t steps);
  void* progress_user_data;
  /** Called on the calling thread after each step. Anything but 0 cancels. */
  int (*callback_on_step_end)(void* user_data, const trt_pipeline_step* step);
  void* callback_user_data;

#define TRT_PIPELINE_TEXT(name, ...) const char* name;
#define TRT_PIPELINE_INTEGER(name, ...) int32_t name;
#define TRT_PIPELINE_REAL(name, ...) double name;
#define TRT_PIPELINE_INTERVAL(name, ...) double name[2];
#define TRT_PIPELINE_PAIR(name, ...) int32_t name[2];
#define TRT_PIPELINE_CHOICE(name, ...) const char* name;
#include "trt_pipeline_settings.inc"
} trt_pipeline_settings;

/** The pictures of one call, owned by the library until trt_pipeline_pictures_free. May grow. */
typedef struct trt_pipeline_pictures {
  /** B. */
  size_t count;
  /** H and W in pixels. */
  size_t height;
  size_t width;
  /** RGB, [B, H, W, 3] in C order; NULL with TRT_PIPELINE_OUTPUT_LATENTS. */
  const uint8_t* pixels;
  /** [B, C, h, w] in C order; NULL with TRT_PIPELINE_OUTPUT_PIXELS. */
  const float* latents;
  size_t latent_channels;
  size_t latent_height;
  size_t latent_width;
  /** [B], the seed that makes each picture again; NULL with TRT_PIPELINE_NOISE_TORCH. */
  const uint64_t* seeds;
  /** [B], 1 for each picture that the safety checker made black; NULL without one. */
  const uint8_t* nsfw_content_detected;
} trt_pipeline_pictures;

/** What a pipeline runs, where, and why there; owned by the pipeline. May grow. */
typedef struct trt_pipeline_info {
  const char* model;
  /** The bundle's folder. */
  const char* bundle;
  /** fp16 or fp32, as stored. */
  const char* weights;
  /** fp16, bf16, int8, fp8 or fp32: of the denoiser, as computed. */
  const char* arithmetic;
  const char* backend;
  /** Why this backend was chosen. */
  const char* reason;
  const char* device;
  /** Pixels, unless another size is asked for. */
  size_t height;
  size_t width;
  /** Inclusive ranges, sizes in pixels. */
  size_t batch_limits[2];
  size_t height_limits[2];
  size_t width_limits[2];
  /** Height and width are multiples of this many pixels. */
  size_t vae_scale_factor;
  size_t latent_channels;
  /** Tokens that the text encoder reads; 0 for a model without prompts. */
  size_t max_length;
  /** What runs unless another is asked for; another sampler has an eta of 0. */
  const char* sampler;
  int32_t num_inference_steps;
  double guidance_scale;
  double eta;
} trt_pipeline_info;

/** Version of the library, such as 0.1.0. */
TRT_PIPELINE_API const char* trt_pipeline_version(void);

/** Names of the backends that the library was built with, separated by spaces; the first is taken
 * unless another is asked for. */
TRT_PIPELINE_API const char* trt_pipeline_backends(void);

/** What went wrong in this thread's last failed call; valid until its next one, never NULL. */
TRT_PIPELINE_API const char* trt_pipeline_error_message(void);

/* The defaults, for a struct of `size` bytes; use the macros below them. */
TRT_PIPELINE_API void trt_pipeline_options_default_sized(trt_pipeline_options* options,
                                                         size_t size);
TRT_PIPELINE_API void trt_pipeline_settings_default_sized(trt_pipeline_settings* settings,
                                                          size_t size);
#define trt_pipeline_options_default(options) \
  trt_pipeline_options_default_sized((options), sizeof(trt_pipeline_options))
#define trt_pipeline_settings_default(settings) \
  trt_pipeline_settings_default_sized((settings), sizeof(trt_pipeline_settings))

/** Open a bundle, check its files and load its graphs. options: NULL is the defaults.
 *  On success *pipeline is to be freed with trt_pipeline_free; on failure it is NULL. */
TRT_PIPELINE_API trt_pipeline_status trt_pipeline_create(const char* bundle,
                                                         const trt_pipeline_options* options,
                                                         trt_pipeline_handle** pipeline);

/** Valid as long as the pipeline. */
TRT_PIPELINE_API const trt_pipeline_info* trt_pipeline_get_info(
    const trt_pipeline_handle* pipeline);

/** Write the max_length token ids of a text to input_ids, which has room for `count` of them. They
 *  are the first tokenizer's, where a model has two. */
TRT_PIPELINE_API trt_pipeline_status trt_pipeline_tokenize(const trt_pipeline_handle* pipeline,
                                                           const char* text, int32_t* input_ids,
                                                           size_t count);

/** Check settings as generate does, and log what it logs, without making pictures. */
TRT_PIPELINE_API trt_pipeline_status
trt_pipeline_check_settings(trt_pipeline_handle* pipeline, const trt_pipeline_settings* settings);

/** Make pictures. On success *pictures is to be freed with trt_pipeline_pictures_free; on failure
 *  it is NULL. The pictures may outlive the pipeline. */
TRT_PIPELINE_API trt_pipeline_status trt_pipeline_generate(trt_pipeline_handle* pipeline,
                                                           const trt_pipeline_settings* settings,
                                                           trt_pipeline_pictures** pictures);

/** Make a preview of a step, within its callback and on its thread: pictures of full size by the
 *  bundle's tiny decoder, or else of a pixel a latent by its linear map. TRT_PIPELINE_BUNDLE_ERROR
 *  for a bundle without either. */
TRT_PIPELINE_API trt_pipeline_status trt_pipeline_step_preview(const trt_pipeline_step* step,
                                                               trt_pipeline_preview* preview);

/** Free what generate returned; NULL is allowed. */
TRT_PIPELINE_API void trt_pipeline_pictures_free(trt_pipeline_pictures* pictures);

/** Close a pipeline; NULL is allowed. */
TRT_PIPELINE_API void trt_pipeline_free(trt_pipeline_handle* pipeline);

#ifdef __cplusplus
}
#endif

#endif
