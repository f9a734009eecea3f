import multiprocessing
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sanmaru.images.read import read_square
from sanmaru.images.store import ImageStore


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    rng = np.random.default_rng(1)
    paths = []
    for number in range(12):
        path = tmp_path / f"{number}.png"
        Image.fromarray(rng.integers(0, 256, (10, 14, 3), dtype=np.uint8)).save(path)
        paths.append(str(path))
    return paths


def segments(store: ImageStore) -> list[str]:
    return sorted(path.parent.name for path in store.folder.glob("*/index.parquet"))


def test_pictures_come_in_the_order_asked_for(tmp_path: Path, files: list[str]) -> None:
    store = ImageStore(tmp_path / "cache", 8)
    asked = [files[3], files[0], files[3]]
    found = store.load(asked)
    np.testing.assert_array_equal(found.rows(), np.stack([read_square(path, 8) for path in asked]))
    assert found.facts["width"].to_list() == [14, 14, 14]
    assert found.build_s > 0


def test_what_is_cached_is_not_decoded_again(tmp_path: Path, files: list[str]) -> None:
    store = ImageStore(tmp_path / "cache", 8)
    calls: list[tuple[int, int]] = []
    store.load(files, threads=2, progress=lambda done, total: calls.append((done, total)))
    assert calls == [(12, 12)]
    one = segments(store)
    again = ImageStore(tmp_path / "cache", 8).load(files[2:5], progress=lambda *_: pytest.fail("decoded again"))
    assert segments(store) == one
    assert isinstance(again.array, np.memmap)


def test_a_changed_file_is_read_anew(tmp_path: Path, files: list[str]) -> None:
    store = ImageStore(tmp_path / "cache", 8)
    store.load(files)
    Image.new("RGB", (20, 20), "white").save(files[4])
    found = store.load(files)
    assert (found.rows()[4] == 255).all()
    np.testing.assert_array_equal(found.rows()[5], read_square(files[5], 8))
    assert len(segments(store)) == 2


def test_unreadable_pictures_keep_their_verdict(tmp_path: Path, files: list[str]) -> None:
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"not a picture at all")
    store = ImageStore(tmp_path / "cache", 8)
    asked = [files[0], str(bad), str(tmp_path / "absent.png"), None, files[1]]
    for _ in range(2):
        found = store.load(asked)
        assert found.positions.tolist()[1:4] == [-1, -1, -1]
        assert found.facts["reason"][1] == "not a picture of a known format"
        assert found.facts["reason"][2] == "there is no such file"
        np.testing.assert_array_equal(found.array[found.positions[4]], read_square(files[1], 8))
    assert len(segments(store)) == 1


def test_bytes_are_keyed_by_content(tmp_path: Path, files: list[str]) -> None:
    data = [Path(path).read_bytes() for path in files[:3]]
    store = ImageStore(tmp_path / "cache", 8)
    found = store.load([*data, data[0]])
    assert found.positions.tolist() == [0, 1, 2, 0]


def test_sizes_do_not_mix(tmp_path: Path, files: list[str]) -> None:
    assert ImageStore(tmp_path / "cache", 8).load(files).rows().shape[1] == 8
    assert ImageStore(tmp_path / "cache", 12).load(files).rows().shape[1] == 12


def test_a_build_that_was_killed_leaves_nothing_that_is_read(tmp_path: Path, files: list[str]) -> None:
    store = ImageStore(tmp_path / "cache", 8)
    part = store.folder / ".0123.abcd.part"
    part.mkdir(parents=True)
    (part / "index.parquet").write_bytes(b"half")
    assert len(store.load(files).rows()) == 12


def test_no_rows_is_no_error(tmp_path: Path) -> None:
    assert ImageStore(tmp_path / "cache", 8).load([]).rows().shape == (0, 8, 8, 3)


def _load(cache: Path, files: list[str]) -> int:
    return int(ImageStore(cache, 8).load(files).rows().sum())


def test_processes_at_once_share_one_build(tmp_path: Path, files: list[str]) -> None:
    with multiprocessing.get_context("spawn").Pool(3) as pool:
        sums = pool.starmap(_load, [(tmp_path / "cache", files)] * 3)
    assert sums == [_load(tmp_path / "cache", files)] * 3
    assert len(segments(ImageStore(tmp_path / "cache", 8))) == 1
