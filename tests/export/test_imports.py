"""Who may import whom: the bundle is the only contract between export and runtime."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
ALLOWED = {
    "trt_pipeline.arguments",
    "trt_pipeline.entry",
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
    "trt_pipeline.sampling.samplers",
    "trt_pipeline.bundle.tokenizer_specs",
    "trt_pipeline.text.engines",
    "trt_pipeline.text.tokenizer",
    "trt_pipeline.text.vocabulary",
}
DRAWING = {
    "trt_pipeline",
    "trt_pipeline.backends",
    "trt_pipeline.backends.base",
    "trt_pipeline.backends.onnxruntime",
    "trt_pipeline.command_line.prompt_files",
    "trt_pipeline.pipelines.pipeline",
}
"""Besides, for calibration and the check of the finished picture draw as the runtime does."""


def imported(*files: Path) -> Iterator[str]:
    for path in files:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module:
                yield node.module
            elif isinstance(node, ast.Import):
                yield from (alias.name for alias in node.names)


def test_export_takes_little_from_the_runtime() -> None:
    sources = {*(ROOT / "export").rglob("*.py")}
    drawing = {*(ROOT / "export/trt_export/quantization").glob("*.py")}
    drawing.add(ROOT / "export/trt_export/onnx_graphs/picture.py")

    def found(files: set[Path]) -> set[str]:
        return {name for name in imported(*files) if name.startswith("trt_pipeline")}

    assert found(sources - drawing) == ALLOWED
    assert found(drawing) - ALLOWED == DRAWING


def test_without_the_export_half_the_command_names_it() -> None:
    code = """
import runpy, sys
class Block:
    def find_spec(self, name, path=None, target=None):
        if name == "safetensors":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Block())
runpy.run_module("trt_export", run_name="__main__")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (
        1,
        "error: export-all needs the safetensors package. "
        'Install it with: pip install "trt-pipeline[export]"\n',
    )
