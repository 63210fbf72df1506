"""Sources: the picture files that pictures begin with, and their trace in the settings."""

from collections.abc import Container
from dataclasses import dataclass, replace
from pathlib import Path

from trt_pipeline.bundle import file_sha256
from trt_pipeline.errors import InvalidInputError
from trt_pipeline.pictures.image_inputs import common_size, open_picture
from trt_pipeline.pictures.metadata import Settings


@dataclass(frozen=True, slots=True)
class Sources:
    """The files of image-to-image and inpainting."""

    image: Path | None = None
    mask_image: Path | None = None

    def sized(self, settings: Settings, factor: int, given: Container[str]) -> Settings:
        """The settings with the image's height and width, where they are not among those given.

        factor: what they are multiples of. InvalidInputError if the image cannot be read.
        """
        if self.image is None:
            return settings
        height, width = common_size([open_picture("image", self.image)], factor)
        return replace(
            settings,
            height=settings.height if "height" in given else height,
            width=settings.width if "width" in given else width,
        )

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
