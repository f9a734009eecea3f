import io
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from sanmaru.images.read import (
    UnreadableImageError,
    decode,
    measure,
    read_picture,
    read_square,
    square,
    thumbnail,
)


def encoded(image: Image.Image, format: str = "PNG", **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, format, **options)
    return out.getvalue()


def picture(height: int = 6, width: int = 9) -> Image.Image:
    values = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(values)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_cameras_orientation_is_applied_as_pillow_does(orientation: int) -> None:
    exif = Image.Exif()
    exif[274] = orientation
    data = encoded(picture(), exif=exif)
    expected = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
    decoded = decode(data)
    np.testing.assert_array_equal(decoded.pixels, np.asarray(expected))
    assert (decoded.width, decoded.height) == expected.size
    measured = measure(data)
    assert (measured.width, measured.height) == expected.size


def test_modes_become_rgb() -> None:
    grey = Image.fromarray(np.arange(54, dtype=np.uint8).reshape(6, 9))
    assert (decode(encoded(grey)).pixels == np.asarray(grey)[:, :, None]).all()
    assert decode(encoded(picture().quantize(8))).pixels.shape == (6, 9, 3)
    assert decode(encoded(picture().convert("1"))).pixels.max() == 255
    cmyk = decode(encoded(picture().convert("CMYK"), "TIFF"))
    np.testing.assert_array_equal(cmyk.pixels, np.asarray(picture().convert("CMYK").convert("RGB")))
    assert cmyk.mode == "CMYK"


def test_transparent_parts_become_white() -> None:
    layered = np.zeros((2, 2, 4), np.uint8)
    layered[0, 0] = (200, 10, 10, 255)
    pixels = decode(encoded(Image.fromarray(layered))).pixels
    assert pixels[0, 0].tolist() == [200, 10, 10]
    assert (pixels[1] == 255).all()
    palette = Image.new("P", (2, 2), 1)
    palette.putpalette([0, 0, 0, 50, 60, 70])
    assert (decode(encoded(palette, "GIF", transparency=1)).pixels == 255).all()


def test_sixteen_bits_keep_their_range() -> None:
    deep = np.linspace(0, 65535, 256).astype(np.uint16).reshape(16, 16)
    pixels = decode(encoded(Image.fromarray(deep))).pixels
    np.testing.assert_array_equal(pixels[..., 0].ravel(), np.arange(256))


DEEP = np.random.default_rng(1).integers(0, 65536, (7, 5, 3), dtype=np.uint16)


@pytest.mark.parametrize(
    ("suffix", "channels"),
    [
        *((suffix, channels) for suffix in (".png", ".tiff") for channels in ("grey", "colour", "with alpha")),
        (".pgm", "grey"),
        (".ppm", "colour"),
    ],
)
def test_sixteen_bit_files_of_opencv_keep_their_range(suffix: str, channels: str) -> None:
    values = DEEP[..., 0] if channels == "grey" else DEEP[..., ::-1]
    if channels == "with alpha":
        values = np.dstack([values, np.full(DEEP.shape[:2], 65535, np.uint16)])
    data = cv2.imencode(suffix, values)[1].tobytes()
    expected = DEEP[..., :1] / 257 if channels == "grey" else DEEP / 257
    # Pillow keeps the upper byte where another would round.
    assert np.abs(decode(data).pixels - expected).max() <= 1


def test_a_cmyk_jpeg_has_its_colours() -> None:
    red = decode(encoded(Image.new("CMYK", (16, 16), (0, 255, 255, 0)), "JPEG", quality=95))
    assert red.mode == "CMYK"
    np.testing.assert_allclose(red.pixels[8, 8], (255, 0, 0), atol=3)
    photo = picture(32, 32).resize((64, 64)).convert("CMYK")
    data = encoded(photo, "JPEG", quality=95)
    # OpenCV decodes and converts by itself.
    other = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)[..., ::-1].astype(float)
    assert np.abs(decode(data).pixels - other).mean() < 3


def test_half_transparent_grey_lies_on_white() -> None:
    grey = np.arange(54).reshape(6, 9)
    layered = np.dstack([grey, np.full_like(grey, 64)]).astype(np.uint8)
    expected = grey * 64 / 255 + 255 * 191 / 255
    np.testing.assert_allclose(decode(encoded(Image.fromarray(layered))).pixels[..., 0], expected, atol=1)


@pytest.mark.parametrize("format", ["GIF", "PNG", "WEBP", "TIFF"])
def test_of_every_animation_the_first_frame_is_taken(format: str) -> None:
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue", "green")]
    options = {"lossless": True} if format == "WEBP" else {}
    data = encoded(frames[0], format, save_all=True, append_images=frames[1:], **options)
    assert decode(data).pixels[0, 0].tolist() == [255, 0, 0]


def test_what_counts_is_the_content_not_the_name(tmp_path: Path) -> None:
    path = tmp_path / "really.jpg"
    path.write_bytes(encoded(picture()))
    np.testing.assert_array_equal(read_picture(path), np.asarray(picture()))


def test_floating_grey_in_unit_range_is_scaled() -> None:
    pixels = decode(encoded(Image.fromarray(np.array([[0.0, 0.5, 1.0]], np.float32)), "TIFF")).pixels
    assert pixels[0, :, 0].tolist() == [0, 128, 255]


def test_the_first_frame_of_an_animation_is_taken() -> None:
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue")]
    data = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert decode(data).pixels[0, 0].tolist() == [255, 0, 0]


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty"),
        (b"hello, this is text", "^not a picture of a known format$"),
        (struct.pack(">I", 24) + b"ftypheic" + bytes(100), "a HEIC picture, .* convert it to JPEG or PNG"),
        (b"<!DOCTYPE html><title>404</title>", "a web page, not a picture"),
        (b"%PDF-1.7 and more", "a PDF document, not a picture"),
        (b"version https://git-lfs.github.com/spec/v1", "a Git LFS pointer"),
        (encoded(picture(60, 60), "JPEG")[:-200], "cut off or corrupt"),
        (encoded(picture(60, 60), "JPEG")[:-2], "cut off or corrupt"),
        (encoded(picture(60, 60), "JPEG", progressive=True)[:-200], "cut off or corrupt"),
        (encoded(picture(60, 60), "JPEG")[:150], "corrupt"),
        (encoded(picture(60, 60), "TIFF")[:3000], "corrupt"),
        (encoded(picture(60, 60), "GIF")[:900], "corrupt"),
        (encoded(picture(60, 60), "WEBP")[:900], "corrupt"),
        (encoded(picture(60, 60))[:500], "cut off or corrupt"),
    ],
)
def test_broken_pictures_say_why(data: bytes, reason: str) -> None:
    with pytest.raises(UnreadableImageError, match=reason):
        decode(data)


def test_a_missing_file_and_a_folder_say_so(tmp_path: Path) -> None:
    with pytest.raises(UnreadableImageError, match="no such file"):
        read_picture(tmp_path / "absent.png")
    with pytest.raises(UnreadableImageError, match="cannot be opened"):
        read_picture(tmp_path)


def _bomb(width: int, height: int) -> bytes:
    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


@pytest.mark.parametrize("side", [9_000, 10_000, 100_000])
def test_a_decompression_bomb_is_refused_from_its_header(side: int) -> None:
    with pytest.raises(UnreadableImageError, match=r"pixels"):
        decode(_bomb(side, side))


def test_the_pixel_limit_can_be_lowered() -> None:
    with pytest.raises(UnreadableImageError, match=r"9 x 6 is 54 pixels, over the limit of 50"):
        decode(encoded(picture()), pixel_limit=50)


def test_a_large_jpeg_is_decoded_small_but_reports_its_size() -> None:
    data = encoded(Image.new("RGB", (1024, 768), "green"), "JPEG")
    decoded = decode(data, at_least=32)
    assert (decoded.width, decoded.height) == (1024, 768)
    assert decoded.pixels.shape[0] < 768
    assert min(decoded.pixels.shape[:2]) >= 64


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=30), st.integers(0, 400), st.sampled_from(["PNG", "JPEG", "GIF", "BMP", "WEBP", "TIFF"]))
def test_damage_is_either_survived_or_named(noise: bytes, place: int, format: str) -> None:
    data = bytearray(encoded(picture(12, 12), format))
    place = min(place, len(data))
    data[place : place + len(noise)] = noise
    try:
        pixels = decode(bytes(data)).pixels
    except UnreadableImageError:
        return
    assert pixels.ndim == 3
    assert pixels.dtype == np.uint8


def test_square_averages_areas_and_keeps_what_fits() -> None:
    values = np.zeros((4, 8, 3), np.uint8)
    values[:, 4:] = 200
    assert square(values, 2)[..., 0].tolist() == [[0, 200], [0, 200]]
    np.testing.assert_array_equal(square(values[:, :4], 4), values[:, :4])


def test_square_and_thumbnail_have_the_asked_size() -> None:
    data = encoded(picture(30, 90))
    assert read_square(data, 16).shape == (16, 16, 3)
    small = Image.open(io.BytesIO(thumbnail(data, 45)))
    assert small.size == (45, 15)
    assert small.format == "JPEG"
