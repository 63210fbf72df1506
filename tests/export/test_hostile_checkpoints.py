"""Checkpoints made to harm: one of the project's errors before anything is exported."""

import json
import shutil
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.checkpoints import edit_json
from trt_export.checkpoint.files.tensors import read_weights
from trt_export.checkpoint.files.texts import MAX_CONFIG_BYTES
from trt_export.checkpoint.folder import Checkpoint
from trt_export.checkpoint.opening import open_checkpoint
from trt_export.families import Role
from trt_export.networks.description import describe
from trt_export.networks.weights.loading import load_networks
from trt_pipeline.errors import CheckpointError


@pytest.fixture
def checkpoint(plain_checkpoint: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(plain_checkpoint, tmp_path / "checkpoint"))


def write_header(path: Path, header: object, size: int | None = None, data: bytes = b"") -> Path:
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text) if size is None else size) + text + data)
    return path


F32 = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}


@pytest.mark.parametrize(
    ("header", "size"),
    [
        ({"a": F32}, 2**63),
        ({"a": F32}, 2**40),
        ({"a": F32}, 0),
        ({"a": {**F32, "shape": [2**62]}}, None),
        ({"a": {**F32, "shape": [2**40], "data_offsets": [0, 2**42]}}, None),
        ({"a": {**F32, "data_offsets": [8, 0]}}, None),
        ({"a": {**F32, "data_offsets": [4, 12]}}, None),
        ({"a": F32, "b": F32}, None),
        ({"a": {**F32, "dtype": "F33"}}, None),
        ({"a": {**F32, "shape": [-2]}}, None),
        ([], None),
    ],
)
def test_a_safetensors_header_that_lies_is_refused(
    tmp_path: Path, header: object, size: int | None
) -> None:
    path = write_header(tmp_path / "model.safetensors", header, size, bytes(8))
    with pytest.raises(CheckpointError, match="is damaged or incomplete"):
        read_weights(path)


def test_a_header_that_lies_is_found_before_anything_is_hashed(checkpoint: Path) -> None:
    weights = checkpoint / "unet" / "diffusion_pytorch_model.safetensors"
    with weights.open("ab") as stream:
        stream.truncate(2**40)
    with pytest.raises(CheckpointError, match=r"unet/.* is damaged or incomplete"):
        open_checkpoint(str(checkpoint))


def replace_weights(checkpoint: Path, name: str, tensor: torch.Tensor) -> Checkpoint:
    """With bert's weights as a pickle, one of them another tensor."""
    safe = checkpoint / "bert" / "model.safetensors"
    state = load_file(safe)
    safe.unlink()
    torch.save({**state, name: tensor}, checkpoint / "bert" / "pytorch_model.bin")
    return open_checkpoint(str(checkpoint))


EMBEDDING = "model.embed_tokens.weight"


def test_a_tensor_of_more_numbers_than_the_file_has_is_refused(checkpoint: Path) -> None:
    shape = load_file(checkpoint / "bert" / "model.safetensors")[EMBEDDING].shape
    opened = replace_weights(checkpoint, EMBEDDING, torch.zeros(1, 1).expand(shape))
    with pytest.raises(CheckpointError, match=f"{EMBEDDING} has fewer numbers in the file than"):
        load_networks(opened, "fp32")


@pytest.mark.parametrize(
    "make",
    [
        lambda plain: plain.to("meta"),
        lambda plain: plain.to(torch.complex64),
        lambda plain: plain.bool(),
        lambda plain: plain.to_sparse(),
    ],
)
def test_tensors_of_anything_but_plain_numbers_are_refused(
    checkpoint: Path, make: Callable[[torch.Tensor], torch.Tensor]
) -> None:
    plain = load_file(checkpoint / "bert" / "model.safetensors")[EMBEDDING]
    with pytest.raises(CheckpointError, match="expected plain floating-point numbers"):
        load_networks(replace_weights(checkpoint, EMBEDDING, make(plain)), "fp32")


def test_a_file_of_zeros_is_refused(checkpoint: Path) -> None:
    (checkpoint / "bert" / "model.safetensors").unlink()
    with (checkpoint / "bert" / "pytorch_model.bin").open("wb") as stream:
        stream.truncate(2**40)
    with pytest.raises(CheckpointError, match=r"pytorch_model.bin is not a file of tensors"):
        open_checkpoint(str(checkpoint))


def test_a_configuration_of_a_million_entries_is_refused(checkpoint: Path) -> None:
    edit_json(checkpoint / "unet" / "config.json", **{f"x{i}": 0 for i in range(10_000)})
    with pytest.raises(CheckpointError, match=r"has \d+ entries, expected at most 256"):
        describe(open_checkpoint(str(checkpoint)))


@pytest.mark.parametrize(
    "name", ["tokenizer/vocab.txt", "unet/config.json", "model_index.json", "tokenizer"]
)
def test_a_text_file_of_gigabytes_is_refused(checkpoint: Path, name: str) -> None:
    path = checkpoint / name
    path = path / "tokenizer_config.json" if path.is_dir() else path
    with path.open("ab") as stream:
        stream.truncate(8 * 2**30)
    with pytest.raises(CheckpointError, match=r"is larger than \d+ bytes"):
        open_checkpoint(str(checkpoint))


@pytest.mark.parametrize(
    ("role", "name", "value"),
    [
        ("scheduler", "num_train_timesteps", 10**8),
        ("scheduler", "trained_betas", [0.001] * 20_000),
        ("unet", "layers_per_block", 10**5),
        ("unet", "layers_per_block", [1, [10**5]]),
        ("unet", "sample_size", 10**6),
        ("unet", "down_block_types", ["DownBlock2D"] * 1000),
        ("unet", "transformer_layers_per_block", 300),
        ("vae", "layers_per_block", 10**5),
        ("text_encoder", "encoder_layers", 10**5),
    ],
)
def test_a_number_that_would_take_minutes_or_gigabytes_is_named(
    checkpoint: Path, role: Role, name: str, value: object
) -> None:
    opened = open_checkpoint(str(checkpoint))
    edit_json(opened.configs[role], **{name: value})
    with pytest.raises(CheckpointError, match=rf"{name}.* expected at most \d+"):
        describe(opened)


def test_an_index_of_absurd_depth_is_refused(checkpoint: Path) -> None:
    (checkpoint / "model_index.json").write_text("[" * MAX_CONFIG_BYTES)
    with pytest.raises(CheckpointError, match=r"model_index.json is not JSON"):
        open_checkpoint(str(checkpoint))


def test_a_configuration_that_is_nested_out_of_measure_is_refused(checkpoint: Path) -> None:
    deep: object = None
    for _ in range(33):
        deep = [deep]
    edit_json(checkpoint / "model_index.json", deep=deep)
    with pytest.raises(CheckpointError, match="nests its entries more than 32 deep; refused"):
        open_checkpoint(str(checkpoint))


def test_a_model_card_of_gigabytes_is_read_in_part(checkpoint: Path) -> None:
    card = checkpoint / "README.md"
    card.write_text("---\nlicense: mit\n---\n")
    with card.open("ab") as stream:
        stream.truncate(8 * 2**30)
    assert open_checkpoint(str(checkpoint)).license == "mit"
