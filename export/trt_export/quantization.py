"""Quantization of a bundle: a denoiser with 8-bit layers beside the others, calibrated once.

CPUs run the int8 graph itself; int8 and fp8 engines take their ranges from it.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import onnx_ir as ir

from trt_export.calibration import GUIDANCE_SCALE, STEPS, calibrate
from trt_export.parity import Parity, check_parity
from trt_export.quantize import INT8, Ranges, quantized
from trt_export.signing import write_manifest
from trt_export.target import INT8_GRAPHS
from trt_pipeline.bundle import Bundle, load_bundle, read_manifest, verify_files
from trt_pipeline.bundle.manifest import QUANTIZED_GRAPH as GRAPH
from trt_pipeline.bundle.manifest import FileSpec, GraphSpec
from trt_pipeline.bundle.onnx_files import onnx_file
from trt_pipeline.command_line.prompt_files import read_prompt_file
from trt_pipeline.durable import write_synced
from trt_pipeline.errors import InvalidInputError
from trt_pipeline.locking import one_at_a_time

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

PROMPTS = Path(__file__).with_name("calibration_prompts.txt")


@dataclass(frozen=True, slots=True)
class QuantizationReport:
    """What a quantization did."""

    quantized: bool
    """False where the bundle was calibrated already."""
    parity: tuple[Parity, ...] = ()
    """Of the 8-bit graph's outputs after one step, against float32."""


def quantize_bundle(
    folder: Path,
    prompts: Sequence[str] | None = None,
    watch: Callable[[], None] = lambda: None,
    signing_key: "Ed25519PrivateKey | None" = None,
) -> QuantizationReport:
    """Add an int8 denoiser to a bundle, unless it has one that these prompts calibrated.

    prompts: None keeps what any calibrated, and takes PROMPTS else. watch: called after each
    picture. signing_key: signs the manifest; without it an old signature fits no more.
    Raises BundleError, InvalidInputError, or ParityError if 8 bits spoil the denoiser.
    """
    folder = folder.resolve()
    with one_at_a_time(folder):
        bundle = load_bundle(folder, verify="manifest")
        if is_quantized(bundle, prompts):
            return QuantizationReport(quantized=False)
        verify_files(folder, bundle.files)
        prompts = prompts or read_prompts(PROMPTS)
        watched = calibrate(bundle, prompts, watch)
        try:
            graph, file = _write(bundle, watched.ranges)
            # The noise predicted in the last steps is small: its error is large only beside it.
            latents = tuple(spec for spec in graph.outputs if spec.name == "next_latents")
            parity = check_parity(
                GRAPH, "int8", replace(graph, outputs=latents), folder, *watched.last_call
            )
            write_manifest(_with(bundle, graph, file, _record(prompts)), signing_key)
        finally:
            _remove_unlisted(folder)
    return QuantizationReport(quantized=True, parity=tuple(parity))


def is_quantized(bundle: Bundle, prompts: Sequence[str] | None) -> bool:
    """Whether a bundle has an 8-bit denoiser, calibrated with these prompts or, for None, any."""
    fits = prompts is None or bundle.provenance.get("calibration") == _record(prompts)
    return fits and "int8" in bundle.graphs[GRAPH]


def read_prompts(path: Path) -> list[str]:
    """The prompts of a .txt or .jsonl file; InvalidInputError if it holds none, or no text."""
    lines = read_prompt_file(path)
    for line in lines:
        if not isinstance(line.entries["prompt"], str):
            raise InvalidInputError(f"{line.origin}: a calibration prompt must be a text.")
    return [line.entries["prompt"] for line in lines]


def _record(prompts: Sequence[str]) -> dict[str, Any]:
    """What the provenance says of a calibration."""
    return {
        "prompts": len(prompts),
        "prompts_sha256": hashlib.sha256("\n".join(prompts).encode()).hexdigest(),
        "num_inference_steps": STEPS,
        "guidance_scale": GUIDANCE_SCALE,
    }


def _write(bundle: Bundle, ranges: Ranges) -> tuple[GraphSpec, FileSpec]:
    """Write the int8 graph under a name of its own: one that is in use stays what it is."""
    spec = bundle.graph(GRAPH, "fp32")
    model = quantized(ir.load(onnx_file(bundle, GRAPH, "fp32")), ranges, INT8)
    content = ir.to_proto(model).SerializeToString()
    digest = hashlib.sha256(content).hexdigest()
    path = f"onnx/{GRAPH}.int8-{digest[:12]}.onnx"
    write_synced(bundle.path / path, content)
    return replace(spec, path=path), FileSpec(len(content), digest)


def _with(
    bundle: Bundle, graph: GraphSpec, file: FileSpec, calibration: Mapping[str, Any]
) -> Bundle:
    """The bundle with an int8 graph, in place of any that it had."""
    before = bundle.graphs[GRAPH].get("int8", graph)
    kept = {name: spec for name, spec in bundle.files.items() if name != before.path}
    return replace(
        bundle,
        graphs={**bundle.graphs, GRAPH: {**bundle.graphs[GRAPH], "int8": graph}},
        files={**kept, graph.path: file},
        provenance={**bundle.provenance, "calibration": calibration},
    )


def _remove_unlisted(folder: Path) -> None:
    """Remove int8 graphs that were replaced, refused, or left behind by a killed run."""
    listed = read_manifest(folder)["files"]
    for path in folder.glob(INT8_GRAPHS):
        if path.relative_to(folder).as_posix() not in listed:
            path.unlink()
