"""Where a step's time goes: the layers of a bundle's denoiser, as OpenVINO counts them on this CPU.

    python benchmarks/layers.py engines/shapes --threads 2

Layers of a kind are added up: convolutions by kernel and width, all else by OpenVINO's name. A
layer that OpenVINO fused with others counts as the first of them.
"""

import argparse
import json
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from graph_cost import flop, step_model
from trt_pipeline import Bundle, load_bundle
from trt_pipeline.backends.openvino import import_openvino
from trt_pipeline.bench.machine import describe_machine

Costs: TypeAlias = Mapping[str, tuple[str, float]]
"""Name of an operation of the graph → its label and FLOP."""


@dataclass(slots=True)
class Kind:
    """Layers of one kind."""

    label: str
    layers: int = 0
    seconds: float = 0.0
    """Of all of them, in the fastest run."""
    flop: float = 0.0


def step_layers(bundle: Bundle, threads: int, runs: int) -> list[Kind]:
    """Kinds of layers, those that take longest first, of a guided step of one picture."""
    model = step_model(bundle, batch=1)
    costs = {one.get_friendly_name(): (_label(one), flop(one)) for one in model.get_ordered_ops()}
    products = {one.get_friendly_name(): _products(one) for one in model.get_ordered_ops()}
    config = {
        "INFERENCE_NUM_THREADS": threads,
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": "f32",
        "PERF_COUNT": True,
    }
    compiled = import_openvino().Core().compile_model(model, "CPU", config)
    fused = {
        node.get_friendly_name(): _with_products(
            str(node.get_rt_info()["originalLayersNames"].value).split(","), products
        )
        for node in compiled.get_runtime_model().get_ordered_ops()
        if "originalLayersNames" in node.get_rt_info()
    }
    measured = min(_runs(compiled, runs), key=lambda layers: sum(layers.values()))
    return sorted(_kinds(measured, fused, costs), key=lambda kind: -kind.seconds)


def _products(operation: Any) -> list[str]:
    """The matrix products that a sum adds to: OpenVINO names the fused layer like the sum alone."""
    if operation.get_type_name() != "Add":
        return []
    inputs = [value.get_node() for value in operation.input_values()]
    return [one.get_friendly_name() for one in inputs if one.get_type_name() == "MatMul"]


def _with_products(names: list[str], products: Mapping[str, list[str]]) -> list[str]:
    """Names of operations, and of the products that they add to, each once."""
    return [*dict.fromkeys([*names, *(one for name in names for one in products.get(name, []))])]


def _label(operation: Any) -> str:
    """Of a convolution; empty for all else."""
    if operation.get_type_name() != "Convolution":
        return ""
    kernel = tuple(operation.get_input_shape(1))[-1]
    return f"{kernel} × {kernel} convolution, width {tuple(operation.get_output_shape(0))[-1]}"


def _runs(compiled: Any, runs: int) -> Iterator[dict[tuple[str, str], float]]:
    """Name and type of a layer → seconds, for each run but the first."""
    random = np.random.default_rng(0)
    request = compiled.create_infer_request()
    inputs = {port.any_name: _value(port, random) for port in compiled.inputs}
    for number in range(runs + 1):
        request.infer(inputs)
        if number:
            yield {
                (layer.node_name, layer.node_type): layer.real_time.total_seconds()
                for layer in request.get_profiling_info()
            }


def _value(port: Any, random: np.random.Generator) -> Any:
    """Noise; zeros where integers say which rows are meant."""
    shape, dtype = tuple(port.shape), port.element_type.to_dtype()
    if np.issubdtype(dtype, np.integer):
        return np.zeros(shape, dtype)
    return random.standard_normal(shape).astype(dtype)


def _kinds(
    measured: Mapping[tuple[str, str], float], fused: Mapping[str, list[str]], costs: Costs
) -> list[Kind]:
    kinds: dict[str, Kind] = defaultdict(lambda: Kind(""))
    for (name, kind), seconds in measured.items():
        known = [costs[one] for one in fused.get(name, [name]) if one in costs]
        label = next(
            (label for label, _ in known if label), re.sub(r"(?<=[a-z])(?=[A-Z])", " ", kind)
        )
        entry = kinds[label]
        entry.label = label
        entry.layers += 1
        entry.seconds += seconds
        entry.flop += sum(cost for _, cost in known)
    return [*kinds.values()]


def main() -> None:
    """Print the table; write JSON where asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--threads", type=int, default=describe_machine().cores)
    parser.add_argument("--runs", type=int, default=3, help="of which the fastest counts")
    parser.add_argument("--json", type=Path, metavar="FILE")
    arguments = parser.parse_args()
    kinds = step_layers(load_bundle(arguments.bundle), arguments.threads, arguments.runs)
    whole = sum(kind.seconds for kind in kinds)
    print(f"{'layers':<36} {'number':>6} {'seconds':>8} {'part':>5} {'GFLOP/s':>8}")
    for kind in kinds:
        speed = f"{kind.flop / kind.seconds / 1e9:.0f}" if kind.flop and kind.seconds else ""
        print(
            f"{kind.label:<36} {kind.layers:>6} {kind.seconds:>8.4f} "
            f"{kind.seconds / whole:>5.0%} {speed:>8}"
        )
    if arguments.json:
        arguments.json.write_text(json.dumps([asdict(kind) for kind in kinds], indent=1) + "\n")


if __name__ == "__main__":
    main()
