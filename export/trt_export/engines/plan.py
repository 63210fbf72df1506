"""One TensorRT plan from one ONNX graph.

Networks are strongly typed: the graph alone says which layer computes in which precision, and a
check of the parsed network proves that the heavy ones have the precision that was asked for.
Polygraphy would wrap the same calls, but chooses the flavour of TensorRT once for a whole process
(0.53.6, from an environment variable), and says of a rejected graph only that it is rejected.
"""

import logging
import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from trt_export.engines.timing_cache import timing_cache
from trt_pipeline.bundle import Bundle
from trt_pipeline.bundle.manifest import (
    EIGHT_BITS,
    EngineKey,
    EnginePrecision,
    EngineSpec,
    ShapeRange,
)
from trt_pipeline.bundle.onnx_files import onnx_file
from trt_pipeline.durable import naming
from trt_pipeline.errors import EngineBuildError
from trt_pipeline.flavours import messages, named_targets, network_flags

logger = logging.getLogger(__name__)

HEAVY = ("CONVOLUTION", "MATRIX_MULTIPLY")
"""Types of the layers that take nearly all the time."""

Watch = Callable[[str, int, int], None]
"""Called while a plan is built: what is being done, which step of it, and of how many."""


def build_plan(trt: Any, bundle: Bundle, engine: EngineSpec, watch: Watch) -> Any:
    """Build an engine as its key says; a buffer with the plan.

    EngineBuildError holds the parser's or the builder's own messages. Ctrl-C stops the build.
    """
    log = messages(trt)
    builder = trt.Builder(log)
    network = _network(trt, builder, log, bundle, engine)
    check_precision(trt, engine.graph, network, engine.key.precision)
    config = _configure(trt, builder, engine)
    timings = timing_cache(trt)
    if timings:
        timings.attach(config)
    with _interruptible() as interrupted:
        config.progress_monitor = _monitor(trt, engine, watch, interrupted)
        plan = builder.build_serialized_network(network, config)
    if interrupted.is_set():
        raise KeyboardInterrupt
    if plan is None:
        raise EngineBuildError(f"{engine.graph}: TensorRT built nothing. {log.last_error}")
    if timings:
        timings.save()
    return plan


def _network(trt: Any, builder: Any, log: Any, bundle: Bundle, engine: EngineSpec) -> Any:
    onnx = onnx_file(bundle, engine.graph, "fp16")
    if engine.key.precision in ("fp16", "fp32"):
        return parse(trt, builder, log, engine.graph, onnx)
    with TemporaryDirectory(prefix=f"{engine.graph}-") as folder:
        return parse(trt, builder, log, engine.graph, _convert(onnx, bundle, engine, Path(folder)))


def _convert(onnx: Path, bundle: Bundle, engine: EngineSpec, folder: Path) -> Path:
    """Write a float16 graph in an engine's arithmetic, with its weights, into a folder."""
    import onnx_ir as ir  # takes a second, which builds in fp16 need not wait for

    from trt_export.onnx_graphs.bfloat16 import as_bfloat16
    from trt_export.quantization.eight_bits import FP8, INT8, quantized, ranges_of

    model = ir.load(onnx)
    if engine.key.precision == "bf16":
        model = as_bfloat16(model)
    else:
        ranges = ranges_of(ir.load(onnx_file(bundle, engine.graph, "int8")))
        model = quantized(model, ranges, {"int8": INT8, "fp8": FP8}[engine.key.precision])
    with naming(folder / onnx.name, folder):
        ir.save(model, folder / onnx.name, external_data=f"{onnx.name}.weights")
    return folder / onnx.name


def parse(trt: Any, builder: Any, log: Any, graph: str, onnx: Path) -> Any:
    """A network from an ONNX file; EngineBuildError names every node that TensorRT rejects."""
    network = builder.create_network(network_flags(trt))
    parser = trt.OnnxParser(network, log)
    if not parser.parse_from_file(str(onnx)):
        errors = [parser.get_error(number) for number in range(parser.num_errors)]
        nodes = "; ".join(f"{e.node_operator()} {e.node_name()}: {e.desc()}" for e in errors)
        raise EngineBuildError(f"{graph}: TensorRT {trt.__version__} rejects {nodes}")
    return network


def check_precision(
    trt: Any, graph: str, network: Any, precision: EnginePrecision = "fp16"
) -> None:
    """EngineBuildError unless the heavy layers of a network have the precision that was asked for.

    With int8 and fp8 only some of them have it; the others, and what is dequantized, are fp16.
    """
    types = {"bf16": trt.bfloat16, "fp32": trt.float32}
    expected = types.get(precision, trt.float16)
    heavy = [layer for layer in _layers(network) if layer.type.name in HEAVY]
    others = [layer.name for layer in heavy if layer.get_input(0).dtype != expected]
    if others:
        raise EngineBuildError(
            f"{graph}: {len(others)} of {len(heavy)} convolutions and matrix products are not "
            f"{precision}, the first {others[0]}. Export the checkpoint again with this release."
        )
    if precision in EIGHT_BITS:
        heavy = _quantized(network, heavy, trt.int8 if precision == "int8" else trt.fp8)
        if not heavy:
            raise EngineBuildError(
                f"{graph}: no convolution or matrix product is {precision}. "
                "Quantize the bundle again with this release."
            )
    logger.info("%s: %d convolutions and matrix products are %s", graph, len(heavy), precision)


def _quantized(network: Any, heavy: Sequence[Any], dtype: Any) -> list[Any]:
    """The layers whose input was dequantized from a type."""
    dequantized = {
        layer.get_output(0).name
        for layer in _layers(network)
        if layer.type.name == "DEQUANTIZE" and layer.get_input(0).dtype == dtype
    }
    return [layer for layer in heavy if layer.get_input(0).name in dequantized]


def _layers(network: Any) -> Iterator[Any]:
    return (network.get_layer(number) for number in range(network.num_layers))


def _configure(trt: Any, builder: Any, engine: EngineSpec) -> Any:
    config = builder.create_builder_config()
    config.builder_optimization_level = engine.key.optimization_level
    config.add_optimization_profile(_profile(builder, engine.key.profile))
    set_targets(trt, config, engine.key)
    return config


def set_targets(trt: Any, config: Any, key: EngineKey) -> None:
    """Say which GPUs and versions a plan is for.

    TensorRT for RTX has no hardware compatibility level: without a named target, its plans are for
    compute capability 8.0 and newer.
    """
    if key.version_compatible:
        config.set_flag(trt.BuilderFlag.VERSION_COMPATIBLE)
    if not named_targets(trt):
        level = key.hardware_compatibility_level.upper()
        config.hardware_compatibility_level = getattr(trt.HardwareCompatibilityLevel, level)
    elif key.target != "ampere_plus":
        number = key.compute_capability.replace(".", "")
        config.num_compute_capabilities = 1
        config.set_compute_capability(getattr(trt.ComputeCapability, f"SM{number}"), 0)


def _profile(builder: Any, shapes: Mapping[str, ShapeRange]) -> Any:
    profile = builder.create_optimization_profile()
    for name, shape in shapes.items():
        profile.set_shape(name, shape.min, shape.opt, shape.max)
    return profile


def _monitor(trt: Any, engine: EngineSpec, watch: Watch, interrupted: threading.Event) -> Any:
    """Reports the outermost phase of the build, and stops it after Ctrl-C."""

    class Monitor(trt.IProgressMonitor):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self._outermost: dict[str, int] = {}

        def phase_start(self, phase: str, parent: str | None, steps: int) -> None:
            if not parent:
                self._outermost[phase] = steps
                watch(f"build {engine.graph}", 0, steps)

        def phase_finish(self, phase: str) -> None:
            self._outermost.pop(phase, None)

        def step_complete(self, phase: str, step: int) -> bool:
            if phase in self._outermost:
                watch(f"build {engine.graph}", step + 1, self._outermost[phase])
            return not interrupted.is_set()

    return Monitor()


@contextmanager
def _interruptible() -> Iterator[threading.Event]:
    """Ctrl-C sets the event: an exception may not pass through TensorRT's C++ frames."""
    interrupted = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield interrupted
        return
    before = signal.signal(signal.SIGINT, lambda *_: interrupted.set())
    try:
        yield interrupted
    finally:
        signal.signal(signal.SIGINT, before)
