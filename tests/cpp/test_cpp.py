"""Builds runtime/cpp into a temporary folder, runs its tests, and compares its pictures.

TRT_PIPELINE_CMAKE_ARGS adds arguments for CMake, such as those that switch ONNX Runtime on.
TRT_PIPELINE_BUILD names a build folder to bring up to date instead of a temporary one, and
TRT_PIPELINE_BUNDLE a bundle of the embedded checkpoint instead of one exported now.
"""

import json
import os
import shlex
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from trt_export.checkpoint import open_checkpoint
from trt_export.export import ExportOptions, export_checkpoint
from trt_pipeline import Pipeline, read_settings, trt_pipeline

pytestmark = pytest.mark.slow  # the build takes minutes

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "runtime" / "cpp"

CASES: tuple[tuple[str, dict[str, float | str]], ...] = (
    ("a red circle", {"seed": 0, "guidance_scale": 6.0}),
    ("a yellow star", {"seed": 1, "guidance_scale": 4.0, "eta": 0.3}),
    ("a large blue square", {"seed": 2**63, "sampler": "euler_ancestral"}),
    (
        "Café, étoile!",
        {"seed": 5, "sampler": "pndm", "negative_prompt": "red", "guidance_scale": 7},
    ),
    ("a green cross", {"seed": 11, "sampler": "unipc", "schedule": "trained"}),
    ("a purple ring", {"seed": 13, "sampler": "lms", "height": 96, "width": 64}),
)


@dataclass(frozen=True, slots=True)
class Build:
    folder: Path
    bundle: Path

    def run(self, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        """The command-line program."""
        command = [self.folder / "trt-pipeline-cpp", *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    def backends(self) -> list[str]:
        cache = (self.folder / "CMakeCache.txt").read_text()
        return [n for n in ("openvino", "onnxruntime") if f"{n.upper()}:BOOL=ON" in cache]


def call(*command: str | Path) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{shlex.join(map(str, command))}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="session")
def shapes_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The embedded checkpoint's."""
    if given := os.environ.get("TRT_PIPELINE_BUNDLE"):
        return Path(given)
    out = tmp_path_factory.mktemp("shapes") / "bundle"
    export_checkpoint(open_checkpoint(None), out, ExportOptions(), lambda _: None)
    return out


@pytest.fixture(scope="session")
def build(shapes_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Build:
    missing = [tool for tool in ("cmake", "c++", "pkg-config") if not shutil.which(tool)]
    if missing:
        pytest.skip(f"{', '.join(missing)} is not installed")
    openvino = pytest.importorskip("openvino", reason="openvino is not installed")
    given = os.environ.get("TRT_PIPELINE_BUILD")
    folder = Path(given) if given else tmp_path_factory.mktemp("cpp")
    call(
        *("cmake", "-S", SOURCE, "-B", folder),
        f"-DOpenVINO_DIR={Path(openvino.__file__).parent / 'cmake'}",
        f"-DTRT_PIPELINE_BUNDLE={shapes_bundle}",
        *("-DTRT_PIPELINE_TESTS=ON", "-DTRT_PIPELINE_WERROR=ON", "-DCMAKE_INSTALL_LIBDIR=lib"),
        *shlex.split(os.environ.get("TRT_PIPELINE_CMAKE_ARGS", "")),
    )
    call("cmake", "--build", folder, "--parallel", "2")
    return Build(folder, shapes_bundle)


def pixels(path: Path) -> NDArray[np.int32]:
    with Image.open(path) as image:
        return np.asarray(image, np.int32)


def test_every_test_of_the_library_passes(build: Build) -> None:
    call("ctest", "--test-dir", build.folder, "--output-on-failure")


def test_a_picture_differs_from_pythons_by_1_of_255_at_most(build: Build, tmp_path: Path) -> None:
    for backend in build.backends():
        with trt_pipeline(build.bundle, backend=backend) as pipe:
            for number, (prompt, settings) in enumerate(CASES):
                path = tmp_path / f"{backend}-{number}.png"
                assert (
                    np.abs(
                        drawn(build, backend, path, prompt, settings)
                        - expected(pipe, prompt, settings)
                    ).max()
                    <= 1
                )


def drawn(
    build: Build, backend: str, path: Path, prompt: str, settings: dict[str, float | str]
) -> NDArray[np.int32]:
    options = [f"--{name.replace('_', '-')}={value}" for name, value in settings.items()]
    done = build.run(
        *(build.bundle, prompt, "--steps=10", f"--backend={backend}", "-o", path), *options
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{path}\n"
    return pixels(path)


def expected(pipe: Pipeline, prompt: str, settings: dict[str, float | str]) -> NDArray[np.int32]:
    keywords: dict[str, object] = dict(settings)
    made = pipe(prompt, num_inference_steps=10, progress_bar=False, **keywords)  # type: ignore[arg-type]
    return np.asarray(made.images[0], np.int32)


def test_a_picture_carries_the_settings_that_python_reads(build: Build, tmp_path: Path) -> None:
    path = tmp_path / "star.png"
    build.run(build.bundle, "étoile", "--steps=2", "--seed=3", "--eta=0.5", "-o", path)
    settings = read_settings(path)
    assert (settings.prompt, settings.seed, settings.eta) == ("étoile", 3, 0.5)
    assert (settings.num_inference_steps, settings.sampler, settings.model) == (2, "ddim", "shapes")


def test_pictures_of_a_folder_are_numbered(build: Build, tmp_path: Path) -> None:
    done = build.run(
        *(build.bundle, "a star", "a ring", "--count=2", "--steps=1", "--json", "-o", tmp_path)
    )
    made = json.loads(done.stdout)
    assert [Path(one["path"]).name for one in made] == [f"0000{n}.png" for n in range(4)]
    assert [one["seed"] - made[0]["seed"] for one in made] == [0, 1, 2, 3]
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--steps=0"], "num_inference_steps must be an integer from 1 to 1000, got 0."),
        (["--height=33"], "height must be a multiple of 8"),
        (["--sampler=heun"], "--sampler"),
        (["--output=picture.gif"], "pictures are .png files"),
        (["--backend=abacus"], "backend 'abacus' is unknown"),
        (["--unknown"], "--unknown"),
    ],
)
def test_a_mistake_is_one_line_and_status_2(
    build: Build, arguments: list[str], message: str
) -> None:
    done = build.run(build.bundle, "a star", "--no-progress", *arguments)
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert message in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_folder_without_a_bundle_is_status_2(build: Build, tmp_path: Path) -> None:
    done = build.run(tmp_path, "a star", "--no-progress", "-o", tmp_path / "star.png")
    assert done.returncode == 2
    assert "is no bundle: it has no bundle.json" in done.stderr


def test_nothing_is_overwritten_without_force(build: Build, tmp_path: Path) -> None:
    path = tmp_path / "star.png"
    path.write_bytes(b"mine")
    assert build.run(build.bundle, "a star", "--steps=1", "-o", path).returncode == 2
    assert path.read_bytes() == b"mine"
    assert build.run(build.bundle, "a star", "--steps=1", "--force", "-o", path).returncode == 0


@pytest.fixture(scope="session")
def prefix(build: Build, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the library is installed."""
    folder = tmp_path_factory.mktemp("prefix")
    call("cmake", "--install", build.folder, "--prefix", folder)
    return folder


def test_another_project_finds_the_installed_library(
    build: Build, prefix: Path, tmp_path: Path
) -> None:
    example, picture = tmp_path / "example", tmp_path / "circle.ppm"
    call("cmake", "-S", SOURCE / "example", "-B", example, f"-DCMAKE_PREFIX_PATH={prefix}")
    call("cmake", "--build", example)
    call(example / "picture", build.bundle, "a red circle", picture)
    assert pixels(picture).shape == (64, 64, 3)


def test_pkg_config_finds_the_installed_library(prefix: Path) -> None:
    path = f"PKG_CONFIG_PATH={prefix / 'lib' / 'pkgconfig'}"
    assert "-ltrt_pipeline" in call("env", path, "pkg-config", "--libs", "trt_pipeline")


def test_the_program_of_the_documentation_builds(prefix: Path, tmp_path: Path) -> None:
    page = (ROOT / "docs" / "cpp.md").read_text(encoding="utf-8")
    for language, name in (("cpp", "circle.cpp"), ("cmake", "CMakeLists.txt")):
        block = page.partition(f"```{language}\n")[2].partition("```")[0]
        (tmp_path / name).write_text(block, encoding="utf-8")
    call("cmake", "-S", tmp_path, "-B", tmp_path / "build", f"-DCMAKE_PREFIX_PATH={prefix}")
    call("cmake", "--build", tmp_path / "build")
