"""Read a picture, whatever it is, into uint8 RGB; or say why it cannot be read."""

from __future__ import annotations

import functools
import hashlib
import io
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
from PIL import Image, UnidentifiedImageError

from sanmaru.errors import DataError
from sanmaru.images.fit import Fit

if TYPE_CHECKING:
    from numpy.typing import NDArray

READER_VERSION = 1
"""Raised when the same file would give other pixels; part of every cache key and of `Estimator.encoding`."""

PIXEL_LIMIT = 80_000_000
"""Larger pictures are refused from their header, before anything is decoded. Just under the 89 million at which
Pillow itself begins to warn."""

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "PPM", "MPO", "JPEG2000", "AVIF", "ICO")
"""Formats that are tried. Others that Pillow knows are left out on purpose: EPS, for one, starts Ghostscript."""

Source = str | Path | bytes

STRETCH = Fit()

_HEIF = (b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1")
_OTHERS = {
    b"<!doctype html": "a web page",
    b"<html": "a web page",
    b"<svg": "an SVG drawing",
    b"<?xml": "an XML text",
    b"%pdf": "a PDF document",
    b"%!ps": "a PostScript document",
    b"{": "a JSON text",
    b"pk\x03\x04": "a ZIP archive",
    b"version https://git-lfs": "a Git LFS pointer to a file that was never fetched",
}

_ORIENTATION = 274  # the EXIF tag


class UnreadableImageError(DataError):
    """A picture that cannot be read; `reason` says why, in words for the person who owns the file."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class UnreadablePicturesError(DataError):
    """Some rows of a table have pictures that cannot be read; whoever can set rows aside finds them in `rows`."""

    def __init__(self, message: str, *, column: str, rows: Mapping[int, str]) -> None:
        super().__init__(message)
        self.column = column
        self.rows = dict(rows)
        """Reason by position in the table."""


@dataclass(frozen=True)
class Decoded:
    """A picture as it was read."""

    pixels: NDArray[np.uint8]
    """(height, width, 3), RGB. A large JPEG may come at a half, a quarter or an eighth of its size where a smaller
    picture is all that was asked for."""
    width: int
    """Of the file, after the camera's orientation is applied."""
    height: int
    mode: str
    """Pillow's name of what the file holds, e.g. `RGB`, `CMYK`, `I;16`."""


@functools.cache
def _formats() -> tuple[str, ...]:
    """Return those of `FORMATS` that this build of Pillow reads; it loads its less usual ones only when told to."""
    Image.init()
    return tuple(name for name in FORMATS if name in Image.OPEN)


def load_bytes(source: Source) -> bytes:
    """Return the encoded bytes of a picture.

    Raises:
        UnreadableImageError: when there is no such file, or it cannot be opened.
    """
    if isinstance(source, bytes):
        return source
    try:
        return Path(source).read_bytes()
    except FileNotFoundError:
        raise UnreadableImageError("there is no such file") from None
    except OSError as error:
        raise UnreadableImageError(f"the file cannot be opened ({error.strerror})") from error


def decode(data: bytes, *, at_least: int | None = None, pixel_limit: int = PIXEL_LIMIT) -> Decoded:
    """Decode a picture to uint8 RGB.

    The camera's orientation is applied, transparent parts become white, grey and palette and CMYK pictures become
    RGB, 16 bits become 8, and of an animation the first frame is taken.

    Args:
        data: The encoded picture.
        at_least: Sides in pixels that the caller needs. A JPEG is then decoded at the smallest of 1, 1/2, 1/4 and
            1/8 of its size that still has twice as many; this is several times quicker for photographs.
        pixel_limit: Pictures of more pixels are refused from their header.

    Raises:
        UnreadableImageError: when the data is empty, no picture, cut off, corrupt, or over the limit.
    """
    if not data:
        raise UnreadableImageError("the file is empty")
    try:
        image = Image.open(io.BytesIO(data), formats=_formats())
    except UnidentifiedImageError:
        raise UnreadableImageError(_unknown(data)) from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise UnreadableImageError(f"too many pixels ({error})") from None
    except Exception as error:  # a decoder meets hostile bytes: whatever it raises, the picture is unreadable
        raise UnreadableImageError(f"the header is corrupt ({error})") from error
    with image:
        width, height = image.size
        if width * height > pixel_limit:
            raise UnreadableImageError(
                f"{width} x {height} is {width * height:,} pixels, over the limit of {pixel_limit:,}"
            )
        mode = image.mode
        orientation = _orientation(image)
        try:
            if at_least is not None:
                image.draft(None, (2 * at_least, 2 * at_least))
            pixels = _to_rgb(image)
        except Exception as error:  # as above
            raise UnreadableImageError(f"cut off or corrupt ({error})") from error
    pixels = _orient(pixels, orientation)
    if orientation >= 5:
        width, height = height, width
    return Decoded(pixels, width, height, mode)


@dataclass(frozen=True)
class Measured:
    """What the header of a picture says, without decoding it."""

    width: int
    height: int
    """After the camera's orientation is applied."""
    mode: str
    format: str
    digest: str
    """SHA-256 of the encoded bytes."""
    size_bytes: int


def measure(source: Source) -> Measured:
    """Read a picture's header and fingerprint; quick, but no proof that the rest can be decoded.

    Raises:
        UnreadableImageError: when there is no such file, or its header is of no known format.
    """
    data = load_bytes(source)
    try:
        with Image.open(io.BytesIO(data), formats=_formats()) as image:
            width, height = image.size
            if _orientation(image) >= 5:
                width, height = height, width
            return Measured(width, height, image.mode, image.format or "", content_hash(data), len(data))
    except Exception as error:  # as in `decode`
        raise UnreadableImageError(f"not a picture of a known format ({type(error).__name__})") from None


def read_picture(source: Source, *, pixel_limit: int = PIXEL_LIMIT) -> NDArray[np.uint8]:
    """Return a picture as uint8 RGB (height, width, 3). See `decode`.

    Raises:
        UnreadableImageError: when it cannot be read.
    """
    return decode(load_bytes(source), pixel_limit=pixel_limit).pixels


def square(pixels: NDArray[np.uint8], size: int, fit: Fit = STRETCH) -> NDArray[np.uint8]:
    """Fit a picture (height, width, 3) into (size, size, 3).

    Areas are averaged when a side shrinks; otherwise pixels are interpolated.

    Raises:
        UnreadableImageError: when the crop box lies outside of the picture.
    """
    if fit.box is not None:
        left, top, right, bottom = _inside(fit.box, pixels.shape[0], pixels.shape[1])
        pixels = pixels[top:bottom, left:right]
    height, width = pixels.shape[:2]
    if fit.kind == "stretch" or height == width:
        return _resize(pixels, size, size)
    if fit.kind == "center-crop":
        side = min(height, width)
        top, left = (height - side) // 2, (width - side) // 2
        return _resize(pixels[top : top + side, left : left + side], size, size)
    longer = max(height, width)
    high, wide = (max(1, round(side * size / longer)) for side in (height, width))
    small = _resize(pixels, high, wide)
    top, left = (0, 0) if fit.anchor == "top-left" else ((size - high) // 2, (size - wide) // 2)
    edges = (top, size - high - top, left, size - wide - left)
    if fit.fill is None:
        padded = cv2.copyMakeBorder(small, *edges, cv2.BORDER_REPLICATE)
    else:
        padded = cv2.copyMakeBorder(small, *edges, cv2.BORDER_CONSTANT, value=fit.fill)
    return np.asarray(padded, dtype=np.uint8)


def _resize(pixels: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    if pixels.shape[:2] == (height, width):
        return np.ascontiguousarray(pixels)
    shrinks = min(pixels.shape[:2]) > min(height, width)
    method = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(pixels, (width, height), interpolation=method), dtype=np.uint8)


def _inside(box: tuple[float, float, float, float], height: int, width: int) -> tuple[int, int, int, int]:
    """Return a crop box in whole pixels, cut to the picture.

    Raises:
        UnreadableImageError: when nothing of it lies inside.
    """
    across, down = (width, height) if max(box) <= 1 else (1, 1)
    left, right = (min(round(value * across), width) for value in box[::2])
    top, bottom = (min(round(value * down), height) for value in box[1::2])
    if max(box) <= 1:  # a narrow box of a tiny picture still holds a pixel
        left, top = min(left, width - 1), min(top, height - 1)
        right, bottom = max(right, left + 1), max(bottom, top + 1)
    if right <= left or bottom <= top:
        raise UnreadableImageError(
            f"nothing of the crop box {[int(value) for value in box]} lies inside of its {width} x {height} pixels"
        )
    return left, top, right, bottom


def read_square(source: Source, size: int, fit: Fit = STRETCH, *, pixel_limit: int = PIXEL_LIMIT) -> NDArray[np.uint8]:
    """Return a picture as the network sees it: uint8 RGB (size, size, 3).

    Raises:
        UnreadableImageError: when it cannot be read.
    """
    return decode_square(load_bytes(source), size, fit, pixel_limit=pixel_limit)[0]


def decode_square(
    data: bytes, size: int, fit: Fit = STRETCH, *, pixel_limit: int = PIXEL_LIMIT
) -> tuple[NDArray[np.uint8], Decoded]:
    """Return a picture as the network sees it, and as it was decoded.

    Raises:
        UnreadableImageError: when it cannot be read.
    """
    decoded = decode(data, at_least=needed(size, fit), pixel_limit=pixel_limit)
    return square(decoded.pixels, size, fit), decoded


def encoding(size: int, fit: Fit = STRETCH) -> str:
    """Return a short name that differs where the same file would give other pixels, such as `64-v1`."""
    return "-".join(part for part in (str(size), fit.name, f"v{READER_VERSION}") if part)


def needed(size: int, fit: Fit) -> int | None:
    """Return the sides to which a picture must be decoded at least; None for all of it, where the box is in pixels."""
    if fit.box is None:
        return size
    left, top, right, bottom = fit.box
    return None if max(fit.box) > 1 else math.ceil(size / min(right - left, bottom - top))


def thumbnail(source: Source | NDArray[np.uint8], side: int = 96, *, quality: int = 80) -> bytes:
    """Return a JPEG whose longer side has `side` pixels at most; the aspect ratio stays.

    Raises:
        UnreadableImageError: when the picture cannot be read.
    """
    pixels = source if isinstance(source, np.ndarray) else decode(load_bytes(source), at_least=side).pixels
    height, width = pixels.shape[:2]
    factor = side / max(height, width)
    if factor < 1:
        target = (max(1, round(width * factor)), max(1, round(height * factor)))
        pixels = np.asarray(cv2.resize(pixels, target, interpolation=cv2.INTER_AREA), dtype=np.uint8)
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "JPEG", quality=quality)
    return out.getvalue()


def content_hash(data: bytes) -> str:
    """Return the SHA-256 of encoded bytes, by which exact copies are known."""
    return hashlib.sha256(data).hexdigest()


def _unknown(data: bytes) -> str:
    """Say what data that no decoder takes looks like, for the files that people most often bring."""
    start = data[:512].lstrip().lower()
    if data[4:8] == b"ftyp" and data[8:12] in _HEIF:
        return "a HEIC picture, as phones write it, which is not read: convert it to JPEG or PNG"
    for sign, what in _OTHERS.items():
        if start.startswith(sign):
            return f"{what}, not a picture of a known format"
    return "not a picture of a known format"


def _orientation(image: Image.Image) -> int:
    try:
        value = int(image.getexif().get(_ORIENTATION, 1))
    except Exception:  # broken EXIF takes nothing from the pixels
        return 1
    return value if 1 <= value <= 8 else 1


def _orient(pixels: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    """Apply an EXIF orientation: 1 as it is, 3 upside down, 6 and 8 quarter turns, the others mirrored."""
    if orientation >= 5:
        pixels = pixels.transpose(1, 0, 2)
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return np.ascontiguousarray(pixels)


def _to_rgb(image: Image.Image) -> NDArray[np.uint8]:
    mode = image.mode
    if mode == "F" or mode.startswith("I"):
        return _deep_grey(np.asarray(image))
    if mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        layered = image.convert("RGBA")
        ground = Image.new("RGBA", layered.size, (255, 255, 255, 255))
        return np.asarray(Image.alpha_composite(ground, layered).convert("RGB"))
    return np.asarray(image if mode == "RGB" else image.convert("RGB"))


def _deep_grey(values: NDArray[np.generic]) -> NDArray[np.uint8]:
    """Bring 16-bit, 32-bit and floating grey to 8 bits; Pillow's own conversion would clip it to white."""
    grey = values.astype(np.float64)
    top = float(grey.max(initial=0.0))
    if values.dtype.kind == "f":
        scale = 255.0 if top <= 1.0 else 1.0
    else:
        scale = 1.0 if top <= 255 and values.dtype.itemsize > 2 else 255.0 / 65535.0
    eight = np.clip(np.nan_to_num(grey * scale) + 0.5, 0, 255).astype(np.uint8)
    return np.repeat(eight[:, :, None], 3, axis=2)
