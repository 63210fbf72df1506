"""`python -m trt_export` is `export-all`."""

from trt_export.cli import main

main()
