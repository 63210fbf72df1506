"""Quantization of a bundle: a denoiser with 8-bit layers beside the others, calibrated once.

CPUs run the int8 graph itself; int8 and fp8 engines take their ranges from it.
"""

import hashlib
import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import onnx_ir as ir

from trt_export.onnx_graphs.parity import Parity, check_parity
from trt_export.publishing.signing import UNSIGNED, Signer
from trt_export.publishing.target import INT8_FILES
from trt_export.quantization.calibration import GUIDANCE_SCALE, STEPS, calibrate
from trt_export.quantization.eight_bits import INT8, Ranges, quantized
from trt_pipeline.bundle import Bundle, file_sha256, load_bundle, read_manifest, verify_files
from trt_pipeline.bundle.manifest import QUANTIZED_GRAPH as GRAPH
from trt_pipeline.bundle.manifest import FileSpec, GraphSpec
from trt_pipeline.bundle.onnx_files import onnx_file
from trt_pipeline.command_line.prompt_files import read_prompt_file
from trt_pipeline.durable import sync, sync_tree
from trt_pipeline.errors import InvalidInputError
from trt_pipeline.locking import one_at_a_time

ASIDE = ".int8-"
"""How the name of the folder begins in which an int8 graph is written."""
PROMPTS = Path(__file__).with_name("calibration_prompts.txt")


@dataclass(frozen=True, slots=True)
class QuantizationReport:
    """What a quantization did."""

    quantized: bool
    """False where the bundle was calibrated already."""
    parity: tuple[Parity, ...] = ()
    """Of the latents after one of the middle steps, against float32's."""


def quantize_bundle(
    folder: Path,
    prompts: Sequence[str] | None = None,
    watch: Callable[[], None] = lambda: None,
    signer: Signer = UNSIGNED,
) -> QuantizationReport:
    """Add an int8 denoiser to a bundle, unless these prompts calibrated the one that it has.

    prompts: None keeps a denoiser that any prompts calibrated, and calibrates with PROMPTS if there
    is none. watch: called after each picture.
    Raises BundleError, InvalidInputError, or ParityError if 8 bits spoil the denoiser.
    """
    folder = folder.resolve()
    with one_at_a_time(folder):
        bundle = load_bundle(folder, verify="manifest")
        _remove_unlisted(folder)
        if is_quantized(bundle, prompts):
            return QuantizationReport(quantized=False)
        verify_files(folder, bundle.files)
        prompts = prompts or read_prompts(PROMPTS)
        watched = calibrate(bundle, prompts, watch)
        try:
            graph = _write(bundle, watched.ranges)
            latents = tuple(spec for spec in graph.outputs if spec.name == "next_latents")
            parity = check_parity(
                GRAPH, "int8", replace(graph, outputs=latents), folder, *watched.middle_step
            )
            signer.write_manifest(_with(bundle, graph, _record(prompts)))
        finally:
            _remove_unlisted(folder)
    return QuantizationReport(quantized=True, parity=tuple(parity))


def is_quantized(bundle: Bundle, prompts: Sequence[str] | None) -> bool:
    """Whether a bundle has an 8-bit denoiser that these prompts calibrated; None: any prompts."""
    fits = prompts is None or bundle.provenance.get("calibration") == _record(prompts)
    return fits and "int8" in bundle.graphs[GRAPH]


def read_prompts(path: Path) -> list[str]:
    """The prompts of a .txt or .jsonl file; InvalidInputError if one is missing or not a text."""
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


def _write(bundle: Bundle, ranges: Ranges) -> GraphSpec:
    """Write the int8 graph and its weights, under new names: the other files stay as they are."""
    exact = bundle.graph(GRAPH, "fp32")
    sources = [bundle.files[name].sha256 for name in (exact.path, exact.weights)]
    digest = hashlib.sha256(json.dumps([sources, ranges]).encode()).hexdigest()
    name = f"{GRAPH}.int8-{digest[:12]}"
    model = quantized(ir.load(onnx_file(bundle, GRAPH, "fp32")), ranges, INT8)
    folder = bundle.path / "onnx"
    with TemporaryDirectory(dir=folder, prefix=ASIDE) as aside:
        ir.save(model, Path(aside) / f"{name}.onnx", external_data=f"{name}.weights")
        sync_tree(Path(aside))
        for file in Path(aside).iterdir():
            file.replace(folder / file.name)
    sync(folder)
    return replace(exact, path=f"onnx/{name}.onnx", weights=f"onnx/{name}.weights")


def _with(bundle: Bundle, graph: GraphSpec, calibration: Mapping[str, Any]) -> Bundle:
    """The bundle with an int8 graph, which replaces an older one."""
    before = bundle.graphs[GRAPH].get("int8", graph)
    files = {
        name: spec
        for name, spec in bundle.files.items()
        if name not in (before.path, before.weights)
    }
    for name in (graph.path, graph.weights):
        path = bundle.path / name
        files[name] = FileSpec(path.stat().st_size, file_sha256(path))
    return replace(
        bundle,
        graphs={**bundle.graphs, GRAPH: {**bundle.graphs[GRAPH], "int8": graph}},
        files=files,
        provenance={**bundle.provenance, "calibration": calibration},
    )


def _remove_unlisted(folder: Path) -> None:
    """Remove int8 graphs that were replaced, refused, or left behind by a killed run."""
    listed = read_manifest(folder)["files"]
    for path in folder.glob(INT8_FILES):
        if path.relative_to(folder).as_posix() not in listed:
            path.unlink()
    for aside in folder.glob(f"onnx/{ASIDE}*"):
        shutil.rmtree(aside)
