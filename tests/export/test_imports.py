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


def imported(folder: Path) -> Iterator[str]:
    for path in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module:
                yield node.module
            elif isinstance(node, ast.Import):
                yield from (alias.name for alias in node.names)


def test_export_takes_little_from_the_runtime() -> None:
    found = {name for name in imported(ROOT / "export") if name.startswith("trt_pipeline")}
    assert found == ALLOWED
