"""What an export may replace, and what it says before it does."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.checkpoints import edit_json
from tests.runtime.tiny_bundle import write_tiny_bundle
from trt_export.checkpoint.opening import open_checkpoint
from trt_export.cli import command
from trt_export.export import ExportOptions, export_checkpoint
from trt_export.publishing.target import Replaced, refuse_foreign, replaced
from trt_pipeline.bundle import Bundle, manifest_json
from trt_pipeline.bundle.manifest import FileSpec
from trt_pipeline.command_line import console
from trt_pipeline.errors import InvalidInputError

FILES = {"unet/config.json": "a" * 64, "unet/model.safetensors": "b" * 64}
PLANS = (
    "tensorrt_rtx/sm89/denoiser-1.plan",
    "tensorrt_rtx/sm89/decoder-1.plan",
    "tensorrt/sm90/denoiser-1.plan",
)


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    """Made from FILES."""
    made = write_tiny_bundle(tmp_path / "bundle")
    return write(replace(made, provenance={"files": FILES}))


def write(bundle: Bundle, **changes: Any) -> Bundle:
    manifest = {**json.loads(manifest_json(bundle)), **changes}
    (bundle.path / "bundle.json").write_text(json.dumps(manifest))
    return bundle


def held(bundle: Bundle) -> str:
    return str(replaced(bundle.path, FILES, replace=False)).replace(str(bundle.path), "HERE")


def test_a_bundle_of_the_same_checkpoint_is_replaced(bundle: Bundle) -> None:
    assert held(bundle) == "the bundle of this checkpoint in HERE"


@pytest.mark.parametrize("name", ["loras/0/style.safetensors", "tiny_decoder/config.json"])
def test_what_is_added_does_not_make_it_another_checkpoint(bundle: Bundle, name: str) -> None:
    found = replaced(bundle.path, {**FILES, name: "c" * 64}, replace=False)
    assert found is not None
    assert found.other is None


def test_nothing_is_replaced_in_a_folder_that_is_not_there(tmp_path: Path) -> None:
    assert replaced(tmp_path / "bundle", FILES, replace=False) is None


@pytest.mark.parametrize("name", FILES)
def test_a_bundle_of_another_checkpoint_is_not_replaced_without_being_told_to(
    bundle: Bundle, name: str
) -> None:
    other = {**FILES, name: "c" * 64}
    message = (
        f"would replace the bundle of another checkpoint in .*: their {name} differs.* --replace"
    )
    with pytest.raises(InvalidInputError, match=message):
        replaced(bundle.path, other, replace=False)
    told = replaced(bundle.path, other, replace=True)
    assert told == Replaced(str(bundle.path), name, engines=(), quantized=False, signed=False)


def test_a_checkpoint_with_a_file_more_or_less_is_another(bundle: Bundle) -> None:
    more = {**FILES, "vae/config.json": "c" * 64}
    with pytest.raises(InvalidInputError, match=r"their vae/config.json differs"):
        replaced(bundle.path, more, replace=False)
    with pytest.raises(InvalidInputError, match=r"their unet/model.safetensors differs"):
        replaced(bundle.path, {"unet/config.json": "a" * 64}, replace=False)


def test_engines_an_8_bit_graph_and_a_signature_are_named(bundle: Bundle) -> None:
    added = dict.fromkeys((*PLANS, "onnx/denoiser.int8-1.onnx"), FileSpec(1, "d" * 64))
    write(replace(bundle, files={**bundle.files, **added}))
    (bundle.path / "bundle.json.sig").touch()
    assert held(bundle) == (
        "the bundle of this checkpoint in HERE with the engines in tensorrt/sm90, "
        "the engines in tensorrt_rtx/sm89, the 8-bit denoiser, the signature"
    )


def test_a_bundle_of_an_older_format_is_known_by_its_checkpoint(bundle: Bundle) -> None:
    write(bundle, format_version=1)
    assert held(bundle) == "the bundle of this checkpoint in HERE"
    write(bundle, format_version=1, provenance={"files": None})
    with pytest.raises(InvalidInputError, match="another checkpoint"):
        held(bundle)


def test_a_bundle_whose_rename_was_interrupted_is_looked_at_where_it_is(bundle: Bundle) -> None:
    bundle.path.rename(bundle.path.with_name(".bundle.retired"))
    with pytest.raises(InvalidInputError, match="another checkpoint"):
        replaced(bundle.path, {}, replace=False)


def test_a_bundle_whose_manifest_is_damaged_is_not_replaced(
    bundle: Bundle, plain_checkpoint: Path
) -> None:
    (bundle.path / "bundle.json").write_text("{")
    for told in (True, False):
        with pytest.raises(
            InvalidInputError, match=r"its bundle.json cannot be read. Name another"
        ):
            export_checkpoint(
                open_checkpoint(str(plain_checkpoint)), bundle.path, replace_other=told
            )


def test_the_second_checkpoint_of_one_name_is_refused_before_any_work(
    plain_checkpoint: Path, plain_bundle: Path, tmp_path: Path
) -> None:
    out = Path(shutil.copytree(plain_bundle, tmp_path / "bundle"))
    before = (out / "bundle.json").read_bytes()
    second = open_checkpoint(str(retrained(plain_checkpoint, tmp_path)))
    with pytest.raises(InvalidInputError, match=r"their scheduler/scheduler_config.json differs"):
        export_checkpoint(second, out)
    assert (out / "bundle.json").read_bytes() == before
    assert {path.name for path in tmp_path.iterdir()} == {"bundle", "checkpoint"}


def retrained(checkpoint: Path, place: Path) -> Path:
    """Another checkpoint of the same name."""
    copy = Path(shutil.copytree(checkpoint, place / checkpoint.name))
    edit_json(copy / "scheduler" / "scheduler_config.json", beta_end=0.013)
    return copy


def test_an_export_says_what_it_replaces_before_it_begins(
    plain_checkpoint: Path,
    plain_bundle: Path,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    out = Path(shutil.copytree(plain_bundle, tmp_path / "bundle"))

    def interrupt(stage: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        export_checkpoint(
            open_checkpoint(str(plain_checkpoint)), out, ExportOptions("fp16"), interrupt
        )
    assert caplog.messages == [f"replaces the bundle of this checkpoint in {out}"]


def test_a_dry_run_says_what_would_be_replaced(
    plain_checkpoint: Path, plain_bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [str(plain_checkpoint), "--out", str(plain_bundle), "--dry-run"]
    assert console.run(command, arguments) == 0
    line = f"  replaces the bundle of this checkpoint in {plain_bundle}\n"
    assert line in capsys.readouterr().out
    assert console.run(command, [*arguments, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["would_replace"] == {
        "bundle": str(plain_bundle),
        "other": None,
        "engines": [],
        "quantized": False,
        "signed": False,
    }


def test_a_dry_run_refuses_to_replace_another_checkpoint_s_bundle(
    plain_checkpoint: Path, plain_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    second = retrained(plain_checkpoint, tmp_path)
    arguments = [str(second), "--out", str(plain_bundle), "--dry-run"]
    assert console.run(command, arguments) == 2
    assert "would replace the bundle of another checkpoint" in capsys.readouterr().err
    assert console.run(command, [*arguments, "--replace"]) == 0
    assert "  replaces the bundle of another checkpoint in" in capsys.readouterr().out


def test_a_place_below_a_file_and_a_link_to_nothing_are_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    with pytest.raises(InvalidInputError, match="file is a file, expected a folder"):
        refuse_foreign(tmp_path / "file" / "under" / "bundle")
    with pytest.raises(InvalidInputError, match="loop is a link that leads nowhere"):
        refuse_foreign(tmp_path / "loop")
