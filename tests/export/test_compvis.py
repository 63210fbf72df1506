"""Checkpoints in CompVis' own layout: one file of weights, a YAML, perhaps a vocabulary."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from diffusers import LDMTextToImagePipeline
from diffusers.loaders.single_file_utils import (
    convert_ldm_unet_checkpoint,
    convert_ldm_vae_checkpoint,
)
from safetensors.torch import save_file
from transformers import BertTokenizerFast

from tests.compvis_checkpoints import (
    UNET,
    VAE,
    State,
    make_both,
    original_bert,
    original_unet,
    original_vae,
    write_config,
)
from trt_export.checkpoint.folder import Checkpoint
from trt_export.checkpoint.opening import open_checkpoint
from trt_export.checkpoint.schedules.schedule import load_schedule
from trt_export.checkpoint.single_files.compvis import (
    PUBLISHED_CONFIG,
    PUBLISHED_VOCAB,
    CompVisCheckpoint,
    describe_file,
)
from trt_export.checkpoint.single_files.renaming import bert_name, unet_name, vae_name
from trt_export.cli import command
from trt_export.export import ExportOptions, export_checkpoint
from trt_export.families import Role
from trt_export.families.ldm_text_to_image import FAMILY as TEXT_TO_IMAGE
from trt_export.networks.description import describe
from trt_export.networks.weights.loading import build_empty, load_networks
from trt_export.twin import TEXT_TO_IMAGE as PUBLISHED
from trt_pipeline import TorchGenerator, trt_pipeline
from trt_pipeline.errors import CheckpointError, InvalidInputError
from trt_pipeline.sampling.samplers import sampler_table

BILLION_LAUGHS = "a0: &a0 [x]\n" + "".join(
    f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 10)}]\n" for level in range(1, 10)
)


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The same model as a diffusers folder and as a CompVis file."""
    return make_both(tmp_path_factory.mktemp("compvis"))


@pytest.fixture
def file(both: tuple[Path, Path], tmp_path: Path) -> Path:
    """A copy of the CompVis file that the test may damage."""
    return Path(shutil.copytree(both[1].parent, tmp_path / "copy")) / both[1].name


def change(file: Path, edit: Callable[[State], object]) -> None:
    state = torch.load(file, weights_only=True)["state_dict"]
    edit(state)
    torch.save(state, file)


def load(file: Path) -> None:
    load_networks(open_checkpoint(str(file)), "fp32")


def test_both_layouts_load_as_the_same_networks(both: tuple[Path, Path]) -> None:
    twin, file = (load_networks(open_checkpoint(str(one)), "fp32") for one in both)
    ids = torch.arange(2 * 77).reshape(2, 77)
    latents, image = torch.randn(2, 4, 8, 8), torch.randn(1, 3, 16, 16)
    with torch.no_grad():
        text = twin.text_encoder.context(ids)
        assert torch.equal(file.text_encoder.context(ids), text)
        noise = twin.unet.module(latents, 500, text).sample
        assert torch.equal(file.unet.module(latents, 500, text).sample, noise)
        assert torch.equal(file.vae.decode(latents), twin.vae.decode(latents))
        assert torch.equal(file.vae.encode(image), twin.vae.encode(image))


def test_a_file_is_exported_to_the_picture_of_the_folder(tmp_path: Path) -> None:
    """Within 1 of 255: the folder's picture is diffusers' own."""
    folder, file = make_both(tmp_path, levels=1)
    export_checkpoint(open_checkpoint(str(file)), tmp_path / "bundle", ExportOptions("fp32"))
    settings: dict[str, Any] = {"num_inference_steps": 4, "guidance_scale": 5.0}
    size = {"height": 64, "width": 64}  # diffusers takes 8 pixels a latent, whatever the VAE has
    pipe = trt_pipeline(tmp_path / "bundle", backend="onnxruntime")
    ours = pipe("a red circle", **settings, generator=TorchGenerator(3)).images[0]
    theirs = LDMTextToImagePipeline.from_pretrained(folder)(
        "a red circle", **size, **settings, generator=torch.Generator().manual_seed(3)
    ).images[0]
    difference = np.asarray(ours, np.int16) - np.asarray(theirs, np.int16)
    assert np.abs(difference).max() <= 1
    assert np.asarray(ours).std() > 3


def test_both_layouts_are_described_alike(both: tuple[Path, Path]) -> None:
    twin, file = (open_checkpoint(str(one)) for one in both)
    theirs, ours = describe(twin), describe(file)
    assert (ours.model.name, ours.model.family) == ("small", "compvis_text_to_image")
    same = replace(ours.model, name="diffusers", family="ldm_text_to_image")
    assert replace(ours, model=same) == theirs
    assert (ours.defaults.height, ours.model.vae_scale_factor) == (16, 2)


def test_weights_are_renamed_as_diffusers_does(both: tuple[Path, Path]) -> None:
    state = torch.load(both[1], weights_only=True)["state_dict"]
    networks = load_networks(open_checkpoint(str(both[1])), "fp32")
    for convert, config, network in (
        (convert_ldm_unet_checkpoint, UNET, networks.unet.module),
        (convert_ldm_vae_checkpoint, VAE, networks.vae.module),
    ):
        theirs, ours = convert(dict(state), config), network.state_dict()
        assert theirs.keys() == ours.keys()
        assert all(torch.equal(theirs[name], ours[name]) for name in ours)


def published() -> CompVisCheckpoint:
    return describe_file(Path("model.ckpt"), PUBLISHED_CONFIG, PUBLISHED_VOCAB)


@pytest.mark.parametrize(
    ("role", "original", "renamed"),
    [
        ("unet", original_unet, lambda name: unet_name(name, 2)),
        ("vae", original_vae, lambda name: vae_name(name, 4)),
        ("text_encoder", original_bert, bert_name),
    ],
)
def test_without_a_yaml_the_published_model_is_meant(
    role: Role, original: Callable[[Any], State], renamed: Callable[[str], str]
) -> None:
    ours = build_empty(published(), role).module
    theirs = build_empty(Checkpoint(PUBLISHED, "published", TEXT_TO_IMAGE), role).module
    shapes = {name: tensor.shape for name, tensor in theirs.state_dict().items()}
    assert {name: tensor.shape for name, tensor in ours.state_dict().items()} == shapes
    assert {renamed(name) for name in original(theirs)} == shapes.keys()
    assert _settings(ours) == _settings(theirs)


def _settings(network: Any) -> dict[str, object]:
    """A configuration without the names and versions of what wrote it."""
    settings = network.config if isinstance(network.config, dict) else network.config.to_dict()
    written = {"_name_or_path", "architectures", "dtype", "transformers_version"}
    written |= {"_class_name", "_diffusers_version", "_use_default_values"}
    return {name: value for name, value in settings.items() if name not in written}


def test_the_schedule_is_that_of_compvis_own_sampler() -> None:
    """5e-7: DDIMScheduler computes the betas in float32, CompVis in float64."""
    schedule, _ = load_schedule(published())
    betas = np.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2
    alphas = np.cumprod(1 - betas)
    np.testing.assert_allclose(schedule.alphas_cumprod, alphas, rtol=2e-5)
    timesteps = np.arange(50) * 20 + 1
    before = np.concatenate([alphas[:1], alphas[timesteps[:-1]]])
    table = sampler_table("ddim", schedule, 50)
    assert table.timesteps.tolist() == timesteps[::-1].tolist()
    np.testing.assert_allclose(table.alphas_cumprod[1:], before[::-1], rtol=2e-5)


def test_a_table_of_weights_and_safetensors_load_too(file: Path) -> None:
    change(file, lambda state: None)
    load(file)
    weights = torch.load(file, weights_only=True)
    save_file({name: t.clone() for name, t in weights.items()}, file.with_suffix(".safetensors"))
    load(file.with_suffix(".safetensors"))


class Callback:
    """Stands for the classes that Lightning pickles into its checkpoints."""


def test_a_pickle_that_needs_code_is_refused(file: Path) -> None:
    content = torch.load(file, weights_only=True)
    torch.save({**content, "callbacks": {Callback: {}}}, file)
    with pytest.raises(CheckpointError, match="loading it could run code; refused"):
        load(file)


def test_missing_and_unknown_weights_are_named(file: Path) -> None:
    def rename(state: State) -> None:
        state["model.diffusion_model.out.7.bias"] = state.pop("model.diffusion_model.out.2.bias")

    change(file, rename)
    with pytest.raises(CheckpointError, match=r"first: conv_out.bias\) and 1 .*first: out.7.bias"):
        load(file)


def test_weights_of_no_network_are_named(file: Path) -> None:
    change(file, lambda state: state.update({"control_model.weight": torch.zeros(1)}))
    with pytest.raises(CheckpointError, match=r"1 weight \(first: control_model.weight\) outside"):
        load(file)


def test_two_weights_for_one_place_are_not_mixed_up(file: Path) -> None:
    twice = "model.diffusion_model.output_blocks.1.{}.conv.bias"
    change(file, lambda state: state.update({twice.format(2): state[twice.format(1)]}))
    with pytest.raises(CheckpointError, match=r"1 unknown \(first: output_blocks.1.2.conv.bias"):
        load(file)


def average(state: State) -> None:
    """Add moving averages that are 1 where the weights are not."""
    for name in [name for name in state if name.startswith("model.")]:
        average = "model_ema." + name.removeprefix("model.").replace(".", "")
        state[average] = torch.ones_like(state[name])
    state["model_ema.decay"] = torch.tensor(0.9999)


def conv_in(file: Path) -> float:
    networks = load_networks(open_checkpoint(str(file)), "fp32")
    return float(networks.unet.module.conv_in.weight.detach().max())


def test_moving_averages_are_taken_where_the_yaml_uses_them(file: Path) -> None:
    change(file, average)
    assert conv_in(file) < 0.5
    write_config(file.with_name("config.yaml"), use_ema=True)
    assert conv_in(file) == 1.0


def test_without_moving_averages_the_weights_are_taken(file: Path) -> None:
    write_config(file.with_name("config.yaml"), use_ema=True)
    assert conv_in(file) < 0.5


def test_a_missing_moving_average_is_named(file: Path) -> None:
    def average_but_one(state: State) -> None:
        average(state)
        state.pop("model_ema.diffusion_modelout2bias")

    change(file, average_but_one)
    write_config(file.with_name("config.yaml"), use_ema=True)
    with pytest.raises(CheckpointError, match=r"1 moving averages .*modelout2bias\) are missing"):
        load(file)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("unet_config.params.dims", 3, "unet_config.params: dims is 3; only 2 can be exported"),
        ("frobnicate", 1, "model.params has an unknown entry 'frobnicate'"),
        ("cond_stage_forward", "encode_twice", "cond_stage_forward is 'encode_twice'; only None"),
        ("unet_config.params.frobnicate", 1, "has an unknown entry 'frobnicate'"),
        ("unet_config.params.channel_mult", "1,2", "channel_mult is '1,2', expected a list"),
        ("unet_config.params.use_spatial_transformer", False, "use_spatial_transformer is False"),
        ("unet_config.params.num_heads", -1, "num_heads or num_head_channels must be 1 or more"),
        ("unet_config.target", "ldm.x.EncoderUNetModel", "only UNetModel can be exported"),
        (
            "first_stage_config.target",
            "ldm.x.VQModelInterface",
            "only AutoencoderKL can be",
        ),
        ("first_stage_config.params.embed_dim", 3, "embed_dim is 3; only 4 can be exported"),
        ("first_stage_config.params.ddconfig", None, "ddconfig is None, expected names and"),
        ("first_stage_config.params.ddconfig.attn_resolutions", [16], r"attn_resolutions is \(16,"),
        (
            "cond_stage_config.target",
            "ldm.x.FrozenCLIPEmbedder",
            "only BERTEmbedder can be",
        ),
        ("cond_stage_config.params.n_layer", "two", "n_layer is 'two', expected an integer"),
        ("cond_stage_config", None, "cond_stage_config is None, expected names and values"),
        (
            "conditioning_key",
            "concat",
            "is 'concat'; only 'crossattn' can be exported",
        ),
        ("beta_schedule", "cosine", "beta_schedule is 'cosine', expected linear or sqrt_linear"),
        ("parameterization", "x0", "parameterization is 'x0', expected eps or v"),
        ("scale_by_std", True, "scale_by_std is True; only False can be exported"),
        ("linear_start", "small", "linear_start is 'small', expected a number"),
    ],
)
def test_a_yaml_that_cannot_be_exported_is_refused_by_name(
    file: Path, name: str, value: object, message: str
) -> None:
    write_config(file.with_name("config.yaml"), **{name: value})
    with pytest.raises(CheckpointError, match=message):
        open_checkpoint(str(file))


@pytest.mark.parametrize(
    "text",
    ["!!python/object/apply:os.getcwd []", "model: [", "2024-13-45", "[" * 1500, "\x00"],
)
def test_a_yaml_of_more_than_plain_data_is_refused(file: Path, text: str) -> None:
    file.with_name("config.yaml").write_text(text)
    with pytest.raises(CheckpointError, match="is not YAML of plain data"):
        open_checkpoint(str(file))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (BILLION_LAUGHS, "a few aliases stand for more"),
        ("a: &a [*a]", "a few aliases stand for more"),
        ("[" * 30_000, "nested more than 32 levels deep"),
        ("a: [" + "1," * 20_000 + "]", "is larger than 32768 bytes"),
    ],
)
def test_a_yaml_that_would_take_minutes_or_gigabytes_is_refused(
    file: Path, text: str, message: str
) -> None:
    file.with_suffix(".yaml").write_text(text)
    with pytest.raises(CheckpointError, match=message):
        open_checkpoint(str(file))


def test_a_vocabulary_of_gigabytes_beside_a_file_is_refused(file: Path) -> None:
    with file.with_name("vocab.txt").open("ab") as stream:
        stream.truncate(8 * 2**30)
    with pytest.raises(CheckpointError, match=r"vocab.txt is larger than \d+ bytes"):
        open_checkpoint(str(file))


@pytest.mark.parametrize("text", ["", "model: 1", "[]", "model: {target: a.LatentDiffusion}"])
def test_a_yaml_without_a_model_is_refused(file: Path, text: str) -> None:
    file.with_name("config.yaml").write_text(text)
    with pytest.raises(CheckpointError, match=r"expected names and values|has no"):
        open_checkpoint(str(file))


def test_heads_may_be_given_by_their_width(file: Path) -> None:
    name = "unet_config.params.num_head_channels"
    write_config(file.with_name("config.yaml"), **{name: 8})
    unet = build_empty(open_checkpoint(str(file)), "unet").module
    assert unet.config.attention_head_dim == [4, 8]


def test_a_width_that_does_not_fit_is_refused_with_its_yaml(file: Path) -> None:
    write_config(file.with_name("config.yaml"), **{"unet_config.params.model_channels": 40})
    with pytest.raises(CheckpointError, match=r"config.yaml cannot be exported as a .*divisible"):
        load(file)


def test_a_yaml_and_a_vocabulary_are_looked_for_beside_the_file(file: Path) -> None:
    found = open_checkpoint(str(file))
    assert list(found.files) == ["small.ckpt", "config/config.yaml", "tokenizer/vocab.txt"]
    assert (found.name, found.tokenizer_files["tokenizer"]["vocab.txt"]) == (
        "small",
        PUBLISHED_VOCAB,
    )
    file.with_name("vocab.txt").write_text("[PAD]\n")
    write_config(file.with_name("small.yaml"))
    found = open_checkpoint(str(file))
    assert found.tokenizer_files["tokenizer"]["vocab.txt"] == file.with_name("vocab.txt")
    assert found.configs["unet"] == file.with_name("small.yaml")


def test_a_vocabulary_may_be_a_tokenizer_json(file: Path) -> None:
    vocab = file.with_name("saved.json")
    vocab.write_text(BertTokenizerFast(str(PUBLISHED_VOCAB)).backend_tokenizer.to_str())
    found = open_checkpoint(str(file), vocab=vocab)
    assert found.tokenizer_files == {"tokenizer": {"tokenizer.json": vocab}}
    assert list(found.files)[-1] == "tokenizer/saved.json"
    assert describe(found).tokenizer == describe(open_checkpoint(str(file))).tokenizer


def test_one_yaml_of_any_name_is_taken_and_two_are_not(file: Path) -> None:
    file.with_name("config.yaml").rename(file.with_name("txt2img.yaml"))
    assert open_checkpoint(str(file)).configs["unet"].name == "txt2img.yaml"
    write_config(file.with_name("other.yaml"))
    with pytest.raises(CheckpointError, match=r"any of other.yaml, txt2img.yaml may describe it"):
        open_checkpoint(str(file))
    chosen = file.with_name("other.yaml")
    assert open_checkpoint(str(file), config=chosen).configs["unet"] == chosen


def test_a_yaml_that_is_not_there_is_named(file: Path) -> None:
    with pytest.raises(CheckpointError, match=r"no.yaml cannot be read: No such file"):
        open_checkpoint(str(file), config=Path("no.yaml"))


def test_a_file_that_is_not_there_is_not_a_hub_id() -> None:
    with pytest.raises(CheckpointError, match="nor a file here, and not a hub id"):
        open_checkpoint("models/model.ckpt")


def test_a_folder_takes_neither_config_nor_vocab(both: tuple[Path, Path]) -> None:
    with pytest.raises(InvalidInputError, match="--config and --vocab are for a checkpoint file"):
        open_checkpoint(str(both[0]), vocab=PUBLISHED_VOCAB)


def test_the_command_says_what_it_would_read(file: Path, tmp_path: Path) -> None:
    write_config(tmp_path / "elsewhere.yaml")
    arguments = [str(file), "--out", str(tmp_path / "bundle"), "--dry-run", "--json"]
    result = CliRunner().invoke(command, [*arguments, "--config", str(tmp_path / "elsewhere.yaml")])
    assert result.exit_code == 0, result.output
    assert '"config/elsewhere.yaml"' in result.output
    assert '"would_export": true' in result.output
