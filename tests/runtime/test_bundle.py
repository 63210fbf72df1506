import json
import os
from pathlib import Path
from typing import Any

import pytest

from trt_pipeline import Bundle, BundleError, BundleVersionError, IntegrityError, load_bundle
from trt_pipeline.bundle import MANIFEST, manifest_json, parse_manifest


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
    with pytest.raises(BundleError, match=r"is no bundle: it has no bundle.json. Make one with"):
        load_bundle(tmp_path)


def test_a_manifest_that_is_no_json_is_refused(own_bundle: Bundle) -> None:
    (own_bundle.path / MANIFEST).write_text("{")
    with pytest.raises(BundleError, match="is no JSON"):
        load_bundle(own_bundle.path)


def test_another_format_version_is_refused(own_bundle: Bundle) -> None:
    with pytest.raises(BundleVersionError, match="format version 2, this release reads version 1"):
        load_bundle(edit(own_bundle, format_version=2))


def test_a_missing_entry_is_named(own_bundle: Bundle) -> None:
    with pytest.raises(BundleError, match="'schedule' is missing"):
        load_bundle(edit(own_bundle, schedule=None))


@pytest.mark.parametrize("name", ["../secret", "/etc/passwd", "a/../../b"])
def test_a_name_that_leaves_the_bundle_is_refused(own_bundle: Bundle, name: str) -> None:
    with pytest.raises(BundleError, match="leaves the bundle"):
        load_bundle(edit(own_bundle, files={name: {"size": 1, "sha256": ""}}))


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
    with pytest.raises(BundleError, match="is no regular file"):
        load_bundle(tmp_path)
