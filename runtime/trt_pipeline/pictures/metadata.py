"""Metadata: the settings that a picture carries, and the mark that says a model made it.

A PNG has the settings as JSON in a text chunk, WebP and JPEG in EXIF UserComment; all three carry
the mark as XMP.
"""

import json
import os
import struct
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

from trt_pipeline.bundle.decoding import decode, strict_json
from trt_pipeline.errors import InvalidInputError
from trt_pipeline.settings import Settings
from trt_pipeline.version import package_version

if TYPE_CHECKING:
    from PIL.Image import Exif, Image
    from PIL.PngImagePlugin import PngInfo

PictureFormat: TypeAlias = Literal["png", "webp", "jpeg"]

SETTINGS_CHUNK = "trt-pipeline"
"""Keyword of the PNG text chunk that holds the settings as JSON."""
XMP_CHUNK = "XML:com.adobe.xmp"
MAX_SETTINGS_BYTES = 2**20
"""Longest JSON of settings that is written or read."""
MAX_EXIF_BYTES = 65_000
"""A JPEG segment holds 65,533 bytes; some are the EXIF block's own."""

IMAGE_DESCRIPTION, SOFTWARE, EXIF_IFD, USER_COMMENT = 0x010E, 0x0131, 0x8769, 0x9286
"""EXIF tags."""
ASCII, UNICODE = b"ASCII\0\0\0", b"UNICODE\0"
"""Character codes that a UserComment begins with."""

NEEDED = (
    "model",
    "seed",
    "num_inference_steps",
    "guidance_scale",
    "eta",
    "height",
    "width",
    "sampler",
)
"""Entries that every picture has: with those left out, it may not be the same again."""

UNREADABLE = (
    OSError,
    ValueError,
    SyntaxError,
    LookupError,
    TypeError,
    EOFError,
    struct.error,
    Warning,
)
"""What Pillow raises for damaged files; warnings where Python makes them errors."""

XMP = """<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/">
 <rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
  <rdf:Description rdf:about=""
    xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
    Iptc4xmpExt:DigitalSourceType="http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"/>
 </rdf:RDF>
</x:xmpmeta>
<?xpacket end="w"?>"""
"""Says in IPTC's words that a picture was made by a trained model."""


def settings_json(settings: Settings, kind: PictureFormat) -> str:
    """Settings as ASCII JSON; InvalidInputError if they are too long for a format."""
    text = json.dumps(asdict(settings))
    limit = MAX_SETTINGS_BYTES
    if kind == "jpeg":
        limit = MAX_EXIF_BYTES - len(settings.prompt.encode())
    if len(text) > limit:
        raise InvalidInputError(
            f"the settings take {len(text)} bytes, more than a {kind} picture can carry. "
            "Shorten the prompt" + (", or write a PNG." if kind == "jpeg" else ".")
        )
    return text


def png_chunks(settings: Settings | None, mark: bool) -> "PngInfo":
    """Text chunks for a PNG; mark: whether to say that a model made the picture."""
    from PIL.PngImagePlugin import PngInfo

    chunks = PngInfo()
    chunks.add_text("Software", _software())
    if settings:
        chunks.add_text("Description", settings.prompt)
        chunks.add_text(SETTINGS_CHUNK, settings_json(settings, "png"))
    if mark:
        chunks.add_itxt(XMP_CHUNK, XMP)
    return chunks


def exif(settings: Settings | None, kind: PictureFormat) -> "Exif":
    """EXIF for a WebP or a JPEG."""
    from PIL.Image import Exif

    tags = Exif()
    tags[SOFTWARE] = _software()
    if settings:
        tags[IMAGE_DESCRIPTION] = settings.prompt.encode()  # Pillow would write "?" beyond ASCII
        tags[EXIF_IFD] = {USER_COMMENT: ASCII + settings_json(settings, kind).encode()}
    return tags


def read_settings(path: str | os.PathLike[str]) -> Settings:
    """The settings that a PNG, WebP or JPEG of this project carries.

    InvalidInputError for any other file, and for settings that are damaged, longer than
    MAX_SETTINGS_BYTES or those of a picture of another size. OSError if there is no such file.
    """
    text, size = _read_text(Path(path))
    if text is None:
        raise InvalidInputError(f"{path} carries no settings of trt-pipeline.")
    if len(text) > MAX_SETTINGS_BYTES:
        raise InvalidInputError(
            f"{path}: its settings take {len(text)} bytes, expected at most {MAX_SETTINGS_BYTES}."
        )
    try:
        settings = decode(Settings, strict_json(text), "settings")
    except ValueError as error:
        raise InvalidInputError(f"{path}: {error}.") from None
    for name in NEEDED:
        if getattr(settings, name) is None:
            raise InvalidInputError(f"{path}: settings.{name} is missing.")
    if size != (settings.width, settings.height):
        raise InvalidInputError(
            f"{path} is {size[0]} × {size[1]} pixels, but its settings are those of a picture of "
            f"{settings.width} × {settings.height}: it was changed, or they are another's."
        )
    return settings


def _read_text(path: Path) -> tuple[str | None, tuple[int, int]]:
    """The settings' JSON, if any, and the picture's width and height; no pixel is decoded."""
    from PIL import Image, UnidentifiedImageError

    with path.open("rb") as stream:
        try:
            with Image.open(stream, formats=("PNG", "WEBP", "JPEG")) as image:
                return _text_of(image), image.size
        except InvalidInputError as error:
            raise InvalidInputError(f"{path}: {error}") from None
        except UnidentifiedImageError:
            raise InvalidInputError(f"{path} is not a PNG, WebP or JPEG.") from None
        except UNREADABLE as error:
            raise InvalidInputError(f"{path} is damaged ({error}).") from None
        except Image.DecompressionBombError as error:
            raise InvalidInputError(f"{path} is refused: {error}") from None


def _text_of(image: "Image") -> str | None:
    if image.format == "PNG":
        return image.info.get(SETTINGS_CHUNK)
    comment = image.getexif().get_ifd(EXIF_IFD).get(USER_COMMENT)
    if not isinstance(comment, bytes):
        return None
    code, text = comment[:8], comment[8:]
    if len(text) > 2 * MAX_SETTINGS_BYTES:
        raise InvalidInputError(f"its EXIF comment takes {len(text)} bytes, too many for settings.")
    if code == ASCII:
        return text.decode("ascii")
    if code == UNICODE:  # where another program rewrote it; settings begin with a brace
        return text.decode("utf-16-be" if text.startswith(b"\0") else "utf-16")
    return None


def _software() -> str:
    return f"trt-pipeline {package_version()}"
