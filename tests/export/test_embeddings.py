"""Textual inversions added at export, against diffusers' load_textual_inversion."""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline, StableDiffusionXLPipeline
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import Tensor

from tests.shared import once
from tests.stable_diffusion import make_stable_diffusion
from tests.stable_diffusion_xl import make_xl
from trt_export.checkpoint.adapters.files import EmbeddingFile, embedding_file
from trt_export.checkpoint.folder import Checkpoint
from trt_export.checkpoint.opening import open_checkpoint
from trt_export.networks.description import describe
from trt_export.networks.weights.loading import load_networks
from trt_pipeline.errors import CheckpointError, InvalidInputError
from trt_pipeline.text.tokenizer import PromptTruncatedWarning, Tokenizer

WIDTH = 32
TOKEN = "<cat-toy>"
PROMPTS = [
    "a <cat-toy>",
    "A red <CAT-TOY>, 3 circles",
    "<cat-toy><cat-toy> in a <cat-toy>_1 <cat-toy>_2",
    "cats and <cat- toy>",
    "x<cat-toy>y " * 20,
    "my sks, SKS and EasyNegative and easynegative",
    "",
]


def vectors(count: int, seed: int = 0) -> Tensor:
    return torch.randn(count, WIDTH, generator=torch.Generator().manual_seed(seed))


def save_diffusers(path: Path) -> Path:
    """As diffusers' trainer does, with one vector a token."""
    save_file({TOKEN: vectors(1)[0]}, path / "learned_embeds.safetensors")
    return path / "learned_embeds.safetensors"


def save_several(path: Path) -> Path:
    torch.save({TOKEN: vectors(3)}, path / "learned_embeds.bin")
    return path / "learned_embeds.bin"


def save_automatic1111(path: Path) -> Path:
    content = {
        "string_to_token": {"*": 265},
        "string_to_param": {"*": vectors(2).requires_grad_()},
        "name": "sks",
        "step": 499,
        "sd_checkpoint": "4bdfc29c",
        "sd_checkpoint_name": None,
    }
    torch.save(content, path / "sks.pt")
    return path / "sks.pt"


def save_capitals(path: Path) -> Path:
    torch.save({"EasyNegative": vectors(2)}, path / "EasyNegative.bin")
    return path / "EasyNegative.bin"


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    make = lambda at: make_stable_diffusion(at / "checkpoint")  # noqa: E731
    return once(tmp_path_factory, "stable-diffusion", make)


def opened(checkpoint: Path, *files: Path | EmbeddingFile) -> Checkpoint:
    embeddings = [one if isinstance(one, EmbeddingFile) else EmbeddingFile(one) for one in files]
    return open_checkpoint(str(checkpoint), embeddings=embeddings)


def our_ids(checkpoint: Checkpoint, folder: Path) -> NDArray[np.int32]:
    described = describe(checkpoint).tokenizer
    assert described
    described.write(folder)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PromptTruncatedWarning)
        return Tokenizer(folder, described.spec).encode(PROMPTS)


def their_ids(pipe: Any) -> NDArray[np.int32]:
    texts = pipe.maybe_convert_prompt(PROMPTS, pipe.tokenizer)
    ids = pipe.tokenizer(texts, padding="max_length", max_length=77, truncation=True).input_ids
    return np.asarray(ids, np.int32)


@pytest.mark.parametrize("save", [save_diffusers, save_several, save_automatic1111, save_capitals])
def test_ids_and_vectors_are_diffusers(
    save: Callable[[Path], Path], checkpoint: Path, tmp_path: Path
) -> None:
    path = save(tmp_path)
    theirs = StableDiffusionPipeline.from_pretrained(checkpoint)
    plain = their_ids(theirs)
    theirs.load_textual_inversion(str(path))
    ours = opened(checkpoint, path)
    expected = their_ids(theirs)
    assert not np.array_equal(expected, plain)
    np.testing.assert_array_equal(our_ids(ours, tmp_path), expected)
    table = load_networks(ours, "fp32").text_encoder.module.get_input_embeddings().weight
    assert torch.equal(table, theirs.text_encoder.get_input_embeddings().weight)


def test_a_token_can_be_chosen(checkpoint: Path, tmp_path: Path) -> None:
    """AUTOMATIC1111's safetensors files name none, nor does a bare tensor."""
    named, bare = tmp_path / "sks.safetensors", tmp_path / "bare.pt"
    save_file({"emb_params": vectors(2)}, named)
    torch.save(vectors(1, seed=1), bare)
    files = [embedding_file(f"{named}:{TOKEN}"), embedding_file(f"{bare}:sks")]
    theirs = StableDiffusionPipeline.from_pretrained(checkpoint)
    for file in files:
        theirs.load_textual_inversion(str(file.path), token=file.token)
    np.testing.assert_array_equal(our_ids(opened(checkpoint, *files), tmp_path), their_ids(theirs))
    assert opened(checkpoint, named).new_tokens == ["sks", "sks_1"]  # the file's name
    with pytest.raises(CheckpointError, match="does not say its token"):
        _ = opened(checkpoint, bare).new_tokens


def test_a_capital_in_a_token_of_several_vectors_is_noted(checkpoint: Path, tmp_path: Path) -> None:
    path = save_capitals(tmp_path)
    assert "FILE:easynegative" in describe(opened(checkpoint, path)).notes[0]
    lower = EmbeddingFile(path, "easynegative")
    assert not describe(opened(checkpoint, lower)).notes


@pytest.mark.parametrize(
    ("content", "token", "reason"),
    [
        ({"<x>": vectors(1)[:, :8]}, None, "vectors of width 8, but the text encoder's have 32"),
        ({"<x>": vectors(1), "<y>": vectors(1)}, None, "is not a textual inversion: expected one"),
        ({"clip_l": vectors(1), "clip_g": vectors(1)}, None, "is for Stable Diffusion XL"),
        ({"<x>": vectors(76)}, None, "has 76 vectors, expected at most 75"),
        ({"<x>": vectors(1) / 0}, None, "NaN or infinite"),
        ({"<x>": vectors(1)}, "<|endoftext|>", "has the token '<|endoftext|>' already"),
        ({"<x>": vectors(1)}, "x" * 129, "content has 129 characters"),
        ({"<x>": "text"}, None, "holds no vectors"),
    ],
)
def test_what_is_no_textual_inversion_is_refused(
    content: Any, token: str | None, reason: str, checkpoint: Path, tmp_path: Path
) -> None:
    torch.save(content, tmp_path / "x.pt")
    with pytest.raises(CheckpointError, match=reason.replace("|", r"\|")):
        load_networks(opened(checkpoint, EmbeddingFile(tmp_path / "x.pt", token)), "fp32")


def test_two_files_need_two_tokens(checkpoint: Path, tmp_path: Path) -> None:
    path = save_several(tmp_path)
    with pytest.raises(CheckpointError, match="two files have the token '<cat-toy>'"):
        describe(opened(checkpoint, path, path))
    one, other = EmbeddingFile(path, "cat"), EmbeddingFile(path, "<cat>")
    with pytest.raises(CheckpointError, match="the token '<cat>' holds 'cat', and both"):
        describe(opened(checkpoint, one, other))


def test_other_text_encoders_take_none(plain_checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="is for CLIP's text encoders, and this is a LDMBert"):
        describe(opened(plain_checkpoint, save_diffusers(tmp_path)))


def test_a_token_follows_the_file(tmp_path: Path) -> None:
    path = tmp_path / "a:b.pt"
    path.touch()
    assert embedding_file(str(path)) == EmbeddingFile(path)
    assert embedding_file(f"{path}:<a:b>") == EmbeddingFile(path, "<a:b>")
    assert embedding_file(str(save_diffusers(tmp_path).parent)).path.name.startswith("learned_")
    with pytest.raises(InvalidInputError, match="no token follows the colon"):
        embedding_file(f"{path}:")
    with pytest.raises(InvalidInputError, match=r"c\.pt is not a file"):
        embedding_file(str(tmp_path / "c.pt"))


def test_stable_diffusion_xl_has_vectors_for_both_encoders(tmp_path: Path) -> None:
    checkpoint, path = make_xl(tmp_path / "xl"), tmp_path / "toy.safetensors"
    content = {
        "clip_l": vectors(2),
        "clip_g": torch.randn(2, 40, generator=torch.Generator().manual_seed(2)),
    }
    save_file(content, path)
    theirs: Any = StableDiffusionXLPipeline.from_pretrained(checkpoint)
    parts = [
        ("clip_l", theirs.tokenizer, theirs.text_encoder),
        ("clip_g", theirs.tokenizer_2, theirs.text_encoder_2),
    ]
    for name, tokenizer, encoder in parts:
        theirs.load_textual_inversion(
            content[name], token=TOKEN, tokenizer=tokenizer, text_encoder=encoder
        )
    ours = opened(checkpoint, embedding_file(f"{path}:{TOKEN}"))
    networks, described = load_networks(ours, "fp32"), describe(ours)
    found = [
        (described.tokenizer, networks.text_encoder),
        (described.tokenizer_2, networks.text_encoder_2),
    ]
    for (_, tokenizer, encoder), (text, network) in zip(parts, found, strict=True):
        assert text
        text.write(tmp_path)
        texts = theirs.maybe_convert_prompt(PROMPTS[0], tokenizer)
        ids = tokenizer(texts, padding="max_length", max_length=77).input_ids
        assert Tokenizer(tmp_path, text.spec).encode([PROMPTS[0]]).tolist() == [ids]
        table = network.module.get_input_embeddings().weight
        assert torch.equal(table, encoder.get_input_embeddings().weight)
    with pytest.raises(CheckpointError, match=r"for 1 text encoder\(s\), but the checkpoint has 2"):
        describe(opened(checkpoint, save_diffusers(tmp_path)))
