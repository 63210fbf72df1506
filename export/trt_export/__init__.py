"""From a diffusers checkpoint to a bundle for trt_pipeline; the only package that needs torch."""
