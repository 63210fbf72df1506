"""Signing: who exported a bundle vouches for it."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from trt_pipeline.bundle import Bundle, manifest_bytes, manifest_json
from trt_pipeline.bundle.names import MANIFEST, SIGNATURE
from trt_pipeline.bundle.signatures import require_cryptography
from trt_pipeline.durable import write_all_synced, write_synced
from trt_pipeline.errors import InvalidInputError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey


@dataclass(frozen=True, slots=True)
class Signer:
    """Writes manifests, and their signatures if it has a key."""

    key: "Ed25519PrivateKey | None" = None

    @classmethod
    def from_file(cls, path: Path) -> "Signer":
        """Read the key from an unencrypted PEM file; InvalidInputError if it holds none."""
        return cls(_read_private_key(path))

    def write_manifest(self, bundle: Bundle) -> None:
        """Write a bundle's bundle.json; without a key, an old signature no longer fits."""
        manifest = manifest_json(bundle).encode()
        write_all_synced(bundle.path, {MANIFEST: manifest, **self._signature(manifest)})

    def sign(self, folder: Path) -> None:
        """Write the signature of the manifest that is there, unless it is there as well."""
        if not self.has_signed(folder):
            signature = self._signature(manifest_bytes(folder))[SIGNATURE]
            write_synced(folder / SIGNATURE, signature)

    def has_signed(self, folder: Path) -> bool:
        """Whether a folder has the signature that this signer would give it, or it gives none."""
        path, signature = folder / SIGNATURE, self._signature(manifest_bytes(folder))
        return not signature or (path.is_file() and path.read_bytes() == signature[SIGNATURE])

    def _signature(self, manifest: bytes) -> dict[str, bytes]:
        return {SIGNATURE: self.key.sign(manifest)} if self.key else {}


UNSIGNED = Signer()


def _read_private_key(path: Path) -> "Ed25519PrivateKey":
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
            f"--sign {path} is not a private Ed25519 key in PEM form. "
            f"Make one with: openssl genpkey -algorithm ed25519 -out {path}"
        )
    return found
