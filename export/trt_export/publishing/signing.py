"""Signing: who exported a bundle vouches for it."""

from pathlib import Path
from typing import TYPE_CHECKING

from trt_pipeline.bundle import Bundle, manifest_bytes, manifest_json
from trt_pipeline.bundle.names import MANIFEST, SIGNATURE
from trt_pipeline.bundle.signatures import require_cryptography
from trt_pipeline.durable import write_all_synced, write_synced
from trt_pipeline.errors import InvalidInputError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey


def read_private_key(path: Path) -> "Ed25519PrivateKey":
    """Read an unencrypted PEM file; InvalidInputError if it holds no private Ed25519 key."""
    require_cryptography()
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        found = load_pem_private_key(path.read_bytes(), password=None)
    except OSError as error:
        raise InvalidInputError(f"--sign {path} cannot be read: {error.strerror}.") from None
    except TypeError:
        raise InvalidInputError(f"--sign {path} is encrypted; give the key as it is.") from None
    except (ValueError, UnsupportedAlgorithm):
        found = None
    if not isinstance(found, Ed25519PrivateKey):
        raise InvalidInputError(
            f"--sign {path} is no private Ed25519 key in PEM form. "
            f"Make one with: openssl genpkey -algorithm ed25519 -out {path}"
        )
    return found


def sign_bundle(folder: Path, key: "Ed25519PrivateKey") -> None:
    """Write the signature of a bundle's manifest beside it, unless it is there."""
    path, signature = folder / SIGNATURE, key.sign(manifest_bytes(folder))
    if not (path.is_file() and path.read_bytes() == signature):
        write_synced(path, signature)


def write_manifest(bundle: Bundle, signing_key: "Ed25519PrivateKey | None") -> None:
    """Write what has become of a bundle into its folder, with a signature if there is a key."""
    manifest = manifest_json(bundle).encode()
    signature = {SIGNATURE: signing_key.sign(manifest)} if signing_key else {}
    write_all_synced(bundle.path, {MANIFEST: manifest, **signature})
