"""The table of settings, and all that reads it."""

import importlib.util
from dataclasses import asdict, fields, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from PIL import Image

from trt_pipeline import Bundle, InvalidInputError, Request, Settings
from trt_pipeline.pipelines.checks import check
from trt_pipeline.sampling.samplers import SAMPLERS
from trt_pipeline.settings import SETTINGS, Setting

from .tiny_bundle import write_pair_bundle

TOOL = Path(__file__).parents[2] / "runtime/cpp/tools/make_settings.py"
IMAGE = Image.new("RGB", (64, 64))
RED = Request("red", seed=0)


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_settings", TOOL)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_table_has_these_rows() -> None:
    assert {name: (row.kind, row.default, row.scope) for name, row in SETTINGS.items()} == {
        "prompt": ("text", "", "picture"),
        "negative_prompt": ("text", None, "picture"),
        "seed": ("integer", None, "picture"),
        "num_inference_steps": ("integer", None, "call"),
        "guidance_scale": ("real", None, "picture"),
        "image_guidance_scale": ("real", 1.5, "picture"),
        "guidance_interval": ("interval", (0.0, 1.0), "call"),
        "sampler": ("choice", None, "call"),
        "eta": ("real", None, "call"),
        "schedule": ("choice", "published", "call"),
        "timestep_spacing": ("choice", None, "call"),
        "height": ("integer", None, "call"),
        "width": ("integer", None, "call"),
        "image": ("file", None, "picture"),
        "mask_image": ("file", None, "picture"),
        "overlay": ("choice", "none", "call"),
        "strength": ("real", None, "call"),
        "original_size": ("pair", None, "call"),
        "crops_coords_top_left": ("pair", (0, 0), "call"),
        "target_size": ("pair", None, "call"),
        "vae_tile_size": ("integer", None, "call"),
        "cache_interval": ("integer", 1, "call"),
    }


def test_the_table_has_these_bounds() -> None:
    bounded = {n: row.bounds for n, row in SETTINGS.items() if row.kind not in ("text", "file")}
    assert {name: bounds for name, bounds in bounded.items() if not SETTINGS[name].choices} == {
        "seed": (0, 2**64 - 1),
        "num_inference_steps": (1, 10**6),
        "guidance_scale": (-1e6, 1e6),
        "image_guidance_scale": (-1e6, 1e6),
        "guidance_interval": (0, 1),
        "eta": (0, 1),
        "height": (1, 65536),
        "width": (1, 65536),
        "strength": (0, 1),
        "original_size": (1, 65536),
        "crops_coords_top_left": (0, 65536),
        "target_size": (1, 65536),
        "vae_tile_size": (1, 65536),
        "cache_interval": (1, 1000),
    }


def test_the_table_has_these_choices() -> None:
    assert SETTINGS["sampler"].choices == tuple(SAMPLERS)
    assert SETTINGS["schedule"].choices == ("published", "trained")
    assert SETTINGS["overlay"].choices == ("none", "seamless")
    assert SETTINGS["timestep_spacing"].choices == ("leading", "linspace", "trailing")


@pytest.mark.parametrize("row", SETTINGS.values(), ids=SETTINGS.keys())
def test_a_default_is_allowed(row: Setting) -> None:
    assert row.checked(row.default) == row.default


@pytest.mark.parametrize("row", SETTINGS.values(), ids=SETTINGS.keys())
def test_every_row_has_help_and_an_option(row: Setting) -> None:
    assert row.help.endswith(".")
    assert row.option == "--" + row.name.replace("_", "-")


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("prompt", 7, "^prompt must be a string, got int 7"),
        ("negative_prompt", "\ud800", "^negative_prompt holds .* not valid Unicode"),
        ("seed", -1, "^seed must be an integer from 0 to 18446744073709551615, got -1"),
        ("seed", 2**64, "^seed must be .* got 18446744073709551616"),
        ("seed", True, "^seed must be .* got True"),
        ("num_inference_steps", 0, "^num_inference_steps must be .* from 1 to 1000000, got 0"),
        ("num_inference_steps", 2.0, r"^num_inference_steps must be an integer .* got 2\.0"),
        ("guidance_scale", 2e6, "^guidance_scale must be a finite number .* got 2e"),
        ("guidance_scale", "6", "^guidance_scale must be a finite number .* got '6'"),
        ("guidance_interval", (0, 1.5), "^guidance_interval must be .* from 0 to 1, got 1.5"),
        ("guidance_interval", (0.5, 0.2), "^guidance_interval must not stop before it starts"),
        ("sampler", "heun", "^sampler must be one of ddim, .* got 'heun'"),
        ("eta", 1.1, r"^eta must be a finite number from 0 to 1, got 1\.1"),
        ("timestep_spacing", "cubic", "^timestep_spacing must be one of leading, .* got 'cubic'"),
        ("height", 0, "^height must be an integer from 1 to 65536, got 0"),
        ("width", 65537, "^width must be an integer from 1 to 65536, got 65537"),
        ("image", 7, "^image must be a string, got int 7"),
        ("mask_image", b"a", "^mask_image must be a string, got bytes"),
        ("strength", -0.1, r"^strength must be a finite number from 0 to 1, got -0\.1"),
        ("original_size", 64, "^original_size must be two integers from 1 to 65536, got 64"),
        ("original_size", (64, 0), "^original_size must be an integer from 1 to 65536, got 0"),
        ("target_size", (64.5, 64), "^target_size must be an integer from 1 .* got 64.5"),
        ("crops_coords_top_left", (0, -1), "^crops_coords_top_left must be .* from 0 .* got -1"),
        ("vae_tile_size", 0, "^vae_tile_size must be an integer from 1 to 65536, got 0"),
        ("cache_interval", 1001, "^cache_interval must be an integer from 1 to 1000, got 1001"),
    ],
)
def test_a_row_refuses_by_name_what_is_out_of_bounds(name: str, value: Any, message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        SETTINGS[name].checked(value)


@pytest.mark.parametrize("row", SETTINGS.values(), ids=list(SETTINGS))
def test_none_is_the_default(row: Setting) -> None:
    assert row.checked(None) == row.default


def test_an_error_says_where_the_value_stands() -> None:
    with pytest.raises(InvalidInputError, match=r"^a\.jsonl line 2: eta must be"):
        SETTINGS["eta"].checked(2, "a.jsonl line 2: ")


def test_the_generated_files_are_current(tool: ModuleType) -> None:
    """Otherwise: python runtime/cpp/tools/make_settings.py"""
    assert tool.INC.read_text() == tool.c_rows()
    assert tool.PAGE.read_text() == tool.page()


def test_a_request_has_a_field_for_every_row() -> None:
    defaults = {field.name: field.default for field in fields(Request)}
    for name, row in SETTINGS.items():
        assert (defaults[name] or None) == (row.default or None), name


def test_settings_are_the_rows_and_the_model() -> None:
    assert [*asdict(Settings())] == [*SETTINGS, "model"]


OTHERS: dict[str, Any] = {
    "num_inference_steps": 7,
    "guidance_interval": (0.25, 0.5),
    "sampler": "euler",
    "eta": 0.5,
    "schedule": "trained",
    "timestep_spacing": "trailing",
    "height": 96,
    "width": 32,
    "overlay": "seamless",
    "strength": 0.5,
    "original_size": (64, 32),
    "crops_coords_top_left": (0, 8),
    "target_size": (96, 64),
    "vae_tile_size": 64,
    "cache_interval": 3,
}


@pytest.mark.parametrize("name", [row.name for row in SETTINGS.values() if row.scope == "call"])
def test_every_setting_of_a_call_reaches_it(tmp_path: Path, name: str) -> None:
    bundle = write_pair_bundle(tmp_path / "pair")
    mask = Image.new("L", (64, 64)) if name == "overlay" else None
    request = replace(RED, image=IMAGE, mask_image=mask)
    plain, changed = check(bundle, request), check(bundle, replace(request, **{name: OTHERS[name]}))
    assert getattr(changed.settings, name) == OTHERS[name]
    assert changed.settings == replace(plain.settings, **{name: OTHERS[name]})


@pytest.mark.parametrize(
    ("name", "value", "found"),
    [
        ("prompt", "blue", ("mixture", [("blue", 1.0)])),
        ("negative_prompt", "blurred", ("negative", "blurred")),
        ("seed", 7, ("seed", 7)),
        ("guidance_scale", 6, ("scale", 6.0)),
    ],
)
def test_every_setting_of_a_picture_reaches_it(
    bundle: Bundle, name: str, value: Any, found: tuple[str, Any]
) -> None:
    (picture,) = check(bundle, replace(RED, **{name: value})).pictures
    assert getattr(picture, found[0]) == found[1]


def test_an_image_and_a_mask_reach_their_picture(bundle: Bundle) -> None:
    request = replace(RED, image=IMAGE, mask_image=Image.new("L", (64, 64), 255))
    (picture,) = check(bundle, request).pictures
    assert picture.image is not None
    assert picture.repainted is not None
    assert (picture.image.shape, picture.repainted.shape) == ((64, 64, 3), (64, 64))


def test_what_is_left_out_is_the_bundle_s_own(bundle: Bundle) -> None:
    own = replace(
        bundle.defaults,
        num_inference_steps=9,
        guidance_scale=5.0,
        eta=0.25,
        height=32,
        width=96,
        sampler="ddim",
    )
    call = check(replace(bundle, defaults=own), RED)
    assert call.settings.num_inference_steps == 9
    assert call.settings.sampler == "ddim"
    assert call.settings.eta == 0.25
    assert (call.settings.height, call.settings.width) == (32, 96)
    assert call.pictures[0].scale == 5


def test_the_bundle_s_eta_is_its_own_sampler_s(bundle: Bundle) -> None:
    own = replace(bundle, defaults=replace(bundle.defaults, eta=0.25))
    assert check(own, RED).settings.eta == 0.25
    assert check(own, replace(RED, sampler="ddim")).settings.eta == 0.25
    assert check(own, replace(RED, sampler="euler")).settings.eta == 0
