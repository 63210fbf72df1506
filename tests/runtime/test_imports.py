import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

import trt_pipeline
from trt_pipeline import Bundle

PACKAGE = Path(trt_pipeline.__file__).parent
BLOCK = """
import sys
BLOCKED = {"torch", "transformers", "diffusers", "onnx", "trt_export"}
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in BLOCKED:
            raise ImportError(f"{name} is blocked")
sys.meta_path.insert(0, Block())
"""


def python(code: str, *args: str, env: Mapping[str, str] | None = None) -> str:
    command = [sys.executable, "-W", "error", "-c", code, *args]
    return subprocess.run(command, capture_output=True, text=True, check=True, env=env).stdout


def test_a_picture_needs_none_of_the_export_packages(bundle: Bundle) -> None:
    code = """
from trt_pipeline import trt_pipeline
with trt_pipeline(sys.argv[1], threads=1) as pipe:
    output = pipe("a red circle", num_inference_steps=2, guidance_scale=6, eta=0.3, seed=0)
print(output.images[0].size, BLOCKED & sys.modules.keys())
"""
    assert python(BLOCK + code, str(bundle.path)) == "(64, 64) set()\n"


@pytest.mark.parametrize("module", ["trt_pipeline", "trt_pipeline.command_line.cli"])
def test_an_import_loads_no_engine(module: str) -> None:
    code = f"import {module}, sys; print({{'onnxruntime', 'tokenizers'}} & sys.modules.keys())"
    assert python(BLOCK + code) == "set()\n"


def test_onnx_runtime_reports_on_nobody(bundle: Bundle, tmp_path: Path) -> None:
    code = """
import sys
from trt_pipeline import trt_pipeline
with trt_pipeline(sys.argv[1], backend="onnxruntime", threads=1) as pipe:
    pipe("a red circle", num_inference_steps=2, seed=0)
"""
    inherited = {k: v for k, v in os.environ.items() if k != "ORT_DISABLE_TELEMETRY"}
    home = {**inherited, "HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    python(code, str(bundle.path), env=home)
    assert [*tmp_path.rglob("*")] == []


def test_openvino_reports_on_nobody(bundle: Bundle, tmp_path: Path) -> None:
    """openvino_telemetry keeps quiet where CI says so."""
    code = """
import sys
from trt_pipeline import trt_pipeline
with trt_pipeline(sys.argv[1], backend="openvino", threads=1) as pipe:
    pipe("a red circle", num_inference_steps=2, seed=0)
import openvino.tools.ovc
print("openvino_telemetry" in sys.modules)
"""
    quiet = ("CI", "TF_BUILD", "JENKINS_URL")
    inherited = {k: v for k, v in os.environ.items() if k not in quiet}
    home = {**inherited, "HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    assert python(code, str(bundle.path), env=home) == "False\n"
    assert [path.name for path in tmp_path.iterdir()] == ["cache"]


@pytest.mark.parametrize("package", ["trt_pipeline", "trt_export"])
def test_an_interrupt_while_a_program_loads_is_one_line(package: str) -> None:
    code = f"""
import runpy, sys
class Interrupt:
    def find_spec(self, name, path=None, target=None):
        if name == "click":
            raise KeyboardInterrupt
sys.meta_path.insert(0, Interrupt())
runpy.run_module("{package}", run_name="__main__")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "error: interrupted\n")


def test_every_module_can_be_imported_first() -> None:
    paths = (path.relative_to(PACKAGE.parent) for path in PACKAGE.rglob("[a-z]*.py"))
    modules = [".".join(path.with_suffix("").parts) for path in paths]
    code = """
from importlib import import_module
for module in sys.argv[1:]:
    for name in [name for name in sys.modules if name.startswith("trt_pipeline")]:
        del sys.modules[name]
    import_module(module)
print(len(sys.argv) > 60)
"""
    assert python("import sys\n" + code, *modules) == "True\n"


def test_the_import_takes_less_than_a_third_of_a_second() -> None:
    code = "import trt_pipeline, time; print(time.process_time())"
    assert any(float(python(code)) < 0.3 for _ in range(8))
