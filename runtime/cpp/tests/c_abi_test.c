/* The header is C, and the library keeps its word where a program is older, newer or wrong. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "trt_pipeline.h"

#define EXPECT(condition)                                                       \
  do {                                                                          \
    if (!(condition)) {                                                         \
      fprintf(stderr, "%s:%d: not true: %s\n", __FILE__, __LINE__, #condition); \
      return 1;                                                                 \
    }                                                                           \
  } while (0)

int main(void) {
  trt_pipeline_handle* pipe = (trt_pipeline_handle*)&pipe;
  trt_pipeline_pictures* pictures = (trt_pipeline_pictures*)&pictures;
  trt_pipeline_options options;
  trt_pipeline_settings settings;
  struct {
    trt_pipeline_options known;
    char more[16];
  } newer;

  trt_pipeline_options_default(&options);
  trt_pipeline_settings_default(&settings);
  EXPECT(options.size == sizeof(options));
  EXPECT(settings.num_inference_steps == 0 && isnan(settings.guidance_scale));
  EXPECT(settings.prompt == NULL && settings.cache_interval == 1);
  EXPECT(settings.guidance_interval[0] == 0.0 && settings.guidance_interval[1] == 1.0);
  EXPECT(settings.sampler == NULL && strcmp(settings.schedule, "published") == 0);
  EXPECT(strlen(trt_pipeline_version()) > 0);

  EXPECT(trt_pipeline_create("nowhere", &options, &pipe) == TRT_PIPELINE_BUNDLE_ERROR);
  EXPECT(pipe == NULL);
  EXPECT(strstr(trt_pipeline_error_message(), "nowhere is not a bundle") != NULL);
  EXPECT(trt_pipeline_create(NULL, NULL, &pipe) == TRT_PIPELINE_INVALID_INPUT);
  EXPECT(trt_pipeline_create("nowhere", NULL, NULL) == TRT_PIPELINE_INVALID_INPUT);
  EXPECT(trt_pipeline_generate(NULL, &settings, &pictures) == TRT_PIPELINE_INVALID_INPUT);
  EXPECT(pictures == NULL);
  EXPECT(trt_pipeline_check_settings(NULL, &settings) == TRT_PIPELINE_INVALID_INPUT);
  EXPECT(trt_pipeline_tokenize(NULL, "a", NULL, 0) == TRT_PIPELINE_INVALID_INPUT);
  EXPECT(trt_pipeline_get_info(NULL) == NULL);

  options.trusted_key_count = 1;
  EXPECT(trt_pipeline_create("nowhere", &options, &pipe) == TRT_PIPELINE_INVALID_INPUT);
  options.trusted_key_count = 0;
  options.verify = (trt_pipeline_verify)77;
  EXPECT(trt_pipeline_create("nowhere", &options, &pipe) == TRT_PIPELINE_INVALID_INPUT);
  options.verify = TRT_PIPELINE_VERIFY_FULL;

  /* An older program's struct is shorter, a newer one's longer. */
  options.size = offsetof(trt_pipeline_options, log);
  EXPECT(trt_pipeline_create("nowhere", &options, &pipe) == TRT_PIPELINE_BUNDLE_ERROR);
  options.size = 0;
  EXPECT(trt_pipeline_create("nowhere", &options, &pipe) == TRT_PIPELINE_INVALID_INPUT);
  memset(&newer, 1, sizeof(newer));
  trt_pipeline_options_default_sized(&newer.known, sizeof(newer));
  EXPECT(newer.known.size == sizeof(newer) && newer.more[0] == 0);
  EXPECT(trt_pipeline_create("nowhere", &newer.known, &pipe) == TRT_PIPELINE_BUNDLE_ERROR);
  newer.more[8] = 1;
  EXPECT(trt_pipeline_create("nowhere", &newer.known, &pipe) == TRT_PIPELINE_INVALID_INPUT);
  EXPECT(strstr(trt_pipeline_error_message(), "Install a newer one") != NULL);

  trt_pipeline_pictures_free(NULL);
  trt_pipeline_free(NULL);
  return 0;
}
