"""Numbers beyond float16's largest: what stays float32, and what is refused."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import LDMPipeline
from diffusers.models.attention_processor import Attention
from safetensors.torch import load_file, save_file

from tests.checkpoints import Architecture, edit_json, make_checkpoint
from trt_export.checkpoint.opening import open_checkpoint
from trt_export.export import ExportReport
from trt_export.networks.float16_range import watched
from trt_export.networks.weights.loading import load_networks
from trt_export.networks.weights.precision import round_graphs
from trt_export.onnx_graphs.parity import check_parity
from trt_export.onnx_graphs.to_onnx import read_specs
from trt_export.onnx_graphs.tracing import Tracing
from trt_pipeline import TorchGenerator, load_bundle, trt_pipeline
from trt_pipeline.errors import CheckpointError, ParityError

UNET, VAE = (f"{part}/diffusion_pytorch_model.safetensors" for part in ("unet", "vqvae"))
BERT = "bert/model.safetensors"


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    return make_checkpoint(tmp_path / "checkpoint")


def scale(path: Path, factor: float, chosen: Callable[[str], bool]) -> None:
    """Multiply weights of a file."""
    weights = load_file(path)
    changed = [name for name in weights if chosen(name)]
    assert changed
    save_file(
        {name: one * factor if name in changed else one for name, one in weights.items()},
        path,
        {"format": "pt"},
    )


def refused(checkpoint: Path, precision: str = "fp16") -> str:
    tracing = Tracing(open_checkpoint(str(checkpoint)), precision)  # type: ignore[arg-type]
    with pytest.raises(CheckpointError) as error:
        tracing.reference()
    return str(error.value)


def test_a_decoder_beyond_float16_has_a_float32_graph_only(wide_export: ExportReport) -> None:
    bundle = load_bundle(wide_export.bundle.path)
    assert bundle.precision == "fp16"
    assert {name: tuple(forms) for name, forms in bundle.graphs.items()} == {
        "time_embedding": ("fp16", "fp32"),
        "denoiser": ("fp16", "fp32"),
        "cached_denoiser": ("fp16", "fp32"),
        "decoder": ("fp32",),
    }


def test_the_export_says_what_stays_float32(wide_export: ExportReport) -> None:
    (note,) = (one for one in wide_export.notes if "float32" in one)
    assert note.startswith("decoder stays float32: its numbers reach ")
    assert note.endswith("e+05, and float16 ends at 65504.")
    rows = {(row["graph"], row["precision"]) for row in wide_export.parity}
    assert ("denoiser", "fp16") in rows
    assert ("decoder", "fp16") not in rows


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
def test_its_pictures_are_those_of_diffusers(wide_export: ExportReport, backend: str) -> None:
    theirs = LDMPipeline.from_pretrained(wide_export.bundle.path.with_name("checkpoint"))
    theirs.set_progress_bar_config(disable=True)
    for parameter in (*theirs.unet.parameters(), *theirs.vqvae.quantize.parameters()):
        parameter.data = parameter.data.half().float()
    torch.manual_seed(5)
    expected = theirs(num_inference_steps=5, output_type="np").images
    with trt_pipeline(wide_export.bundle.path, backend=backend) as pipe:
        found = pipe(
            num_inference_steps=5,
            generator=TorchGenerator(5),
            output_type="np",
            progress_bar=False,
        ).images
    assert (np.abs(np.asarray(found) - expected) * 255 <= 1.01).mean() >= 0.99


def test_an_encoder_alone_may_stay_float32(checkpoint: Path, tmp_path: Path) -> None:
    scale(checkpoint / VAE, 1e5, lambda name: name == "encoder.conv_in.weight")
    tracing = Tracing(open_checkpoint(str(checkpoint)), "fp16")
    inputs, outputs = tracing.reference().graphs["encoder"]
    assert list(tracing.wide) == ["encoder"]
    tracing.trace("encoder", tmp_path)
    graphs = read_specs("encoder", tmp_path)
    assert list(graphs) == ["fp32"]
    arrays = [{name: one.numpy() for name, one in part.items()} for part in (inputs, outputs)]
    assert check_parity("encoder", "fp32", graphs["fp32"], tmp_path, *arrays)


def test_a_decoder_s_weight_beyond_float16_keeps_the_decoder_as_it_is(checkpoint: Path) -> None:
    scale(checkpoint / VAE, 1e7, lambda name: name == "decoder.conv_in.weight")
    networks = load_networks(open_checkpoint(str(checkpoint)), "fp16")
    assert networks.wide == {
        "decoder": "its decoder.conv_in.weight has numbers beyond float16's largest"
    }
    stored, loaded = load_file(checkpoint / VAE), networks.vae.module.state_dict()
    for name in ("decoder.conv_in.weight", "post_quant_conv.weight"):
        assert torch.equal(loaded[name], stored[name])
    rounded = stored["encoder.conv_in.weight"].half().float()
    assert torch.equal(loaded["encoder.conv_in.weight"], rounded)


@pytest.mark.parametrize(
    ("file", "factor", "weights", "graph"),
    [
        (UNET, 3e3, (".attn1.to_q.weight", ".attn1.to_k.weight"), "denoiser"),
        (UNET, 1e5, ("conv_in.weight",), "denoiser"),
        (UNET, 5e5, (".time_emb_proj.weight",), "time_embedding"),
        (UNET, 1e5, (".attn2.to_k.weight",), "text_encoder"),
        (BERT, 1e4, (".fc1.weight", ".fc2.weight"), "text_encoder"),
        (BERT, 2e3, (".q_proj.weight", ".k_proj.weight"), "text_encoder"),
    ],
)
def test_another_graph_beyond_float16_is_refused_before_any_tracing(
    checkpoint: Path, file: str, factor: float, weights: tuple[str, ...], graph: str
) -> None:
    scale(checkpoint / file, factor, lambda name: name.endswith(weights))
    said = refused(checkpoint)
    assert f"the numbers of the {graph} reach " in said
    assert "beyond float16's largest, 65504. Export it with --precision fp32." in said


def test_what_the_text_encoder_adds_up_in_float32_may_be_large(checkpoint: Path) -> None:
    scale(checkpoint / BERT, 1e4, lambda name: "embed_" in name)
    networks = load_networks(open_checkpoint(str(checkpoint)), "fp16")
    with watched(networks) as largest:
        networks.text_encoder.context(torch.full((1, 77), 1000))
    assert largest["text_encoder"] < 65504


def test_numbers_that_float32_cannot_hold_are_named_as_such(checkpoint: Path) -> None:
    scale(checkpoint / VAE, 3e38, lambda name: name == "decoder.conv_in.weight")
    assert "the decoder gives NaN or infinite numbers in float32 already" in refused(
        checkpoint, "fp32"
    )


SCALED: dict[str, Any] = {
    "block_out_channels": (16, 32),
    "down_block_types": ("ResnetDownsampleBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "ResnetUpsampleBlock2D"),
    "layers_per_block": 1,
    "attention_head_dim": 2,
    "resnet_out_scale_factor": 1.3,
    "mid_block_scale_factor": 2**0.5,
}
"""A UNet that divides by numbers which float16 rounds, by up to 2e-4 of them."""


@pytest.fixture
def scaled(tmp_path: Path) -> Path:
    return make_checkpoint(tmp_path / "scaled", Architecture(unet=SCALED))


def test_factors_are_rounded_as_weights_are(scaled: Path) -> None:
    networks = load_networks(open_checkpoint(str(scaled)), "fp16")
    unet = networks.unet.module
    assert unet.down_blocks[0].resnets[0].output_scale_factor == 1.2998046875
    assert unet.mid_block.resnets[0].output_scale_factor == 1.4140625
    assert networks.vae.module.decoder.mid_block.attentions[0].rescale_output_factor == 1
    assert unet.config["resnet_out_scale_factor"] == 1.3


def test_factors_stay_as_they_are_in_float32(scaled: Path) -> None:
    unet = load_networks(open_checkpoint(str(scaled)), "fp32").unet.module
    assert unet.down_blocks[0].resnets[0].output_scale_factor == 1.3


def test_parts_that_stay_float32_keep_their_factors() -> None:
    attention = Attention(8, heads=1, dim_head=8, rescale_output_factor=1.3)
    parts = torch.nn.ModuleDict({"kept": attention, "stored": copy.deepcopy(attention)})
    round_graphs(parts, {"decoder": ["kept"], "encoder": ["stored"]}, {"decoder": "it is wide"})
    factors = [part.rescale_output_factor for part in parts.values()]
    assert factors == [1.3, 1.2998046875]


@pytest.mark.parametrize(("factor", "half"), [(1e5, "inf"), (1e-9, "0.0")])
def test_a_factor_that_float16_cannot_hold_is_refused(
    scaled: Path, factor: float, half: str
) -> None:
    edit_json(scaled / "unet" / "config.json", resnet_out_scale_factor=factor)
    expected = (
        rf"unet: output_scale_factor of a ResnetBlock2D is {factor}, which is {half} in float16\. "
        "Export it with --precision fp32"
    )
    with pytest.raises(CheckpointError, match=expected):
        load_networks(open_checkpoint(str(scaled)), "fp16")


def test_a_graph_with_rounded_factors_gives_what_the_reference_does(
    scaled: Path, tmp_path: Path
) -> None:
    tracing = Tracing(open_checkpoint(str(scaled)), "fp16")
    inputs, outputs = tracing.reference().graphs["denoiser"]
    tracing.trace("denoiser", tmp_path)
    arrays = [{name: one.numpy() for name, one in part.items()} for part in (inputs, outputs)]
    graph = read_specs("denoiser", tmp_path)["fp32"]
    assert check_parity("denoiser", "fp32", graph, tmp_path, *arrays)


def test_a_float16_graph_that_differs_says_that_float32_would_do(other_bundle: Path) -> None:
    graph = load_bundle(other_bundle).graph("time_embedding", "fp16")
    inputs = {"timesteps": np.array([1.0, 2.0], np.float32)}
    wrong = {"time_embeds": np.ones((2, 1248), np.float32)}
    with pytest.raises(ParityError, match=r"\(fp16\).* float16 has too few .*--precision fp32"):
        check_parity("time_embedding", "fp16", graph, other_bundle, inputs, wrong)
