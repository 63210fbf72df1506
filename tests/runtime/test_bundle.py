import json
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from trt_pipeline import Bundle, BundleError, BundleVersionError, IntegrityError, load_bundle
from trt_pipeline.bundle import manifest_json, parse_manifest
from trt_pipeline.bundle.manifest import GraphPrecision, GraphSpec
from trt_pipeline.bundle.names import MANIFEST

NOTHING = {"sample": [0, 0, 0], "noise": [0, 0, 0]}


def edit(bundle: Bundle, **changes: Any) -> Path:
    """Change top-level entries of the manifest; None removes one."""
    path = bundle.path / MANIFEST
    manifest = {**json.loads(path.read_text()), **changes}
    path.write_text(json.dumps({k: v for k, v in manifest.items() if v is not None}))
    return bundle.path


def test_a_bundle_reads_back_as_it_was_written(bundle: Bundle) -> None:
    assert load_bundle(bundle.path) == bundle
    assert parse_manifest(bundle.path, json.loads(manifest_json(bundle))) == bundle


def test_a_folder_without_manifest_is_no_bundle(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"is not a bundle: it has no bundle.json. Make one with"):
        load_bundle(tmp_path)


def test_a_manifest_that_is_no_json_is_refused(own_bundle: Bundle) -> None:
    (own_bundle.path / MANIFEST).write_text("{")
    with pytest.raises(BundleError, match=r"bundle.json: not valid JSON: Expecting"):
        load_bundle(own_bundle.path)


def test_another_format_version_is_refused(own_bundle: Bundle) -> None:
    with pytest.raises(
        BundleVersionError, match="format version 3, but this release reads version 2"
    ):
        load_bundle(edit(own_bundle, format_version=3))


def test_a_missing_entry_is_named(own_bundle: Bundle) -> None:
    with pytest.raises(BundleError, match=r"manifest.schedule is missing"):
        load_bundle(edit(own_bundle, schedule=None))


@pytest.mark.parametrize("name", ["../secret", "/etc/passwd", "a/../../b"])
def test_a_name_that_leaves_the_bundle_is_refused(own_bundle: Bundle, name: str) -> None:
    with pytest.raises(BundleError, match="leaves the bundle"):
        load_bundle(edit(own_bundle, files={name: {"size": 1, "sha256": 64 * "0"}}))


@pytest.mark.parametrize("version", [True, 1.0, "1", None])
def test_a_format_version_of_another_type_is_refused(own_bundle: Bundle, version: object) -> None:
    path = own_bundle.path / MANIFEST
    manifest = json.loads(path.read_text())
    path.write_text(json.dumps({**manifest, "format_version": version}))
    with pytest.raises(BundleVersionError, match=f"format version {version!r}"):
        load_bundle(own_bundle.path)


def token(content: str, number: int) -> dict[str, object]:
    """An entry of added_tokens."""
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    return {"content": content, "id": number, **flags}


@pytest.mark.parametrize(
    ("entry", "name", "value", "message"),
    [
        ("model", "latent_channels", "4", "model.latent_channels is '4', expected an integer"),
        ("model", "latent_channels", True, "model.latent_channels is True, expected an integer"),
        ("model", "vae_scale_factor", 0, "model: vae_scale_factor is 0, expected 1 to 65536"),
        ("model", "context_tokens", -1, "model: context_tokens is -1, expected 0 to 65536"),
        ("model", "condition", "mask", "model.condition is 'mask', expected low_resolution"),
        ("defaults", "height", "64", "defaults.height is '64', expected an integer"),
        ("defaults", "height", -64, "defaults: height is -64, expected 1 to 65536"),
        ("defaults", "eta", 1.5, "defaults: eta is 1.5, expected 0 to 1"),
        ("defaults", "guidance_scale", float("nan"), "NaN for a number"),
        ("model", "depth", 3, "manifest.model has an unknown entry 'depth'"),
        (
            "limits",
            "batch",
            [4, 1],
            "limits: batch is 4\\.\\.1, expected a range within 1\\.\\.65536",
        ),
        ("limits", "batch", [1], "limits.batch has 1 entry, expected 2"),
        ("limits", "batch", "14", "limits.batch is '14', expected a list"),
        ("schedule", "prediction", "flow", "schedule.prediction is 'flow', expected an object"),
        ("schedule", "prediction", NOTHING, "must be finite numbers, and not all 0"),
        ("schedule", "timestep_spacing", ["leading"], "expected leading or linspace or trailing"),
        ("schedule", "steps_offset", 1000, "steps_offset is 1000, expected 0 to 999"),
        ("schedule", "alphas_cumprod", [], "between 0 and 1 that never rise"),
        ("schedule", "alphas_cumprod", [0.5, 0.6], "between 0 and 1 that never rise"),
        (
            "schedule",
            "alphas_cumprod",
            [0.5, "0.4"],
            r"alphas_cumprod\[1\] is '0.4', expected a num",
        ),
        ("tokenizer", "strip_accents", "no", "is 'no', expected true or false or null"),
        ("tokenizer", "kind", "bpe", "tokenizer.kind is 'bpe', expected wordpiece or byte_pair"),
        ("tokenizer", "files", {"merges": "vocab.txt"}, "its files are 'merges', expected 'vocab'"),
        ("tokenizer", "max_length", 1, "max_length is 1, expected 2 to 65536"),
        ("tokenizer", "padding_side", "middle", "padding_side is 'middle', expected left or right"),
        ("tokenizer", "start_id", -1, "tokenizer: start_id is -1, expected 0 to 2147483647"),
        ("tokenizer", "added_tokens", [{}], r"tokenizer.added_tokens\[0\].content is missing"),
        (
            "tokenizer",
            "added_tokens",
            [token("", 5)],
            "content has 0 characters, expected 1 to 128",
        ),
        ("tokenizer", "added_tokens", [token("\ud800", 5)], "half of a surrogate pair"),
        ("tokenizer", "added_tokens", [token("a", 6), token("b", 6)], "must rise within 0 to"),
        ("tokenizer", "added_tokens", [token("a", 5), token("a", 6)], "added_tokens has 'a' twice"),
        (
            "tokenizer",
            "added_tokens",
            [token(str(number), number) for number in range(1025)],
            "it adds 1025 tokens, expected at most 1024",
        ),
        ("files", "vocab.txt", {"size": -1, "sha256": 64 * "0"}, "size is -1, expected 0 or more"),
        ("files", "vocab.txt", {"size": 1, "sha256": "x"}, "sha256 is 'x', expected 64 digits"),
        ("files", "vocab.txt", 7, "files.vocab.txt is 7, expected an object"),
        ("graphs", "denoiser", {"int4": {}}, "is 'int4', expected fp32 or fp16"),
        ("graphs", "denoiser", [], r"graphs.denoiser is \[\], expected an object"),
    ],
)
def test_an_entry_of_the_wrong_type_or_value_is_named(
    own_bundle: Bundle, entry: str, name: str, value: object, message: str
) -> None:
    before = json.loads((own_bundle.path / MANIFEST).read_text())[entry]
    with pytest.raises(BundleError, match=message):
        load_bundle(edit(own_bundle, **{entry: {**before, name: value}}))


def test_a_damaged_file_is_named(own_bundle: Bundle) -> None:
    weights = own_bundle.path / "onnx/denoiser.weights"
    weights.write_bytes(weights.read_bytes()[::-1])
    with pytest.raises(IntegrityError, match=r"onnx/denoiser.weights has another sha256"):
        load_bundle(own_bundle.path)
    load_bundle(own_bundle.path, verify="manifest")


def test_a_truncated_file_is_named_with_its_bytes(own_bundle: Bundle) -> None:
    (own_bundle.path / "vocab.txt").write_text("[PAD]")
    with pytest.raises(IntegrityError, match=r"vocab.txt has 5 bytes, but bundle.json says 53"):
        load_bundle(own_bundle.path, verify="manifest")


def test_a_missing_file_is_named(own_bundle: Bundle) -> None:
    (own_bundle.path / "onnx/decoder.onnx").unlink()
    with pytest.raises(IntegrityError, match=r"onnx/decoder.onnx cannot be read"):
        load_bundle(own_bundle.path)


def test_a_manifest_that_is_no_regular_file_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "bundle.json")
    with pytest.raises(BundleError, match="not a regular file"):
        load_bundle(tmp_path)


def half(bundle: Bundle, name: str) -> Bundle:
    """The bundle as if it stored half precision, of which one graph has no float16 form."""
    graphs: dict[str, Mapping[GraphPrecision, GraphSpec]] = {
        graph: forms if graph == name else {"fp16": forms["fp32"], "fp32": forms["fp32"]}
        for graph, forms in bundle.graphs.items()
    }
    return replace(bundle, precision="fp16", graphs=graphs)


@pytest.mark.parametrize("name", ["decoder", "encoder"])
def test_a_first_stage_without_float16_runs_in_float32(bundle: Bundle, name: str) -> None:
    kept = half(bundle, name)
    assert kept.stays_wide(name)
    assert kept.graph(name, "fp16") is kept.graphs[name]["fp32"]
    assert not kept.stays_wide("denoiser")


def test_no_other_graph_may_lack_float16(bundle: Bundle) -> None:
    kept = half(bundle, "denoiser")
    assert not kept.stays_wide("denoiser")
    with pytest.raises(BundleError, match="no fp16 graph 'denoiser'"):
        kept.graph("denoiser", "fp16")


def test_a_float32_bundle_has_no_float16_graph(bundle: Bundle) -> None:
    assert not bundle.stays_wide("decoder")
    with pytest.raises(BundleError, match="no fp16 graph 'decoder'"):
        bundle.graph("decoder", "fp16")
