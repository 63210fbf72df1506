"""Models of the hub: what is downloaded of them, from a hub on this machine."""

import hashlib
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from json import dumps
from pathlib import Path

import pytest
import torch
from diffusers import LDMPipeline

from tests.checkpoints import edit_json, make_unconditional

REVISION = "0" * 39 + "1"
OPEN = """
import sys
from trt_export.checkpoint.opening import open_checkpoint

variant = sys.argv[2] if len(sys.argv) > 2 else None
checkpoint = open_checkpoint(sys.argv[1], variant=variant, download="dry" not in sys.argv)
assert "torch" not in sys.modules
print(*checkpoint.files, sep="\\n")
"""
ETC = "flax_model.msgpack", "model.onnx", "diffusion_pytorch_model.fp16.bin", "notes.txt"


class Hub(BaseHTTPRequestHandler):
    """The part of the hub's protocol that its client asks of one repository, acme/faces."""

    def __init__(self, repository: Path, *arguments: object) -> None:
        self.repository = repository
        super().__init__(*arguments)  # type: ignore[arg-type]

    def log_message(self, *_: object) -> None:
        """Quiet."""

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def _answer(self, with_body: bool) -> None:
        path = self.path.partition("?")[0]
        file = self.repository / path.partition(f"/{REVISION}/")[2]
        if "/resolve/main/" in path:
            file = self.repository / path.partition("/resolve/main/")[2]
        if path.startswith("/api/models/acme/faces/tree/"):
            body = dumps(
                [entry(self.repository, one) for one in files_of(self.repository)]
            ).encode()
        elif path.startswith("/api/models/acme/faces"):
            body = dumps(information(self.repository)).encode()
        elif path.startswith("/acme/faces/resolve/") and file.is_file():
            body = file.read_bytes()
        else:
            self.send_response(404)
            self.send_header("X-Error-Code", "EntryNotFound")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.send_response(200)
        self.send_header("X-Repo-Commit", REVISION)
        self.send_header("ETag", f'"{hashlib.sha1(body).hexdigest()}"')
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if with_body:
            self.wfile.write(body)


def files_of(repository: Path) -> list[str]:
    files = (path for path in repository.rglob("*") if path.is_file())
    return sorted(path.relative_to(repository).as_posix() for path in files)


def entry(repository: Path, name: str) -> dict[str, object]:
    content = (repository / name).read_bytes()
    return {
        "type": "file",
        "path": name,
        "size": len(content),
        "oid": hashlib.sha1(content).hexdigest(),
    }


def information(repository: Path) -> dict[str, object]:
    siblings = [{"rfilename": name} for name in files_of(repository)]
    return {"id": "acme/faces", "sha": REVISION, "siblings": siblings, "private": False}


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Plain weights, a variant in shards, pickles, and what is of no use here."""
    folder = make_unconditional(tmp_path_factory.mktemp("hub") / "faces")
    LDMPipeline.from_pretrained(folder).save_pretrained(
        folder, variant="fp16", max_shard_size="200KB"
    )
    for part in ("unet", "vqvae"):
        for name in ETC:
            (folder / part / name).write_bytes(b"unused")
        torch.save({}, folder / part / "diffusion_pytorch_model.bin")
    return folder


@pytest.fixture(scope="module")
def hub(repository: Path) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Hub, repository))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def opened(
    hub: str | None, cache: Path, *arguments: str, model: str = "acme/faces"
) -> subprocess.CompletedProcess[str]:
    """What a process prints that opens a model of the hub; None stands for no network."""
    reached = {"HF_ENDPOINT": hub} if hub else {"HF_HUB_OFFLINE": "1"}
    environment = os.environ | {
        **reached,
        "HF_HOME": str(cache),
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
    }
    asked = [sys.executable, "-c", OPEN, model, *arguments]
    return subprocess.run(asked, env=environment, capture_output=True, text=True, check=False)


def downloaded(cache: Path) -> list[str]:
    snapshot = cache / "hub" / "models--acme--faces" / "snapshots" / REVISION
    return sorted(path.relative_to(snapshot).as_posix() for path in snapshot.rglob("*.*"))


SMALL_FILES = [
    "model_index.json",
    "scheduler/scheduler_config.json",
    "unet/config.json",
    "vqvae/config.json",
]


def test_plain_weights_are_downloaded_alone(hub: str, tmp_path: Path) -> None:
    found = opened(hub, tmp_path)
    assert found.returncode == 0, found.stderr
    weights = [f"{part}/diffusion_pytorch_model.safetensors" for part in ("unet", "vqvae")]
    assert downloaded(tmp_path) == sorted([*SMALL_FILES, *weights])
    assert sorted(found.stdout.split()) == downloaded(tmp_path)


def test_a_variant_is_downloaded_alone_with_its_shards(hub: str, tmp_path: Path) -> None:
    found = opened(hub, tmp_path, "fp16")
    assert found.returncode == 0, found.stderr
    names = [name for name in downloaded(tmp_path) if name not in SMALL_FILES]
    assert "unet/diffusion_pytorch_model.safetensors.index.fp16.json" in names
    assert "unet/diffusion_pytorch_model.fp16-00001-of-00004.safetensors" in names
    assert all(".fp16" in name and not name.endswith(".bin") for name in names)


def test_what_was_downloaded_is_opened_without_a_network(hub: str, tmp_path: Path) -> None:
    first = opened(hub, tmp_path)
    again = opened(None, tmp_path)
    assert (again.returncode, again.stdout) == (0, first.stdout), again.stderr
    assert "acme/faces: taken as downloaded before" in again.stderr


def test_without_a_download_the_weights_must_be_there(hub: str, tmp_path: Path) -> None:
    missing = "acme/faces is not downloaded yet; without --dry-run, it would be."
    assert missing in opened(hub, tmp_path, "fp16", "dry").stderr
    assert opened(hub, tmp_path).returncode == 0
    assert missing in opened(hub, tmp_path, "fp16", "dry").stderr
    assert opened(hub, tmp_path, "fp16").returncode == 0
    assert opened(hub, tmp_path, "fp16", "dry").returncode == 0


def test_a_variant_that_the_hub_does_not_have_is_named(hub: str, tmp_path: Path) -> None:
    found = opened(hub, tmp_path, "bf16")
    assert "CheckpointError: acme/faces has no weights of the variant bf16." in found.stderr
    assert downloaded(tmp_path) == ["model_index.json"]


def test_a_part_that_is_refused_is_not_downloaded(
    hub: str, repository: Path, tmp_path: Path
) -> None:
    index = repository / "model_index.json"
    before = index.read_text()
    edit_json(index, unet=["mine", "UNet2DModel"])
    try:
        found = opened(hub, tmp_path)
    finally:
        index.write_text(before)
    assert "the UNet2DModel of unet comes from mine, expected diffusers" in found.stderr
    assert downloaded(tmp_path) == ["model_index.json"]


def test_a_repository_without_an_index_is_not_a_checkpoint(hub: str, tmp_path: Path) -> None:
    found = opened(hub, tmp_path, model="acme/other")
    assert "acme/other is not a diffusers checkpoint: it has no model_index.json." in found.stderr


def test_a_hub_that_cannot_be_reached_is_said_to_be(tmp_path: Path) -> None:
    found = opened(None, tmp_path)
    assert "acme/faces is not a folder here and cannot be downloaded from the hub: " in found.stderr
