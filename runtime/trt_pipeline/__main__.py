"""`python -m trt_pipeline` is `trt-pipeline`."""

from trt_pipeline.command_line.cli import main

main()
