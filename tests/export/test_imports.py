"""Who may import whom: the bundle is the only contract between export and runtime."""

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
ALLOWED = {
    "trt_pipeline.bundle",
    "trt_pipeline.console",
    "trt_pipeline.decoding",
    "trt_pipeline.durable",
    "trt_pipeline.errors",
    "trt_pipeline.flavours",
    "trt_pipeline.locking",
    "trt_pipeline.machine",
    "trt_pipeline.manifest",
    "trt_pipeline.names",
    "trt_pipeline.onnx_files",
    "trt_pipeline.signatures",
    "trt_pipeline.tokenizer",
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
