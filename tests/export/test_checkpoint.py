"""Checkpoints that cannot or must not be exported are refused in one sentence."""

import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.checkpoints import edit_json
from trt_export.checkpoint.opening import EMBEDDED, open_checkpoint
from trt_export.networks.description import describe
from trt_export.networks.weights.loading import load_networks
from trt_pipeline.errors import CheckpointError

UNET = "unet/diffusion_pytorch_model.safetensors"


@pytest.fixture
def checkpoint(plain_checkpoint: Path, tmp_path: Path) -> Path:
    """A copy that the test may damage."""
    return Path(shutil.copytree(plain_checkpoint, tmp_path / "copy"))


def load(checkpoint: Path) -> None:
    opened = open_checkpoint(str(checkpoint))
    describe(opened)
    load_networks(opened, "fp16")


def change_weights(
    path: Path, change: Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]]
) -> None:
    save_file(change(load_file(path)), path)


def test_without_a_name_the_embedded_checkpoint_is_meant() -> None:
    found = open_checkpoint(None)
    assert (found.path, found.name) == (EMBEDDED, "shapes")


def test_a_folder_without_an_index_is_not_a_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"not a diffusers checkpoint: it has no model_index"):
        open_checkpoint(str(tmp_path))


def test_a_name_that_is_neither_folder_nor_hub_id_is_refused() -> None:
    with pytest.raises(CheckpointError, match="neither a folder nor a file here"):
        open_checkpoint("./no/such/folder")


def test_an_unsupported_pipeline_is_named(checkpoint: Path) -> None:
    edit_json(checkpoint / "model_index.json", _class_name="FluxPipeline")
    with pytest.raises(CheckpointError, match="is a FluxPipeline; only StableDiffusion"):
        load(checkpoint)


def test_an_unsupported_part_is_named(checkpoint: Path) -> None:
    edit_json(checkpoint / "model_index.json", vqvae=["diffusers", "VQModel"])
    with pytest.raises(CheckpointError, match="vqvae is a VQModel; only AutoencoderKL"):
        load(checkpoint)


def test_a_configuration_that_is_not_json_is_refused(checkpoint: Path) -> None:
    (checkpoint / "unet" / "config.json").write_text("{")
    with pytest.raises(CheckpointError, match=r"unet/config.json is not JSON"):
        load(checkpoint)


def test_a_missing_weight_file_is_named(checkpoint: Path) -> None:
    (checkpoint / UNET).unlink()
    with pytest.raises(CheckpointError, match=r"has none of diffusion_pytorch_model.safetensors, "):
        load(checkpoint)


def test_a_truncated_weight_file_is_refused(checkpoint: Path) -> None:
    path = checkpoint / UNET
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(CheckpointError, match="damaged or incomplete"):
        load(checkpoint)


def test_a_truncated_pickle_is_refused(checkpoint: Path) -> None:
    pickled = as_pickle(checkpoint)
    pickled.write_bytes(pickled.read_bytes()[:5000])
    with pytest.raises(CheckpointError, match="damaged or incomplete"):
        load(checkpoint)


def test_missing_and_unknown_weights_are_counted(checkpoint: Path) -> None:
    def rename(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        weights["conv_inn.weight"] = weights.pop("conv_in.weight")
        return weights

    change_weights(checkpoint / UNET, rename)
    expected = r"1 missing \(first: conv_in.weight\) and 1 unknown \(first: conv_inn.weight\)"
    with pytest.raises(CheckpointError, match=expected):
        load(checkpoint)
    with pytest.raises(CheckpointError, match=expected):  # from the header, before an export
        describe(open_checkpoint(str(checkpoint)))


def test_a_weight_of_another_shape_is_named(checkpoint: Path) -> None:
    edit_json(checkpoint / "unet" / "config.json", norm_num_groups=8, block_out_channels=[32, 72])
    expected = r"unet/diff.*: .* has shape \(.*\), but its configuration asks for \("
    with pytest.raises(CheckpointError, match=expected):
        load_networks(open_checkpoint(str(checkpoint)), "fp16")
    with pytest.raises(CheckpointError, match=expected):
        describe(open_checkpoint(str(checkpoint)))


def test_a_weight_that_is_not_finite_is_named(checkpoint: Path) -> None:
    def poison(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        weights["conv_out.bias"][0] = float("nan")
        return weights

    change_weights(checkpoint / UNET, poison)
    with pytest.raises(CheckpointError, match=r"conv_out.bias holds NaN or infinite"):
        load(checkpoint)


def test_a_weight_beyond_float16_is_named(checkpoint: Path) -> None:
    def enlarge(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        weights["conv_out.bias"][0] = 1e5
        return weights

    change_weights(checkpoint / UNET, enlarge)
    with pytest.raises(CheckpointError, match=r"conv_out.bias has numbers beyond float16"):
        load(checkpoint)


class Intruder:
    """Would write a file when unpickled."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Callable[[Path], None], tuple[Path]]:
        return Path.touch, (self.target,)


def test_a_pickle_that_needs_code_is_refused_unrun(checkpoint: Path, tmp_path: Path) -> None:
    pickled = as_pickle(checkpoint)
    torch.save({"conv_in.weight": Intruder(tmp_path / "intruder")}, pickled)
    with pytest.raises(CheckpointError, match="loading it could run code; refused"):
        load(checkpoint)
    assert not (tmp_path / "intruder").exists()


def test_a_bare_pickle_is_refused(checkpoint: Path) -> None:
    as_pickle(checkpoint).write_bytes(pickle.dumps(print, protocol=2))
    with pytest.raises(CheckpointError, match="could run code; refused"):
        load(checkpoint)


def test_pickled_weights_load_like_safetensors(checkpoint: Path) -> None:
    expected = load_file(checkpoint / UNET)["conv_in.weight"]
    as_pickle(checkpoint)
    loaded = load_networks(open_checkpoint(str(checkpoint)), "fp32")
    assert torch.equal(loaded.unet.module.conv_in.weight, expected)


def as_pickle(checkpoint: Path) -> Path:
    """Replace the UNet's safetensors by a pickle, as the published model has it."""
    path = checkpoint / UNET
    torch.save(load_file(path), path.with_suffix(".bin"))
    path.unlink()
    return path.with_suffix(".bin")


def test_attention_weights_under_their_old_names_are_found(checkpoint: Path) -> None:
    old = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}

    def rename(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        for new, name in old.items():
            weights = {key.replace(f".{new}.", f".{name}."): t for key, t in weights.items()}
        return weights

    path = checkpoint / "vqvae" / "diffusion_pytorch_model.safetensors"
    change_weights(path, rename)
    assert "decoder.mid_block.attentions.0.query.weight" in load_file(path)
    load(checkpoint)


@pytest.mark.parametrize(
    ("new", "old"),
    [
        ("attn.to_q.weight", "attn.query.weight"),
        ("attn.to_k.bias", "attn.key.bias"),
        ("attn.to_v.weight", "attn.value.weight"),
        ("attn.to_out.0.bias", "attn.proj_attn.bias"),
    ],
)
@pytest.mark.parametrize("pickled", [False, True])
def test_a_weight_under_both_of_its_names_is_refused(
    checkpoint: Path, new: str, old: str, pickled: bool
) -> None:
    path = checkpoint / "vqvae" / "diffusion_pytorch_model.safetensors"
    new, old = (one.replace("attn.", "decoder.mid_block.attentions.0.", 1) for one in (new, old))
    change_weights(path, lambda weights: {**weights, old: weights[new] + 1})
    if pickled:
        torch.save(load_file(path), path.with_suffix(".bin"))
        path.unlink()
    both = " and ".join(sorted((new, old)))
    with pytest.raises(CheckpointError, match=f"vqvae/.* one weight under two names, {both}\\. "):
        load(checkpoint)


def test_both_names_of_a_weight_in_two_shards_are_refused(checkpoint: Path) -> None:
    path = checkpoint / "vqvae" / "diffusion_pytorch_model.safetensors"
    weights, block = load_file(path), "decoder.mid_block.attentions.0"
    shards = [f"diffusion_pytorch_model-0000{n}-of-00002.safetensors" for n in (1, 2)]
    save_file(weights, path.with_name(shards[0]), {"format": "pt"})
    again = {f"{block}.query.weight": weights[f"{block}.to_q.weight"] + 1}
    save_file(again, path.with_name(shards[1]), {"format": "pt"})
    placed = dict.fromkeys(weights, shards[0]) | dict.fromkeys(again, shards[1])
    path.with_name(f"{path.name}.index.json").write_text(json.dumps({"weight_map": placed}))
    path.unlink()
    expected = rf"index.json holds one weight under two names, {block}\.query\.weight and {block}"
    with pytest.raises(CheckpointError, match=expected):
        load(checkpoint)


def test_the_text_encoder_s_output_layer_alone_is_not_read(checkpoint: Path) -> None:
    bert, unet = checkpoint / "bert" / "model.safetensors", checkpoint / UNET
    layer = {"to_logits.weight": torch.ones(1), "to_logits.bias": torch.ones(1)}
    change_weights(bert, lambda weights: weights | layer)
    load(checkpoint)
    change_weights(unet, lambda weights: weights | layer)
    expected = (
        r"unet/diff.* does not fit .*unet/config.json: of \d+ weights, 2 unknown "
        r"\(first: to_logits.bias\)\. One of the two files is of another model\."
    )
    with pytest.raises(CheckpointError, match=expected):
        load(checkpoint)


def test_a_weight_that_only_begins_like_the_output_layer_is_unknown(checkpoint: Path) -> None:
    more = {"to_logits.weight_scale": torch.ones(1)}
    change_weights(checkpoint / "bert" / "model.safetensors", lambda weights: weights | more)
    with pytest.raises(CheckpointError, match=r"1 unknown \(first: to_logits.weight_scale\)"):
        load(checkpoint)


def test_a_unet_with_further_inputs_is_refused(checkpoint: Path) -> None:
    edit_json(checkpoint / "unet" / "config.json", class_embed_type="timestep")
    with pytest.raises(CheckpointError, match="class_embed_type is 'timestep'; only None"):
        load(checkpoint)


def test_an_empty_pickle_is_refused(checkpoint: Path) -> None:
    as_pickle(checkpoint).write_bytes(b"")
    with pytest.raises(CheckpointError, match=r"damaged or incomplete \(|not a file of tensors"):
        load(checkpoint)


def test_a_text_encoder_of_another_width_is_refused(checkpoint: Path) -> None:
    edit_json(checkpoint / "unet" / "config.json", cross_attention_dim=40)
    with pytest.raises(CheckpointError, match=r"reads text of width 40, .* gives width 48"):
        describe(open_checkpoint(str(checkpoint)))


def test_nonsense_in_a_configuration_is_refused(checkpoint: Path) -> None:
    edit_json(checkpoint / "unet" / "config.json", norm_num_groups=7)
    with pytest.raises(
        CheckpointError, match=r"unet/config.json cannot be exported as .*divisible"
    ):
        load(checkpoint)


def test_another_text_length_is_refused(checkpoint: Path) -> None:
    edit_json(checkpoint / "bert" / "config.json", max_position_embeddings=128)
    with pytest.raises(CheckpointError, match="max_position_embeddings is 128; only 77 can"):
        load(checkpoint)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        (
            {"clip_sample": True},
            "clip_sample is true, but a DDIMScheduler can be exported with false",
        ),
        ({"beta_schedule": "cosine?"}, "DDIMScheduler refuses it"),
        ({"beta_end": 7.0}, "beta_end is 7.0, expected a number above 0 and at most 1"),
        ({"num_train_timesteps": 0}, "num_train_timesteps is 0, expected a whole number from 1"),
        ({"prediction_type": "flow"}, "prediction_type is 'flow', expected epsilon or sample"),
        ({"timestep_spacing": "cubic"}, "timestep_spacing is 'cubic', expected leading or"),
        ({"steps_offset": "1"}, "steps_offset is '1', expected a whole number"),
        ({"set_alpha_to_one": 1}, "set_alpha_to_one is 1, expected true or false"),
    ],
)
def test_a_schedule_that_makes_no_sense_is_refused(
    checkpoint: Path, setting: dict[str, object], message: str
) -> None:
    edit_json(checkpoint / "scheduler" / "scheduler_config.json", **setting)
    with pytest.raises(CheckpointError, match=message):
        load(checkpoint)


@pytest.mark.parametrize("factor", [0, -0.2, True, "0.18215", float("nan")])
def test_a_scaling_factor_must_be_a_positive_number(checkpoint: Path, factor: object) -> None:
    edit_json(checkpoint / "vqvae" / "config.json", scaling_factor=factor)
    with pytest.raises(
        CheckpointError, match=r"vqvae/config.json .*scaling_factor is .* a positive"
    ):
        load(checkpoint)


def test_a_vocabulary_beyond_the_text_encoder_s_is_refused(checkpoint: Path) -> None:
    with (checkpoint / "tokenizer" / "vocab.txt").open("a") as vocab:
        vocab.write("zzqx\nzzqxx\n")
    with pytest.raises(CheckpointError, match=r"has 30524 tokens, .* knows 30522"):
        load(checkpoint)


def test_the_schedule_is_the_published_one(plain_checkpoint: Path) -> None:
    schedule = describe(open_checkpoint(str(plain_checkpoint))).schedule
    assert len(schedule.alphas_cumprod) == 1000
    assert schedule.alphas_cumprod[500] == pytest.approx(0.1608, abs=5e-5)
    assert schedule.alphas_cumprod[999] == pytest.approx(0.00158, abs=5e-6)
    assert (schedule.steps_offset, schedule.set_alpha_to_one) == (0, True)


def test_the_licence_is_read_from_the_model_card(checkpoint: Path) -> None:
    assert open_checkpoint(str(checkpoint)).license == "unknown"
    (checkpoint / "README.md").write_text("---\nlicense: apache-2.0\ntags: []\n---\n# Card\n")
    assert open_checkpoint(str(checkpoint)).license == "apache-2.0"


def test_a_missing_configuration_is_named(checkpoint: Path) -> None:
    (checkpoint / "bert" / "config.json").unlink()
    with pytest.raises(CheckpointError, match=r"bert/config.json is missing"):
        load(checkpoint)


def test_an_index_that_is_not_an_object_is_refused(checkpoint: Path) -> None:
    (checkpoint / "model_index.json").write_text(json.dumps(["LDMTextToImagePipeline"]))
    with pytest.raises(CheckpointError, match="does not hold a JSON object"):
        load(checkpoint)
