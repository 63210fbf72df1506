"""Who may import whom: the bundle is the only contract between export and runtime."""

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
ALLOWED = {
    "trt_pipeline.bundle",
    "trt_pipeline.command_line.console",
    "trt_pipeline.bundle.decoding",
    "trt_pipeline.durable",
    "trt_pipeline.errors",
    "trt_pipeline.flavours",
    "trt_pipeline.locking",
    "trt_pipeline.machine",
    "trt_pipeline.bundle.integrity",
    "trt_pipeline.bundle.manifest",
    "trt_pipeline.bundle.names",
    "trt_pipeline.bundle.onnx_files",
    "trt_pipeline.bundle.signatures",
    "trt_pipeline.pipelines.tokenizer",
}
CALIBRATION = {
    "trt_pipeline.backends",
    "trt_pipeline.backends.base",
    "trt_pipeline.backends.onnxruntime",
    "trt_pipeline.command_line.prompt_files",
    "trt_pipeline.pipelines.text_to_image",
    "trt_pipeline.pipelines.unconditional",
}
"""Besides, for calibration draws pictures as the runtime does."""


def imported(*files: Path) -> Iterator[str]:
    for path in files:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module:
                yield node.module
            elif isinstance(node, ast.Import):
                yield from (alias.name for alias in node.names)


def test_export_takes_little_from_the_runtime() -> None:
    sources = {*(ROOT / "export").rglob("*.py")}
    calibrating = {path for path in sources if path.stem in ("calibration", "quantization")}

    def found(files: set[Path]) -> set[str]:
        return {name for name in imported(*files) if name.startswith("trt_pipeline")}

    assert found(sources - calibrating) == ALLOWED
    assert found(calibrating) - ALLOWED == CALIBRATION
