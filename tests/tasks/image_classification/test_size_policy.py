import io

import numpy as np
import polars as pl
import pytest
from PIL import Image

from sanmaru.images.fit import ZERO
from sanmaru.images.read import read_square
from sanmaru.tasks.image_classification.config import NetworkConfig
from sanmaru.tasks.image_classification.estimator import NetworkEstimator


def picture() -> bytes:
    out = io.BytesIO()
    values = np.random.default_rng(0).integers(0, 256, (20, 50, 3), dtype=np.uint8)
    Image.fromarray(values).save(out, "PNG")
    return out.getvalue()


@pytest.mark.parametrize("kind", ["stretch", "letterbox", "center-crop"])
def test_tables_and_requests_are_read_by_the_policy_of_the_model(kind: str) -> None:
    config = NetworkConfig.model_validate({"image_size": 16, "fit": {"kind": kind}})
    estimator = NetworkEstimator(config, image="picture", classes=2)
    expected = read_square(picture(), 16, config.reader)
    np.testing.assert_array_equal(estimator.encode(pl.DataFrame({"picture": [picture()]}))[0], expected)
    np.testing.assert_array_equal(estimator.encode_rows([{"picture": picture()}])[0], expected)
    assert (kind in estimator.encoding) == (kind != "stretch")


def test_padding_is_the_colour_that_the_network_subtracts() -> None:
    letterbox = {"fit": {"kind": "letterbox"}}
    assert NetworkConfig.model_validate(letterbox).reader.zero == ZERO
    vit = NetworkConfig.model_validate({**letterbox, "backbone": "vit-small", "pretrained": True, "image_size": 224})
    assert vit.reader.fill == (128, 128, 128)
