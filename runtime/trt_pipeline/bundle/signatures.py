"""Signatures: who vouches for a bundle.

bundle.json.sig holds the Ed25519 signature (RFC 8032) of bundle.json's bytes, 64 bytes. The
manifest has the hash of every file that a runtime uses, so the signature covers the bundle.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from trt_pipeline.bundle.integrity import open_regular
from trt_pipeline.bundle.names import MANIFEST, SIGNATURE
from trt_pipeline.errors import IntegrityError, InvalidInputError, MissingDependencyError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

SIGNATURE_BYTES = 64
INSTALL = 'pip install "trt-pipeline[sign]"'

TrustedKey: TypeAlias = str | os.PathLike[str] | bytes
"""A PEM file with a public key, or its bytes."""


def check_signature(folder: Path, manifest: bytes, trusted_keys: Sequence[TrustedKey]) -> None:
    """IntegrityError unless a bundle's signature is that of its manifest by one of the keys."""
    check_signed(folder, manifest, read_signature(folder), trusted_keys)


def check_signed(
    where: Path, manifest: bytes, signature: bytes | None, trusted_keys: Sequence[TrustedKey]
) -> None:
    """IntegrityError unless one of the keys signed the manifest. where: named in the error."""
    keys = _read_public_keys(trusted_keys)
    if signature is None:
        raise IntegrityError(
            f"{where} is not signed. Sign it with: export-all --sign KEY, or trust it unsigned."
        )
    if not any(_signed_by(key, manifest, signature) for key in keys):
        raise IntegrityError(
            f"{where}: {SIGNATURE} was not made by any of the trusted keys for this "
            f"{MANIFEST}. Do not use it; get the bundle again from whoever signed it."
        )


def read_signature(folder: Path) -> bytes | None:
    """The content of bundle.json.sig; None if there is none, IntegrityError if it can't be one."""
    path = folder / SIGNATURE
    try:
        with open_regular(path) as stream:
            signature = stream.read(SIGNATURE_BYTES + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise IntegrityError(f"{path} cannot be read: {error.strerror}.") from None
    if len(signature) != SIGNATURE_BYTES:
        raise IntegrityError(f"{path} does not have the {SIGNATURE_BYTES} bytes of a signature.")
    return signature


def require_cryptography() -> None:
    """MissingDependencyError without the cryptography package."""
    try:
        import cryptography  # noqa: F401
    except ImportError:
        raise MissingDependencyError(
            f"signatures need the cryptography package. Install it with: {INSTALL}"
        ) from None


def _read_public_keys(trusted_keys: Sequence[TrustedKey]) -> "list[Ed25519PublicKey]":
    if isinstance(trusted_keys, str | bytes) or not trusted_keys:
        raise InvalidInputError(
            f"trusted_keys must be a list of one or more keys, got {trusted_keys!r:.80}."
        )
    for key in trusted_keys:
        if not isinstance(key, str | bytes | os.PathLike):
            raise InvalidInputError(
                f"a trusted key must be a PEM file or its bytes, got {type(key).__name__}."
            )
    require_cryptography()
    return [_read_public_key(key) for key in trusted_keys]


def _read_public_key(key: TrustedKey) -> "Ed25519PublicKey":
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    name = "a trusted key" if isinstance(key, bytes) else f"the trusted key {os.fspath(key)}"
    try:
        found = load_pem_public_key(key if isinstance(key, bytes) else Path(key).read_bytes())
    except OSError as error:
        raise InvalidInputError(f"{name} cannot be read: {error.strerror}.") from None
    except (ValueError, UnsupportedAlgorithm):
        found = None
    if not isinstance(found, Ed25519PublicKey):
        raise InvalidInputError(f"{name} is not a public Ed25519 key in PEM form.")
    return found


def _signed_by(key: "Ed25519PublicKey", manifest: bytes, signature: bytes) -> bool:
    from cryptography.exceptions import InvalidSignature

    try:
        key.verify(signature, manifest)
    except InvalidSignature:
        return False
    return True
