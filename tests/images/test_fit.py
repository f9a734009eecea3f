import io

import cv2
import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError

from sanmaru.images.fit import ZERO, Fit, FitConfig
from sanmaru.images.read import UnreadableImageError, encoding, read_square, square
from sanmaru.images.store import ImageStore

WIDE = np.random.default_rng(0).integers(0, 256, (10, 30, 3), dtype=np.uint8)


def fit(**options: object) -> Fit:
    return FitConfig.model_validate(options).reader()


def test_a_letterbox_keeps_the_aspect_ratio_in_the_middle() -> None:
    out = square(WIDE, 60, fit(kind="letterbox", fill=[1, 2, 3]))
    np.testing.assert_array_equal(out[20:40], cv2.resize(WIDE, (60, 20), interpolation=cv2.INTER_LINEAR))
    assert (out[:20] == (1, 2, 3)).all()
    assert (out[40:] == (1, 2, 3)).all()


def test_a_letterbox_may_stand_at_the_top_left() -> None:
    tall = WIDE.transpose(1, 0, 2)
    out = square(tall, 30, fit(kind="letterbox", fill=7, anchor="top-left"))
    np.testing.assert_array_equal(out[:, :10], tall)
    assert (out[:, 10:] == 7).all()


def test_a_letterbox_may_be_padded_with_its_edge() -> None:
    out = square(WIDE, 30, fit(kind="letterbox", fill="edge"))
    np.testing.assert_array_equal(out, np.pad(WIDE, ((10, 10), (0, 0), (0, 0)), mode="edge"))


def test_zero_is_the_colour_that_normalisation_takes_away() -> None:
    reader = FitConfig(kind="letterbox").reader((128, 127, 126))
    assert reader.fill == reader.zero == (128, 127, 126)
    assert (square(WIDE, 30, reader)[0] == (128, 127, 126)).all()
    assert fit(kind="letterbox").zero == ZERO
    assert fit(kind="letterbox", fill=0).zero is None
    assert fit().zero is None


def test_a_centre_crop_cuts_the_longer_side() -> None:
    np.testing.assert_array_equal(square(WIDE, 10, fit(kind="center-crop")), WIDE[:, 10:20])
    shrunk = square(WIDE, 5, fit(kind="center-crop"))
    np.testing.assert_array_equal(shrunk, cv2.resize(WIDE[:, 10:20], (5, 5), interpolation=cv2.INTER_AREA))


@pytest.mark.parametrize("box", [[0.2, 0.1, 0.5, 1.0], [6, 1, 15, 10]])
def test_a_crop_box_is_cut_out_first_in_fractions_or_pixels(box: list[float]) -> None:
    np.testing.assert_array_equal(square(WIDE, 9, fit(crop_box=box)), WIDE[1:10, 6:15])


def test_a_box_in_pixels_is_cut_to_the_picture_or_refused() -> None:
    np.testing.assert_array_equal(square(WIDE, 10, fit(crop_box=[20, 0, 99, 99])), WIDE[:, 20:])
    with pytest.raises(UnreadableImageError, match=r"crop box \[40, 0, 60, 9\] lies inside of its 30 x 10 pixels"):
        square(WIDE, 10, fit(crop_box=[40, 0, 60, 9]))


def test_a_thin_box_of_a_tiny_picture_holds_a_pixel() -> None:
    assert square(WIDE[:1, :1], 4, fit(crop_box=[0.9, 0.9, 0.95, 0.95])).shape == (4, 4, 3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"crop_box": [0.5, 0, 0.5, 1]}, r"left < right and 0 <= top < bottom, got \[0\.5, 0\.0, 0\.5, 1\.0\]"),
        ({"crop_box": [0.5, 0, 20, 10]}, "either fractions in"),
        ({"fill": 300}, "less than or equal to 255"),
        ({"kind": "pad"}, "'stretch', 'letterbox' or 'center-crop'"),
    ],
)
def test_mistakes_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        FitConfig.model_validate(options)


def test_every_policy_has_a_name_of_its_own_and_a_place_in_the_cache(tmp_path: object) -> None:
    every = [
        fit(),
        fit(kind="center-crop"),
        fit(kind="letterbox"),
        fit(kind="letterbox", fill="edge"),
        fit(kind="letterbox", fill=0),
        fit(kind="letterbox", anchor="top-left"),
        fit(crop_box=[0, 0, 0.5, 1]),
        fit(kind="letterbox", crop_box=[0, 0, 0.5, 1]),
    ]
    names = [encoding(64, one) for one in every]
    assert len(set(names)) == len(every)
    assert names[0] == encoding(64)
    assert all("/" not in name for name in names)


def test_the_store_holds_what_the_reader_gives(tmp_path: object) -> None:
    file = io.BytesIO()
    # Large enough to be decoded at a fraction of its size.
    Image.fromarray(cv2.resize(WIDE, (900, 300))).save(file, "JPEG")
    for one in (fit(kind="letterbox"), fit(kind="center-crop"), fit(crop_box=[0.25, 0, 0.5, 1.0])):
        store = ImageStore(tmp_path, 16, one)  # type: ignore[arg-type]
        np.testing.assert_array_equal(store.load([file.getvalue()]).rows()[0], read_square(file.getvalue(), 16, one))


def test_a_reduced_decode_shows_the_same_part(tmp_path: object) -> None:
    smooth = cv2.resize(WIDE[::3, ::6], (1200, 800), interpolation=cv2.INTER_CUBIC)
    file = io.BytesIO()
    Image.fromarray(smooth).save(file, "JPEG", quality=95)
    for options in ({"crop_box": [0.5, 0.25, 0.9, 0.75]}, {"crop_box": [600, 200, 1080, 600]}, {"kind": "center-crop"}):
        one = fit(**options)
        out = read_square(file.getvalue(), 24, one).astype(float)
        assert np.abs(out - square(smooth, 24, one)).mean() < 4
