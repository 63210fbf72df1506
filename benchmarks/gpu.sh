#!/usr/bin/env bash
# The whole GPU proof on a machine with CUDA: benchmarks/gpu.sh [WORK [REPORT.json]]
# WORK takes the twin, its bundle and engines, 12 GB. Started again with the same two, it goes on where it was.
set -euo pipefail
cd "$(dirname "$0")/.."
work=${1:-${TMPDIR:-/tmp}/trt-pipeline-gpu}
report=${2:-$work/gpu.json}
mkdir -p "$work" "$(dirname "$report")"
export PYTHONPATH="$PWD/runtime:$PWD/export:$PWD/benchmarks${PYTHONPATH:+:$PYTHONPATH}"
exec "${PYTHON:-python3}" benchmarks/gpu_proof.py --work "$work" --json "$report"
