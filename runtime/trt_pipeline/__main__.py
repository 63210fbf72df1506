"""`python -m trt_pipeline` is `trt-pipeline`."""

from trt_pipeline.cli import main

main()
