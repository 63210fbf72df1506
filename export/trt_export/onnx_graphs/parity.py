"""Comparison of exported graphs with what was expected: PyTorch's answers, or float32's."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from trt_pipeline.bundle.manifest import GraphPrecision, GraphSpec
from trt_pipeline.errors import ParityError

Arrays = Mapping[str, NDArray[np.generic]]

TOLERANCE: Mapping[GraphPrecision, float] = {"fp32": 1e-4, "fp16": 2e-2, "int8": 2e-1}
"""Largest difference allowed, relative to the largest expected number. float32 differs by the order
of its sums; float16 has eleven bits in every product, and the layers add up; int8 has seven, and
one scale for all numbers of a tensor."""
ADVICE: Mapping[GraphPrecision, str] = {
    "fp32": "Please report it with the checkpoint's name.",
    "fp16": "float16 has too few digits or too small a range for this model. Export it with "
    "--precision fp32.",
    "int8": "8 bits are too few for this model. Leave --quantize out.",
}
"""What to do about a graph that differs by more."""
MAX_SMALL_BYTES = 256 * 2**20
"""Weights of a graph above which they stay as stored: optimizing a graph would widen all of them at
once, to four times the memory that float16 takes."""
LEVELS: Mapping[GraphPrecision, int] = {"fp32": 1, "fp16": 8}
"""Largest difference allowed between uint8 pixels, of 255."""


@dataclass(frozen=True, slots=True)
class Parity:
    """How far one output of one graph is from what was expected."""

    graph: str
    precision: GraphPrecision
    output: str
    difference: float
    """Relative to the largest expected number; levels of 255 for uint8."""
    tolerance: float

    @property
    def holds(self) -> bool:
        """NaN never holds."""
        return self.difference <= self.tolerance


def check_parity(
    name: str,
    precision: GraphPrecision,
    graph: GraphSpec,
    bundle: Path,
    inputs: Arrays,
    expected: Arrays,
) -> list[Parity]:
    """Run a graph in ONNX Runtime on the CPU; ParityError if an output is too far off."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    if (bundle / graph.weights).stat().st_size > MAX_SMALL_BYTES:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.enable_cpu_mem_arena = False
    session = onnxruntime.InferenceSession(
        str(bundle / graph.path), options, providers=["CPUExecutionProvider"]
    )
    feed = {spec.name: inputs[spec.name].astype(spec.dtype) for spec in graph.inputs}
    outputs = session.run([spec.name for spec in graph.outputs], feed)
    rows = [
        compare(name, precision, spec.name, output, expected[spec.name])
        for spec, output in zip(graph.outputs, outputs, strict=True)
    ]
    for row in rows:
        if not row.holds:
            raise ParityError(
                f"{name} ({precision}): {row.output} differs by {row.difference:.2e}, but at most "
                f"{row.tolerance:.0e} is allowed. {ADVICE[precision]}"
            )
    return rows


def compare(
    graph: str,
    precision: GraphPrecision,
    output: str,
    found: NDArray[np.generic],
    expected: NDArray[np.generic],
) -> Parity:
    """Measure one output against what was expected of it."""
    if found.shape != expected.shape:
        return Parity(graph, precision, output, float("nan"), 0)
    wide = expected.astype(np.float64)
    difference = float(np.abs(found.astype(np.float64) - wide).max())
    if found.dtype == np.uint8:
        return Parity(graph, precision, output, difference, LEVELS[precision])
    if found.dtype == np.int32:  # verdicts, which half precision may tip; their scores are checked
        return Parity(graph, precision, output, difference, 0 if precision == "fp32" else 1)
    scale = float(np.abs(wide).max()) or 1.0
    return Parity(graph, precision, output, difference / scale, TOLERANCE[precision])
