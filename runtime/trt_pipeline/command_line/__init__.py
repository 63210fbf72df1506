"""The program trt-pipeline."""
