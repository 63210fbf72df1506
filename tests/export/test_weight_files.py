"""Variants and shards of weights, as diffusers and transformers write, look for and load them."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from diffusers import LDMPipeline, UNet2DModel
from diffusers.pipelines.latent_diffusion.pipeline_latent_diffusion import LDMBertModel
from safetensors.torch import load_file, save_file

from trt_export.checkpoint.files.texts import MAX_CONFIG_BYTES
from trt_export.checkpoint.files.weight_names import Choice, choose, with_variant
from trt_export.checkpoint.files.weights import find_weights
from trt_export.checkpoint.opening import open_checkpoint
from trt_export.cli import command as export_all
from trt_export.export import ExportOptions, export_checkpoint
from trt_export.families import DIFFUSERS_WEIGHTS, TRANSFORMERS_WEIGHTS
from trt_export.networks.weights.loading import Networks, load_networks
from trt_pipeline import TorchGenerator, trt_pipeline
from trt_pipeline.errors import CheckpointError, InvalidInputError

WEIGHTS = "diffusion_pytorch_model"
SHARDS = "100KB"


@pytest.fixture
def plain(unconditional_checkpoint: Path, tmp_path: Path) -> Path:
    """A copy that the test may change: one plain file a part."""
    return Path(shutil.copytree(unconditional_checkpoint, tmp_path / "plain"))


@pytest.fixture(scope="module")
def saved(unconditional_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What today's diffusers writes for a variant in shards."""
    folder = tmp_path_factory.mktemp("saved")
    pipe = LDMPipeline.from_pretrained(unconditional_checkpoint)
    pipe.save_pretrained(folder, variant="fp16", max_shard_size=SHARDS)
    return folder


@pytest.fixture
def sharded(saved: Path, tmp_path: Path) -> Path:
    """A copy of it that the test may damage."""
    return Path(shutil.copytree(saved, tmp_path / "sharded"))


def load(folder: Path, variant: str | None = None) -> Networks:
    return load_networks(open_checkpoint(str(folder), variant=variant), "fp32")


def read_names(folder: Path, variant: str | None = None) -> dict[str, list[str]]:
    """Part → the names of its weight files."""
    weights = open_checkpoint(str(folder), variant=variant).weights
    return {role: [file.name for file in part.files] for role, part in weights.items()}


def assert_same_weights(found: torch.nn.Module, expected: torch.nn.Module) -> None:
    weights = expected.state_dict()
    assert found.state_dict().keys() == weights.keys()
    assert all(torch.equal(one, weights[name]) for name, one in found.state_dict().items())


def edit_index(folder: Path, **changes: Any) -> Path:
    """Change what the index of the UNet's shards says."""
    path = folder / "unet" / f"{WEIGHTS}.safetensors.index.fp16.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    return path


def shard(number: int) -> str:
    return f"{WEIGHTS}.fp16-0000{number}-of-00009.safetensors"


@pytest.mark.parametrize(
    ("names", "listing", "variant", "expected"),
    [
        (DIFFUSERS_WEIGHTS, [f"{WEIGHTS}.safetensors", f"{WEIGHTS}.bin"], None, "safetensors"),
        (DIFFUSERS_WEIGHTS, [f"{WEIGHTS}.bin"], None, "bin"),
        (
            DIFFUSERS_WEIGHTS,
            [f"{WEIGHTS}.safetensors", f"{WEIGHTS}.fp16.safetensors"],
            "fp16",
            "fp16.safetensors",
        ),
        (
            DIFFUSERS_WEIGHTS,
            [
                f"{WEIGHTS}.safetensors.fp16.index.json",
                f"{WEIGHTS}-00001-of-00002.fp16.safetensors",
            ],
            "fp16",
            "safetensors.fp16.index.json",
        ),
        (DIFFUSERS_WEIGHTS, [f"{WEIGHTS}.non_ema.bin"], "non_ema", "non_ema.bin"),
        (TRANSFORMERS_WEIGHTS, ["pytorch_model.fp16.bin"], "fp16", "fp16.bin"),
        (
            TRANSFORMERS_WEIGHTS,
            ["model.safetensors.index.fp16.json", "model.fp16-00001-of-00002.safetensors"],
            "fp16",
            "safetensors.index.fp16.json",
        ),
    ],
)
def test_a_file_is_chosen_by_its_name(
    names: tuple[str, ...], listing: list[str], variant: str | None, expected: str
) -> None:
    found = choose("unet", listing, names, variant)
    assert (found.name.partition(".")[2], found.variant) == (expected, variant)


def test_numbers_of_shards_are_not_variants() -> None:
    listing = [
        "model.safetensors.index.fp16.json",
        "model.fp16-00001-of-00002.safetensors",
        "model.fp16-00002-of-00002.safetensors",
    ]
    found = choose("bert", listing, TRANSFORMERS_WEIGHTS, None)
    assert found == Choice("model.safetensors.index.fp16.json", "fp16")


def test_an_index_has_two_names_with_a_variant() -> None:
    assert with_variant("model.safetensors.index.json", "fp16") == (
        "model.safetensors.index.fp16.json",
        "model.safetensors.fp16.index.json",
    )


@pytest.mark.parametrize("safe", [True, False])
def test_shards_of_a_variant_load_as_in_diffusers(
    unconditional_checkpoint: Path, tmp_path: Path, safe: bool
) -> None:
    pipe = LDMPipeline.from_pretrained(unconditional_checkpoint)
    pipe.save_pretrained(tmp_path, variant="fp16", max_shard_size=SHARDS, safe_serialization=safe)
    kind = "safetensors" if safe else "bin"
    names = read_names(tmp_path, "fp16")["unet"]
    assert names[0] == f"{WEIGHTS}.{kind}.index.fp16.json"
    assert names[1] == f"{WEIGHTS}.fp16-00001-of-0000{len(names) - 1}.{kind}"
    loaded = load(tmp_path, "fp16")
    assert_same_weights(loaded.unet.module, pipe.unet)
    assert_same_weights(loaded.vae.module, pipe.vqvae)


def test_half_precision_loads_as_float32(plain: Path) -> None:
    pipe = LDMPipeline.from_pretrained(plain, dtype=torch.float16)
    pipe.save_pretrained(plain, variant="fp16")
    found = load(plain, "fp16").unet.module
    assert found.dtype == torch.float32
    assert_same_weights(found, UNet2DModel.from_pretrained(plain / "unet", variant="fp16"))


def test_older_names_of_shards_are_read(sharded: Path) -> None:
    part = sharded / "unet"
    index = part / f"{WEIGHTS}.safetensors.index.fp16.json"
    older = {
        one: one.replace(".fp16", "").replace(".saf", ".fp16.saf")
        for one in map(shard, range(1, 10))
    }
    placed = json.loads(index.read_text())["weight_map"]
    for name, new in older.items():
        (part / name).rename(part / new)
    index.unlink()
    index = part / f"{WEIGHTS}.safetensors.fp16.index.json"
    placed = {tensor: older[name] for tensor, name in placed.items()}
    index.write_text(json.dumps({"metadata": {}, "weight_map": placed}))
    assert read_names(sharded, "fp16")["unet"][:2] == [
        f"{WEIGHTS}.safetensors.fp16.index.json",
        f"{WEIGHTS}-00001-of-00009.fp16.safetensors",
    ]


def test_diffusers_prefers_shards_to_one_file(plain: Path) -> None:
    other = UNet2DModel.from_pretrained(plain / "unet")
    torch.nn.init.zeros_(other.conv_in.weight)
    other.save_pretrained(plain / "aside", max_shard_size=SHARDS)
    shutil.copytree(plain / "aside", plain / "unet", dirs_exist_ok=True)
    reference = UNet2DModel.from_pretrained(plain / "unet")
    assert not reference.conv_in.weight.any()
    assert_same_weights(load(plain).unet.module, reference)


def test_transformers_prefers_one_file_to_shards(plain_checkpoint: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(plain_checkpoint / "bert", tmp_path / "bert"))
    other = LDMBertModel.from_pretrained(folder)
    torch.nn.init.zeros_(other.model.layer_norm.weight)
    other.save_pretrained(tmp_path / "aside", max_shard_size="5MB")
    shutil.copytree(tmp_path / "aside", folder, dirs_exist_ok=True)
    assert LDMBertModel.from_pretrained(folder).model.layer_norm.weight.all()
    assert find_weights(folder, TRANSFORMERS_WEIGHTS, None).files == (folder / "model.safetensors",)


def test_the_only_variant_is_taken_and_named(saved: Path) -> None:
    with pytest.warns(
        UserWarning, match="no plain weights in unet and vqvae; taking the variant fp16"
    ):
        found = open_checkpoint(str(saved)).weights["unet"]
    assert found.variant == "fp16"


def test_of_several_variants_one_must_be_chosen(plain: Path) -> None:
    file = plain / "unet" / f"{WEIGHTS}.safetensors"
    shutil.copy(file, file.with_name(f"{WEIGHTS}.bf16.safetensors"))
    file.rename(file.with_name(f"{WEIGHTS}.fp16.safetensors"))
    with pytest.raises(
        CheckpointError,
        match=r"unet has no weights without a variant, but those of bf16 and fp16\. Choose with",
    ):
        open_checkpoint(str(plain))


def test_a_plain_file_comes_before_a_variant(plain: Path) -> None:
    file = plain / "unet" / f"{WEIGHTS}.safetensors"
    shutil.copy(file, file.with_name(f"{WEIGHTS}.fp16.safetensors"))
    assert read_names(plain)["unet"] == [f"{WEIGHTS}.safetensors"]


def test_a_part_without_the_variant_takes_its_plain_file_as_in_diffusers(plain: Path) -> None:
    file = plain / "unet" / f"{WEIGHTS}.safetensors"
    file.rename(file.with_name(f"{WEIGHTS}.fp16.safetensors"))
    LDMPipeline.from_pretrained(plain, variant="fp16")
    with pytest.warns(UserWarning, match="variant fp16 in vqvae; taking the plain ones"):
        names = read_names(plain, "fp16")
    assert names == {"unet": [f"{WEIGHTS}.fp16.safetensors"], "vae": [f"{WEIGHTS}.safetensors"]}


def test_a_part_whose_names_only_begin_like_the_variant_is_refused_as_in_diffusers(
    plain: Path,
) -> None:
    for part, variant in (("unet", "fp16"), ("vqvae", "fp16_ema")):
        file = plain / part / f"{WEIGHTS}.safetensors"
        shutil.copy(file, file.with_name(f"{WEIGHTS}.{variant}.safetensors"))
    with pytest.raises(OSError, match="no file named"):
        LDMPipeline.from_pretrained(plain, variant="fp16")
    with pytest.raises(
        CheckpointError, match=r"vqvae has no weights of the variant fp16, but those of fp16_ema"
    ):
        open_checkpoint(str(plain), variant="fp16")


def test_a_variant_that_no_part_has_is_refused(plain: Path) -> None:
    with pytest.raises(CheckpointError, match=r"plain has no weights of the variant bf16\."):
        open_checkpoint(str(plain), variant="bf16")


def test_a_part_that_has_only_another_variant_is_refused(saved: Path) -> None:
    with pytest.raises(CheckpointError, match="no weights of the variant bf16, but those of fp16"):
        open_checkpoint(str(saved), variant="bf16")


def test_a_variant_must_be_a_word(plain: Path) -> None:
    with pytest.raises(InvalidInputError, match=r"--variant '../fp16': expected a word"):
        open_checkpoint(str(plain), variant="../fp16")


def test_a_single_file_has_no_variants(tmp_path: Path) -> None:
    (tmp_path / "model.ckpt").touch()
    with pytest.raises(
        InvalidInputError,
        match=r"--variant fp16 is for a folder or a hub id; .*model.ckpt is a file",
    ):
        open_checkpoint(str(tmp_path / "model.ckpt"), variant="fp16")


@pytest.mark.parametrize(
    ("placed", "message"),
    [
        (None, "has no weight_map"),
        ({}, "has no weight_map"),
        (["a"], "has no weight_map"),
        ({"a": 5}, "a lies in 5, expected the plain name of a .safetensors file"),
        ({"a": "../other.safetensors"}, r"a lies in '../other.safetensors', expected the plain"),
        ({"a": "/etc/weights.safetensors"}, "expected the plain name"),
        ({"a": "sub/weights.safetensors"}, "expected the plain name"),
        ({"a": r"..\weights.safetensors"}, "expected the plain name"),
        ({"a": "we\0ights.safetensors"}, "expected the plain name"),
        ({"a": f"{'x' * 300}.safetensors"}, "expected the plain name"),
        ({"a": "weights.bin"}, "expected the plain name of a .safetensors file"),
        ({"a": "gone.safetensors"}, r"gone.safetensors is missing"),
    ],
)
def test_an_index_that_leads_elsewhere_is_refused(
    sharded: Path, placed: object, message: str
) -> None:
    edit_index(sharded, weight_map=placed)
    with pytest.raises(CheckpointError, match=message):
        open_checkpoint(str(sharded), variant="fp16")


def test_an_index_is_read_up_to_a_bound(sharded: Path) -> None:
    edit_index(sharded, metadata={"note": "x" * MAX_CONFIG_BYTES})
    with pytest.raises(CheckpointError, match="larger than 1048576 bytes; refused"):
        open_checkpoint(str(sharded), variant="fp16")


def test_a_missing_shard_is_named(sharded: Path) -> None:
    (sharded / "unet" / shard(2)).unlink()
    with pytest.raises(CheckpointError, match=r"fp16-00002-of-00009.safetensors is missing"):
        open_checkpoint(str(sharded), variant="fp16")


def test_a_weight_in_another_shard_than_the_index_says_is_refused(sharded: Path) -> None:
    path = edit_index(sharded)
    placed = json.loads(path.read_text())["weight_map"]
    first = next(name for name, file in placed.items() if file == shard(1))
    edit_index(sharded, weight_map=placed | {first: shard(2)})
    with pytest.raises(CheckpointError, match=rf"00001-of-00009.* 1 unknown \(first: {first}\)"):
        open_checkpoint(str(sharded), variant="fp16")


def test_a_weight_that_stands_twice_is_refused(sharded: Path) -> None:
    path = sharded / "unet" / shard(2)
    save_file(load_file(path) | load_file(sharded / "unet" / shard(1)), path)
    with pytest.raises(
        CheckpointError, match=r"00002-of-00009.* does not fit .*index.fp16.json: of"
    ):
        open_checkpoint(str(sharded), variant="fp16")


def test_a_pickled_shard_that_lacks_a_weight_is_refused(plain: Path) -> None:
    unet = UNet2DModel.from_pretrained(plain / "unet")
    (plain / "unet" / f"{WEIGHTS}.safetensors").unlink()
    unet.save_pretrained(plain / "unet", max_shard_size=SHARDS, safe_serialization=False)
    path = next((plain / "unet").glob("*-00003-of-*.bin"))
    state = torch.load(path, weights_only=True)
    lost = min(state)
    torch.save({name: one for name, one in state.items() if name != lost}, path)
    with pytest.raises(CheckpointError, match=rf"00003-of-.* 1 missing \(first: {lost}\)"):
        load(plain)


def test_an_index_of_another_architecture_is_refused(sharded: Path) -> None:
    path = sharded / "unet" / shard(1)
    state = load_file(path)
    save_file(state | {"stranger": torch.zeros(1)}, path)
    placed = json.loads(edit_index(sharded).read_text())["weight_map"]
    edit_index(sharded, weight_map=placed | {"stranger": shard(1)})
    with pytest.raises(
        CheckpointError,
        match=r"index.fp16.json does not fit .*unet/config.json.* 1 unknown \(first: stranger\)",
    ):
        load(sharded, "fp16")


def test_a_dry_run_lists_the_files_of_a_variant(saved: Path, tmp_path: Path) -> None:
    asked = [str(saved), "--variant", "fp16", "--dry-run", "--json", "--out", str(tmp_path / "b")]
    printed = CliRunner().invoke(export_all, asked, catch_exceptions=False).stdout
    assert f"unet/{shard(9)}" in json.loads(printed)["read_bytes"]


def test_a_bundle_of_shards_of_a_variant_draws_the_reference_s_picture(
    saved: Path, tmp_path: Path
) -> None:
    checkpoint = open_checkpoint(str(saved), variant="fp16")
    bundle = export_checkpoint(checkpoint, tmp_path / "bundle", ExportOptions("fp32")).bundle
    assert f"unet/{shard(1)}" in bundle.provenance["files"]
    theirs = LDMPipeline.from_pretrained(saved, variant="fp16")
    settings: dict[str, Any] = {"num_inference_steps": 3, "output_type": "np"}
    expected = theirs(generator=torch.Generator().manual_seed(3), **settings).images
    with trt_pipeline(bundle.path) as pipe:
        found = pipe(generator=TorchGenerator(3), progress_bar=False, **settings).images
    difference = np.abs(np.asarray(found) - np.asarray(expected))
    assert (difference <= 1.01 / 255).mean() >= 0.999
