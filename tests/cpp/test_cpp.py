"""Runs the library's tests, and compares the pictures of C++ with Python's."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from tests.checkpoints import make_super_resolution
from tests.cpp.build import ROOT, SANITIZE, SOURCE, Build, call, pixels
from tests.runtime.tiny_bundle import write_super_resolution_bundle, write_unconditional_bundle
from trt_export.checkpoint.opening import open_checkpoint
from trt_export.export import ExportOptions, export_checkpoint
from trt_pipeline import Pipeline, durable, read_settings, trt_pipeline
from trt_pipeline.bundle import Bundle, file_sha256

pytestmark = pytest.mark.slow  # the build takes minutes

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
    ("a blue star", {"seed": 17, "sampler": "euler", "timestep_spacing": "trailing"}),
    ("a red star", {"seed": 19, "cache_interval": 3, "guidance_scale": 4.0}),
    ("a pink heart", {"seed": 23, "cache_interval": 2, "sampler": "unipc"}),
)

without_sanitizers = pytest.mark.skipif(
    bool(SANITIZE), reason="a program that uses the library needs its sanitizers as well"
)


def test_every_test_of_the_library_passes(build: Build) -> None:
    call("ctest", "--test-dir", build.folder, "--output-on-failure", "--parallel", "2")


def test_a_pictures_pixels_are_at_most_1_apart_from_pythons(build: Build, tmp_path: Path) -> None:
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


@pytest.mark.parametrize("damage", [None, b"<another release's>", b"another byte"])
def test_models_that_python_compiled_are_taken_and_damaged_ones_are_not(
    build: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: bytes | None
) -> None:
    if "openvino" not in build.backends():
        pytest.skip("built without OpenVINO")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    settings: dict[str, float | str] = {"seed": 3, "guidance_scale": 4.0}
    with trt_pipeline(build.bundle, backend="openvino") as pipe:
        picture = expected(pipe, "a star", settings)
    models = sorted((tmp_path / "cache/trt-pipeline/openvino").iterdir())
    for model in models:
        if damage == b"another byte":
            content = bytearray(model.read_bytes())
            content[len(content) // 2] ^= 1
            model.write_bytes(content)
        elif damage:
            durable.keep(model, damage)
    before = [model.stat().st_ino for model in models]
    made = drawn(build, "openvino", tmp_path / "a.png", "a star", settings)
    assert np.abs(made - picture).max() <= 1
    assert sorted((tmp_path / "cache/trt-pipeline/openvino").iterdir()) == models
    after = [model.stat().st_ino for model in models]
    assert [one == other for one, other in zip(before, after, strict=True)] == [not damage] * 4


def test_a_manifest_with_other_types_than_its_graphs_is_refused(
    build: Build, tmp_path: Path
) -> None:
    bundle = write_unconditional_bundle(tmp_path / "bundle")
    manifest = json.loads((bundle.path / "bundle.json").read_text())
    for graph in manifest["graphs"]["decoder"].values():
        graph["inputs"][0]["dtype"] = "float16"
    (bundle.path / "bundle.json").write_text(json.dumps(manifest))
    for backend in build.backends(bundle.path):
        options = ("--num-inference-steps=1", f"--backend={backend}", "-o", tmp_path / "a.png")
        done = build.run(bundle.path, *options)
        assert done.returncode in (1, 2)
        assert "latents is " in done.stderr


def drawn(
    build: Build, backend: str, path: Path, prompt: str, settings: dict[str, float | str]
) -> NDArray[np.int32]:
    options = [f"--{name.replace('_', '-')}={value}" for name, value in settings.items()]
    fixed = ("--num-inference-steps=10", f"--backend={backend}", "--force", "-o", path)
    done = build.run(build.bundle, prompt, *fixed, *options)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{path}\n"
    return pixels(path)


def expected(pipe: Pipeline, prompt: str, settings: dict[str, float | str]) -> NDArray[np.int32]:
    keywords: dict[str, object] = dict(settings)
    made = pipe(prompt, num_inference_steps=10, progress_bar=False, **keywords)  # type: ignore[arg-type]
    return np.asarray(made.images[0], np.int32)


def test_a_picture_carries_the_settings_that_python_reads(build: Build, tmp_path: Path) -> None:
    path = tmp_path / "star.png"
    given = ("--num-inference-steps=2", "--seed=3", "--eta=0.5")
    build.run(build.bundle, "étoile", *given, "-o", path)
    settings = read_settings(path)
    assert (settings.prompt, settings.seed, settings.eta) == ("étoile", 3, 0.5)
    assert (settings.num_inference_steps, settings.sampler) == (2, "ddim")
    with trt_pipeline(build.bundle, backend=build.backends()[0]) as pipe:
        assert settings.model == pipe.info.model


@pytest.fixture(scope="session")
def sources(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A picture with transparent parts, and a mask, both 64 × 64."""
    folder = tmp_path_factory.mktemp("sources")
    rng = np.random.default_rng(0)
    small = rng.integers(0, 256, (8, 8, 4), np.uint8)
    Image.fromarray(small).resize((64, 64), Image.Resampling.BICUBIC).save(folder / "photo.png")
    mask = np.zeros((64, 64), np.uint8)
    mask[10:45, 20:64] = 255
    Image.fromarray(mask).convert("P").save(folder / "mask.png")
    return folder / "photo.png", folder / "mask.png"


@pytest.mark.parametrize(
    ("masked", "settings"),
    [
        (False, {"seed": 0, "strength": 0.5, "guidance_scale": 4.0, "eta": 0.3}),
        (False, {"seed": 1, "strength": 0.7, "sampler": "pndm", "guidance_scale": 4.0}),
        (True, {"seed": 2, "guidance_scale": 4.0}),
        (True, {"seed": 3, "strength": 0.6, "sampler": "unipc"}),
    ],
)
def test_a_picture_from_a_picture_is_pythons(
    build: Build,
    sources: tuple[Path, Path],
    tmp_path: Path,
    masked: bool,
    settings: dict[str, float | str],
) -> None:
    photo, mask = sources
    files: dict[str, float | str] = {"image": str(photo)}
    if masked:
        files["mask_image"] = str(mask)
    prompt, path = "a red circle", tmp_path / "made.png"
    for backend in build.backends():
        with trt_pipeline(build.bundle, backend=backend) as pipe:
            wanted = expected(pipe, prompt, {**settings, **files})
        made = drawn(build, backend, path, prompt, {**settings, **files})
        assert np.abs(made - wanted).max() <= 1
    carried = read_settings(path)
    assert carried.image == file_sha256(photo)
    assert carried.mask_image == (file_sha256(mask) if masked else None)
    assert carried.strength == settings.get("strength")


def test_a_mask_with_transparent_parts_is_refused(
    build: Build, sources: tuple[Path, Path], tmp_path: Path
) -> None:
    photo, _ = sources
    files = [f"--image={photo}", f"--mask-image={photo}"]
    done = build.run(build.bundle, "a", *files, "--no-progress", "-o", tmp_path / "made.png")
    assert done.returncode == 2
    assert "error: mask_image has transparent parts" in done.stderr
    assert not (tmp_path / "made.png").exists()


def test_a_picture_decoded_in_tiles_is_pythons(build: Build, tmp_path: Path) -> None:
    settings: dict[str, float | str] = {"height": 128, "width": 96, "vae_tile_size": 64, "seed": 4}
    for backend in build.backends():
        path = tmp_path / f"{backend}.png"
        with trt_pipeline(build.bundle, backend=backend) as pipe:
            wanted = expected(pipe, "a star", settings)
        made = drawn(build, backend, path, "a star", settings)
        assert np.abs(made - wanted).max() <= 1
        assert read_settings(path).vae_tile_size == 64


def test_a_picture_without_a_prompt_is_pythons(build: Build, tmp_path: Path) -> None:
    bundle = write_unconditional_bundle(tmp_path / "bundle").path
    for backend in build.backends(bundle):
        path = tmp_path / f"{backend}.png"
        options = ("--num-inference-steps=10", "--seed=3", f"--backend={backend}")
        done = build.run(bundle, *options, "-o", path)
        assert done.returncode == 0, done.stderr
        with trt_pipeline(bundle, backend=backend) as pipe:
            made = pipe(num_inference_steps=10, seed=3, progress_bar=False)
        assert np.abs(pixels(path) - np.asarray(made.images[0], np.int32)).max() <= 1


def test_an_enlarged_picture_is_pythons(build: Build, tmp_path: Path) -> None:
    checkpoint = make_super_resolution(tmp_path / "checkpoint", quantized=False)
    options = ExportOptions("fp32")
    opened = open_checkpoint(str(checkpoint))
    bundle = export_checkpoint(opened, tmp_path / "bundle", options, lambda _: None).bundle.path
    small = tmp_path / "small.png"
    noise = np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8)
    Image.fromarray(noise).resize((64, 32), Image.Resampling.BICUBIC).save(small)
    for backend in build.backends(bundle):
        given = (f"--image={small}", "--seed=3", "--eta=0.3", "--sampler=ddim", "--count=2")
        done = build.run(bundle, *given, f"--backend={backend}", "-o", tmp_path / backend)
        assert done.returncode == 0, done.stderr
        with trt_pipeline(bundle, backend=backend) as pipe:
            made = pipe(
                image=str(small),
                num_images_per_prompt=2,
                eta=0.3,
                sampler="ddim",
                seed=3,
                progress_bar=False,
            )
        for picture, path in zip(made.images, done.stdout.split(), strict=True):
            assert read_settings(path).num_inference_steps == 100
            assert np.abs(pixels(Path(path)) - np.asarray(picture, np.int32)).max() <= 1


@pytest.mark.parametrize(
    ("write", "arguments", "message"),
    [
        (
            write_unconditional_bundle,
            ["a star"],
            "prompt is given, but this model makes pictures without prompts.",
        ),
        (
            write_unconditional_bundle,
            ["--guidance-scale=2"],
            "guidance_scale is 2, but this model makes pictures without prompts.",
        ),
        (
            write_unconditional_bundle,
            ["--strength=0.5"],
            "strength is 0.5, but this bundle has no encoder for pictures.",
        ),
        (
            write_super_resolution_bundle,
            [],
            "image is missing; this model enlarges pictures.",
        ),
        (
            write_super_resolution_bundle,
            ["--strength=0.5"],
            "strength is 0.5, but this model enlarges an image by its own factor.",
        ),
    ],
)
def test_settings_that_a_model_has_no_use_for_are_refused(
    build: Build,
    tmp_path: Path,
    write: Callable[[Path], Bundle],
    arguments: list[str],
    message: str,
) -> None:
    bundle = write(tmp_path / "bundle").path
    done = build.run(bundle, *arguments, "--no-progress", "-o", tmp_path / "made.png")
    assert done.returncode == 2
    assert done.stderr == f"error: {message}\n"


def test_a_bundle_whose_graph_takes_an_unknown_input_is_refused(
    build: Build, tmp_path: Path
) -> None:
    bundle = write_unconditional_bundle(tmp_path / "bundle").path
    text = (bundle / "bundle.json").read_text()
    (bundle / "bundle.json").write_text(text.replace('"name": "time_embeds"', '"name": "depth"'))
    done = build.run(bundle, "--no-progress")
    assert done.returncode == 2
    assert 'this release does not know the input "depth" of ' in done.stderr


@pytest.fixture(scope="session")
def prefix(build: Build, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the library is installed."""
    folder = tmp_path_factory.mktemp("prefix")
    call("cmake", "--install", build.folder, "--prefix", folder)
    return folder


@without_sanitizers
def test_another_project_finds_the_installed_library(
    build: Build, prefix: Path, tmp_path: Path
) -> None:
    example, picture = tmp_path / "example", tmp_path / "circle.ppm"
    call("cmake", "-S", SOURCE / "example", "-B", example, f"-DCMAKE_PREFIX_PATH={prefix}")
    call("cmake", "--build", example)
    call(example / "picture", build.bundle, "a red circle", picture)
    assert pixels(picture).shape == (64, 64, 3)


@without_sanitizers
def test_pkg_config_finds_the_installed_library(prefix: Path) -> None:
    path = f"PKG_CONFIG_PATH={prefix / 'lib' / 'pkgconfig'}"
    assert "-ltrt_pipeline" in call("env", path, "pkg-config", "--libs", "trt_pipeline")


@without_sanitizers
def test_the_programs_and_commands_of_the_guide_run(
    build: Build, prefix: Path, tmp_path: Path
) -> None:
    page = (ROOT / "docs" / "guide" / "cpp.md").read_text(encoding="utf-8")
    (tmp_path / "engines").mkdir()
    (tmp_path / "engines" / "shapes").symlink_to(build.bundle)
    for name in ("cpp circle.cpp", "c circle.c", "cmake CMakeLists.txt"):
        (tmp_path / name.split()[1]).write_text(block(page, name), encoding="utf-8")
    program = f"{build.folder / 'trt-pipeline-cpp'} "
    shell = "\n".join(
        block(page, f"sh {part}.sh")
        .replace("/opt/trt_pipeline", str(prefix))
        .replace("trt-pipeline-cpp ", program)
        for part in ("use", "pkg-config", "program")
    )
    call("sh", "-ec", f"cd {tmp_path}\n{shell}")
    assert pixels(tmp_path / "circle.ppm").shape == (64, 64, 3)
    assert read_settings(tmp_path / "circle.png").num_inference_steps == 50


def block(page: str, info: str) -> str:
    """The first code block whose fence says this."""
    return page.partition(f"```{info}\n")[2].partition("```")[0]
