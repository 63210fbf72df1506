"""Sources: the picture files that pictures begin with, and their trace in the settings."""

from dataclasses import dataclass, replace
from pathlib import Path

from trt_pipeline.bundle import file_sha256
from trt_pipeline.errors import InvalidInputError
from trt_pipeline.settings import Settings


@dataclass(frozen=True, slots=True)
class Sources:
    """The files of image-to-image and inpainting."""

    image: Path | None = None
    mask_image: Path | None = None

    def traced(self, settings: Settings) -> Settings:
        """The settings with these files' sha256; InvalidInputError if one cannot be read."""
        return replace(
            settings,
            image=_sha256("image", self.image),
            mask_image=_sha256("mask_image", self.mask_image),
        )


NO_SOURCES = Sources()


def _sha256(name: str, path: Path | None) -> str | None:
    try:
        return None if path is None else file_sha256(path)
    except OSError as error:
        raise InvalidInputError(f"{name} {path} cannot be read: {error.strerror}.") from None
