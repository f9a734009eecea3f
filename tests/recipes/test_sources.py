from __future__ import annotations

import hashlib
import shutil
import zipfile
from pathlib import Path

import pytest

from sanmaru.errors import DataError
from sanmaru.recipes.sources import Download, listing, obtain


@pytest.fixture(autouse=True)
def _no_local_data(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SANMARU_DATA", raising=False)


def as_it_is(raw: Path, folder: Path) -> None:
    shutil.copytree(raw, folder, dirs_exist_ok=True)


def a_file(tmp_path: Path, text: str = "a,b\n1,2\n") -> Download:
    (tmp_path / "source.csv").write_text(text)
    return Download(
        url=(tmp_path / "source.csv").as_uri(), sha256=hashlib.sha256(text.encode()).hexdigest(), to="train.csv"
    )


def an_archive(tmp_path: Path, **files: str) -> tuple[Path, str]:
    """A zip as GitHub makes it, all in one top folder, and the checksum of its pictures."""
    path = tmp_path / "repository.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in files.items():
            archive.writestr(f"name-0123abc/{name.replace('__', '/')}.jpg", text)
        archive.writestr("name-0123abc/README.md", "not taken")
    inside = sorted((f"{name.replace('__', '/')}.jpg", text) for name, text in files.items())
    lines = "".join(f"{hashlib.sha256(text.encode()).hexdigest()}  {name}\n" for name, text in inside)
    return path, hashlib.sha256(lines.encode()).hexdigest()


def test_a_file_is_fetched_checked_converted_and_kept(tmp_path: Path) -> None:
    download = a_file(tmp_path)
    folder = obtain("small", [download], as_it_is, cache=tmp_path / "cache")
    assert (folder / "train.csv").read_text() == "a,b\n1,2\n"
    (tmp_path / "source.csv").unlink()  # the second time nothing is fetched
    assert obtain("small", [download], as_it_is, cache=tmp_path / "cache") == folder


def test_an_archive_gives_the_files_that_match(tmp_path: Path) -> None:
    path, checksum = an_archive(tmp_path, data__cat__1="one", data__dog__2="two")
    download = Download(url=path.as_uri(), sha256=checksum, to="all", members=("data/*",))
    folder = obtain("pets", [download], as_it_is, cache=tmp_path / "cache") / "all"
    found = sorted(file.relative_to(folder).as_posix() for file in folder.rglob("*.jpg"))
    assert found == ["data/cat/1.jpg", "data/dog/2.jpg"]
    assert hashlib.sha256(listing(folder, folder.rglob("*.jpg")).encode()).hexdigest() == checksum


def test_an_archive_writes_nothing_outside_its_folder(tmp_path: Path) -> None:
    path = tmp_path / "bad.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("top/data/../../../escaped.jpg", "x")
    nothing = hashlib.sha256(b"").hexdigest()
    obtain("bad", [Download(url=path.as_uri(), sha256=nothing, to="all", members=("*",))], as_it_is, cache=tmp_path)
    assert not list(tmp_path.rglob("escaped.jpg"))


def test_other_content_is_refused_and_names_both_checksums(tmp_path: Path) -> None:
    download = Download(url=a_file(tmp_path).url, sha256="f" * 64, to="train.csv")
    with pytest.raises(DataError, match=r"SHA-256 [0-9a-f]{64} in place of f{64}.*SANMARU_DATA=DIR"):
        obtain("small", [download], as_it_is, cache=tmp_path / "cache")
    assert not (tmp_path / "cache" / "small" / "raw" / "train.csv").exists()


def test_an_url_that_cannot_be_read_names_the_variable(tmp_path: Path) -> None:
    download = Download(url=(tmp_path / "absent.csv").as_uri(), sha256="0", to="train.csv")
    with pytest.raises(DataError, match=r"absent.csv cannot be fetched .*export SANMARU_DATA=DIR \(with DIR/small\)"):
        obtain("small", [download], as_it_is, cache=tmp_path / "cache")


def test_no_archive_is_said(tmp_path: Path) -> None:
    download = Download(url=a_file(tmp_path).url, sha256="0", to="all", members=("*",))
    with pytest.raises(DataError, match="gave no zip archive"):
        obtain("small", [download], as_it_is, cache=tmp_path / "cache")


def test_a_local_folder_goes_before_the_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "small").mkdir()
    monkeypatch.setenv("SANMARU_DATA", str(tmp_path))
    assert obtain("small", [], as_it_is) == (tmp_path / "small").resolve()
    with pytest.raises(DataError, match=r"SANMARU_DATA is .* there is no folder other in it"):
        obtain("other", [], as_it_is)


def test_a_conversion_that_failed_is_not_taken_for_done(tmp_path: Path) -> None:
    download = a_file(tmp_path)

    def fails(raw: Path, folder: Path) -> None:
        (folder / "half.csv").write_text("a")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        obtain("small", [download], fails, cache=tmp_path / "cache")
    folder = obtain("small", [download], as_it_is, cache=tmp_path / "cache")
    assert [path.name for path in folder.iterdir()] == ["train.csv"]
