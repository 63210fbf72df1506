"""Compares the pictures of Stable Diffusion's families in C++ with Python's."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.cpp.build import Build, call, pixels
from tests.cpp.families import MAKERS, write_bundle
from tests.shared import once
from trt_pipeline import Pipeline, TorchGenerator, read_settings, trt_pipeline

pytestmark = [
    pytest.mark.slow,  # the build takes minutes
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),  # diffusers
]

Settings = dict[str, Any]

SIZE = 64
CASES: dict[str, tuple[Settings, ...]] = {
    "plain": (
        {"guidance_scale": 5.0, "negative_prompt": "a cat", "sampler": "pndm"},
        {"guidance_scale": 0.5, "sampler": "euler_ancestral"},
        {"guidance_scale": 3.0, "image": True, "strength": 0.6, "sampler": "dpmsolver++"},
        {"image": True, "mask_image": True, "sampler": "euler_ancestral"},
        {"image": True, "mask_image": True, "strength": 0.5, "overlay": "seamless"},
        {"guidance_scale": 4.0, "guidance_interval": (0.2, 0.7), "cache_interval": 2},
    ),
    "consistency": ({"guidance_scale": 8.5}, {"image": True, "strength": 0.7}),
    "inpaint": (
        {"image": True, "mask_image": True, "guidance_scale": 3.0},
        {"image": True, "mask_image": True, "strength": 0.6, "overlay": "seamless"},
    ),
    "pix2pix": (
        {"image": True, "guidance_scale": 6.0, "image_guidance_scale": 1.8},
        {"image": True, "guidance_scale": 6.0, "image_guidance_scale": 0.5},
        {"image": True, "guidance_scale": 4.0, "guidance_interval": (0.0, 0.5)},
    ),
    "xl": (
        {"guidance_scale": 4.0},
        {"guidance_scale": 4.0, "negative_prompt": "", "sampler": "euler"},
        {
            "guidance_scale": 3.0,
            "negative_prompt": "a cat",
            "original_size": (32, 48),
            "crops_coords_top_left": (8, 0),
            "target_size": (96, 64),
        },
        {"image": True, "strength": 0.6},
        {"image": True, "mask_image": True, "guidance_scale": 0.0},
    ),
}
"""Family → the settings of a call, with the seed and the files that all share."""


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A picture and a mask whose border crosses the latents' cells."""
    folder = tmp_path_factory.mktemp("files")
    small = np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8)
    large = Image.fromarray(small).resize((SIZE, SIZE), Image.Resampling.BICUBIC)
    mask = np.zeros((SIZE, SIZE), np.uint8)
    mask[13:44, 20:59] = 255
    paths = {name: folder / f"{name}.png" for name in ("image", "mask_image")}
    large.save(paths["image"])
    Image.fromarray(mask).save(paths["mask_image"])
    return paths


@pytest.mark.parametrize("family", MAKERS)
def test_a_familys_pictures_are_pythons(
    build: Build,
    files: dict[str, Path],
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
    family: str,
) -> None:
    bundle = once(tmp_path_factory, family, lambda folder: write_bundle(family, folder))
    for backend in build.backends(bundle):
        with trt_pipeline(bundle, backend=backend) as pipe:
            for number, case in enumerate(CASES[family]):
                settings = {**case, **{name: files[name] for name in files if name in case}}
                path = tmp_path / f"{backend}-{number}.png"
                wanted = expected(pipe, settings)
                made = drawn(build, bundle, backend, path, settings)
                assert np.abs(made - wanted).max() <= 1, case
                assert read_settings(path).negative_prompt == case.get("negative_prompt")


def expected(pipe: Pipeline, settings: Settings) -> Any:
    size = {} if "image" in settings else {"height": SIZE, "width": SIZE}
    if "mask_image" in settings:
        size = {"height": SIZE, "width": SIZE}
    fixed = {"num_inference_steps": 5, "seed": 3, "progress_bar": False}
    made = pipe("a red circle", **fixed, **size, **settings)  # type: ignore[arg-type]
    return np.asarray(made.images[0], np.int32)


def drawn(build: Build, bundle: Path, backend: str, path: Path, settings: Settings) -> Any:
    options: list[str | Path] = []
    for name, value in settings.items():
        values = value if isinstance(value, tuple) else (value,)
        options += [f"--{name.replace('_', '-')}", *map(str, values)]
    if "image" not in settings:
        options += [f"--height={SIZE}", f"--width={SIZE}"]
    fixed = ("--num-inference-steps=5", "--seed=3", "--no-progress", f"--backend={backend}")
    done = build.run(bundle, "a red circle", *fixed, *options, "-o", path)
    assert done.returncode == 0, done.stderr
    return pixels(path)


@pytest.mark.parametrize(
    ("family", "images", "masks", "strength", "seeds"),
    [
        ("plain", 4, 0, 0.6, [7]),
        ("plain", 1, 0, 0.6, [7, 8, 9, 10]),
        ("plain", 1, 1, 0.5, [7, 8, 9, 10]),
        ("plain", 1, 4, 0.0, [7]),
        ("inpaint", 1, 1, 0.0, [3]),
        ("inpaint", 2, 1, 0.6, [3, 4, 5, 6]),
    ],
)
def test_torchs_generators_draw_for_pictures_in_as_pythons(
    build: Build,
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
    family: str,
    images: int,
    masks: int,
    strength: float,
    seeds: list[int],
) -> None:
    bundle = once(tmp_path_factory, family, lambda folder: write_bundle(family, folder))
    rng = np.random.default_rng(1)
    given: Settings = {"image": [*rng.integers(0, 256, (images, SIZE, SIZE, 3), np.uint8)]}
    paths = {"image": str(tmp_path / "image"), "mask_image": "-"}
    np.stack(given["image"]).tofile(paths["image"])
    if masks:
        paths["mask_image"] = str(tmp_path / "mask_image")
        given["mask_image"] = [*rng.integers(0, 2, (masks, SIZE, SIZE), np.uint8) * np.uint8(255)]
        np.stack(given["mask_image"]).tofile(paths["mask_image"])
    prompts, out = ["a red circle", "a cat"], tmp_path / "out"
    arguments = ("euler_ancestral", str(strength), "2", *paths.values(), *map(str, seeds), *prompts)
    call(build.folder / "tests" / "torch_pictures", bundle, out, *arguments)
    generators = [TorchGenerator(seed) for seed in seeds]
    with trt_pipeline(bundle, backend=build.backends(bundle)[0]) as pipe:
        made = pipe(
            prompts,
            num_images_per_prompt=2,
            generator=generators if len(seeds) > 1 else generators[0],
            num_inference_steps=4,
            guidance_scale=3.0,
            sampler="euler_ancestral",
            strength=strength or None,
            height=SIZE,
            width=SIZE,
            progress_bar=False,
            **{name: one if len(one) > 1 else one[0] for name, one in given.items()},
        )
    wanted = np.stack([np.asarray(one, np.int32) for one in made.images])
    assert np.abs(np.fromfile(out, np.uint8).reshape(wanted.shape) - wanted).max() <= 1
