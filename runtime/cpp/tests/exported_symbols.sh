#!/bin/sh
# The library defines the functions of its header for others, and nothing else.
set -eu
others=$("$1" --dynamic --defined-only --extern-only "$2" | awk '{ print $3 }' |
         grep -v -e '^trt_pipeline_' -e '^TRT_PIPELINE_0' || true)
if [ -n "$others" ]; then
  echo "$2 exports more than its API:"
  echo "$others"
  exit 1
fi
"$1" --dynamic --defined-only "$2" | grep -q trt_pipeline_generate
