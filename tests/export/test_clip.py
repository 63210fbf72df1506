"""CLIPTextModel: as transformers has it, in float32 and in float16."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import CLIPTextConfig, CLIPTextModel

from tests.checkpoints import edit_json
from tests.stable_diffusion import ONE_LEVEL, make_stable_diffusion
from trt_export.checkpoint.opening import open_checkpoint
from trt_export.networks.description import describe
from trt_export.networks.texts.clip import CLIPText
from trt_export.networks.weights.loading import load_networks
from trt_export.networks.weights.precision import round_weights, store_half
from trt_pipeline.errors import CheckpointError

SMALL: dict[str, Any] = {
    "vocab_size": 64,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "max_position_embeddings": 20,
    "initializer_factor": 3.0,
}
IDS = torch.randint(0, 64, (3, 20), generator=torch.Generator().manual_seed(0), dtype=torch.int32)


@pytest.fixture(autouse=True)
def inference() -> Iterator[None]:
    torch.manual_seed(0)
    with torch.inference_mode():
        yield


def text_encoder(**config: Any) -> CLIPText:
    return CLIPText(CLIPTextModel(CLIPTextConfig(**SMALL | config)).eval())


@pytest.mark.parametrize(
    "hidden_act", ["quick_gelu", "gelu", "gelu_new", "gelu_pytorch_tanh", "relu", "silu"]
)
def test_the_traceable_module_is_transformers_own(hidden_act: str) -> None:
    encoder = text_encoder(hidden_act=hidden_act)
    expected = encoder.context(IDS)
    torch.testing.assert_close(encoder.traceable()(IDS), expected, atol=1e-5, rtol=1e-5)


def test_heads_and_layers_may_be_others() -> None:
    encoder = text_encoder(num_attention_heads=1, num_hidden_layers=1, layer_norm_eps=0.1)
    expected = encoder.context(IDS)
    torch.testing.assert_close(encoder.traceable()(IDS), expected, atol=1e-5, rtol=1e-5)


def test_a_token_sees_none_after_it() -> None:
    module = text_encoder().traceable()
    other = IDS.clone()
    other[:, 12] = (other[:, 12] + 1) % 64
    same = (module(IDS) == module(other)).all(dim=-1)
    assert same[:, :12].all()
    assert not same[:, 12:].any()


def test_sums_between_layers_may_be_beyond_float16() -> None:
    encoder = text_encoder()
    embeddings = getattr(encoder.module, "text_model", encoder.module).embeddings
    for table in (embeddings.token_embedding, embeddings.position_embedding):
        table.weight.copy_(40000 * table.weight / table.weight.abs().max())
        table.weight[:, 0] = 40000  # its sum with the other is 80,000, and float16 ends at 65,504
    round_weights("text_encoder", encoder.module)
    expected = encoder.context(IDS)
    module = encoder.traceable()
    store_half(module)
    found = module(IDS)
    assert found.dtype == torch.float16
    torch.testing.assert_close(found.float(), expected, atol=0.02, rtol=0.02)


def test_weights_may_have_the_names_of_old_and_of_new_files(tmp_path: Path) -> None:
    folder = make_stable_diffusion(tmp_path / "checkpoint", **ONE_LEVEL)
    file = folder / "text_encoder" / "model.safetensors"
    weights = load_file(file)
    plain = {name.removeprefix("text_model."): tensor for name, tensor in weights.items()}
    ids = torch.randint(0, 500, (2, 77))

    def context(named: dict[str, torch.Tensor]) -> Any:
        save_file(named, file, metadata={"format": "pt"})
        networks = load_networks(open_checkpoint(str(folder)), "fp32")
        return networks.text_encoder.context(ids)

    new = context(plain)
    positions = {"text_model.embeddings.position_ids": torch.arange(77)[None]}
    old = context({f"text_model.{name}": one for name, one in plain.items()} | positions)
    torch.testing.assert_close(new, old)


@pytest.mark.parametrize(
    ("setting", "value", "expected"),
    [
        ("hidden_act", "tanh", "hidden_act is 'tanh'; only 'quick_gelu'"),
        ("num_attention_heads", 5, "hidden_size is 32, which num_attention_heads, 5, does not"),
        ("model_type", "clip", "model_type is 'clip': it names another class of text encoders"),
        ("hidden_size", 48, "the UNet reads text of width 32, but the text encoder gives width 48"),
        ("vocab_size", 99, "tokens"),
        ("use_attention_mask", True, "use_attention_mask is True"),
    ],
)
def test_what_cannot_be_exported_is_refused_by_name(
    setting: str, value: Any, expected: str, tmp_path: Path
) -> None:
    folder = make_stable_diffusion(tmp_path / "checkpoint", **ONE_LEVEL)
    edit_json(folder / "text_encoder" / "config.json", **{setting: value})
    with pytest.raises(CheckpointError, match=expected):
        describe(open_checkpoint(str(folder)))
