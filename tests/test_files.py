"""Files appear whole or not at all, also when the writer is killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sanmaru.files import read_json, sha256, share_folder, whole, write_json, write_text


def test_an_exception_leaves_the_old_file_and_no_part(tmp_path: Path) -> None:
    target = tmp_path / "a.txt"
    write_text(target, "old")

    def fail() -> None:
        with whole(target) as beside:
            beside.write_text("half")
            raise RuntimeError("interrupted")

    with pytest.raises(RuntimeError, match="interrupted"):
        fail()
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_a_folder_is_replaced_as_a_whole(tmp_path: Path) -> None:
    target = tmp_path / "package"
    for content in ("first", "second"):
        with whole(target) as beside:
            beside.mkdir()
            (beside / content).write_text(content)
    assert [path.name for path in target.iterdir()] == ["second"]
    assert list(tmp_path.iterdir()) == [target]


def test_a_writer_killed_at_any_moment_leaves_a_whole_file(tmp_path: Path) -> None:
    target = tmp_path / "numbers.json"
    program = (
        "import itertools, sys\nfrom pathlib import Path\nfrom sanmaru.files import write_json\n"
        "for n in itertools.count(): write_json(Path(sys.argv[1]), [n] * 20000)\n"
    )
    for wait_s in (0.3, 0.37, 0.41):
        writer = subprocess.Popen([sys.executable, "-c", program, str(target)])
        deadline = time.monotonic() + 30
        while not target.exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(wait_s)
        os.kill(writer.pid, signal.SIGKILL)
        writer.wait()
        numbers = read_json(target)
        assert len(numbers) == 20000
        assert len(set(numbers)) == 1


def test_json_keeps_korean_readable(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"이름": "산마루"})
    assert "산마루" in (tmp_path / "a.json").read_text(encoding="utf-8")


def test_sha256_is_that_of_the_bytes(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    assert sha256(tmp_path / "a") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_a_shared_folder_takes_no_second_place_and_outlives_its_source(tmp_path: Path) -> None:
    source = tmp_path / "estimator"
    (source / "inner").mkdir(parents=True)
    (source / "inner" / "weights").write_bytes(b"w" * 1000)
    share_folder(source, tmp_path / "package")
    copy = tmp_path / "package" / "inner" / "weights"
    assert copy.samefile(source / "inner" / "weights")
    (source / "inner" / "weights").unlink()
    assert copy.read_bytes() == b"w" * 1000
