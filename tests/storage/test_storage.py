"""One suite for every kind of storage, and what only a folder or only a bucket can do wrong."""

import json
import os
import signal
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sanmaru.errors import ProjectFileError
from sanmaru.storage import ChangedError, Manifest, Storage, open_storage
from sanmaru.storage.local import LocalObjects
from sanmaru.storage.manifest import read_manifest, write_manifest
from sanmaru.storage.objects import StorageError, TakenError


def test_a_version_is_read_as_it_was_committed(storage, tmp_path):
    big = tmp_path / "big.bin"
    big.write_bytes(os.urandom(3_000_000))
    assert storage.latest("forecast") is None
    first = storage.commit(
        "forecast", {"a.json": b"{}", "sub/big.bin": big, "예보.txt": "좋음".encode()}, meta={"n": 1}
    )
    assert first.version == 1
    found = storage.latest("forecast")
    assert (found.version, found.files, found.meta, found.key) == (1, first.files, {"n": 1}, first.key)
    assert storage.read(found, "예보.txt") == "좋음".encode()
    folder = storage.fetch(found, tmp_path / "fetched")
    assert (folder / "sub/big.bin").read_bytes() == big.read_bytes()
    assert (folder / "a.json").read_bytes() == b"{}"


def test_versions_count_up_and_equal_content_is_no_new_one(storage):
    for number in (1, 2, 2, 3):
        assert storage.commit("air/seoul", {"a": str(number).encode()}).version == number
    assert storage.commit("other", {"a": b"1"}).version == 1
    assert [manifest.version for manifest in storage.versions("air/seoul")] == [1, 2, 3]
    assert storage.read(storage.versions("air/seoul")[0], "a") == b"1"  # old versions stay readable
    assert storage.names() == ["air/seoul", "other"]
    assert storage.commit("other", {"a": b"1"}, meta={"new": True}).version == 2


def test_the_hint_may_be_old_gone_or_nonsense(storage):
    for number in range(3):
        storage.commit("f", {"a": str(number).encode()})
    old = storage.versions("f")[0]
    for hint in (
        json.dumps({"manifest": old.key}).encode(),
        json.dumps({"manifest": "f/manifests/9999999999.json"}).encode(),
        b"{",
        b"[1]",
    ):
        storage.objects.put("f/latest.json", hint)
        assert storage.latest("f").version == 3
    storage.objects.delete(["f/latest.json"])
    assert storage.latest("f").version == 3


def test_what_was_altered_is_refused(storage, tmp_path):
    manifest = storage.commit("f", {"a": b"right", "b": b"b"})
    storage.objects.put(manifest.files["a"].key, b"wrong")
    with pytest.raises(StorageError, match=r"'a' of f version 1 .* is not what was committed"):
        storage.read(manifest, "a")
    with pytest.raises(StorageError, match="not what was committed"):
        storage.fetch(manifest, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    storage.objects.delete([manifest.files["b"].key])
    with pytest.raises(StorageError, match="it is gone"):
        storage.read(manifest, "b")
    with pytest.raises(KeyError, match="has no file 'c'"):
        storage.read(manifest, "c")


def test_a_damaged_manifest_is_said_to_be_one(storage):
    manifest = storage.commit("f", {"a": b"1"})
    content = b"".join(storage.objects.get(manifest.key)).replace(b'"size": 1', b'"size": 2')
    storage.objects.put(manifest.key, content)
    with pytest.raises(StorageError, match=r"is damaged .its digest is another"):
        storage.latest("f")


def test_two_writers_lose_nothing(storage_url, tmp_path):
    """Each commits on its own; all commits are versions, and the newest is one whole commit of one writer."""
    each, writers = 5, 3
    failures = []

    def write(number: int) -> None:
        try:
            own = open_storage(storage_url, tmp_path)
            for round_ in range(each):
                own.commit("f", {"who": str(number).encode(), "round": f"{number}.{round_}".encode()})
        except BaseException as error:  # shown by the assertion below
            failures.append(error)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(writers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    storage = open_storage(storage_url, tmp_path)
    versions = storage.versions("f")
    assert len(versions) == each * writers
    said = [storage.read(manifest, "round").decode() for manifest in versions]
    assert sorted(said) == sorted(f"{number}.{round_}" for number in range(writers) for round_ in range(each))
    for manifest in versions:
        assert storage.read(manifest, "round").startswith(storage.read(manifest, "who"))
    numbers = [manifest.version for manifest in versions]
    assert numbers == sorted(numbers)
    if storage.objects.conditional():
        assert numbers == list(range(1, each * writers + 1))  # every number once
    assert storage.latest("f").key == versions[-1].key


def test_read_change_commit_loses_no_update(storage_url, tmp_path):
    """Two writers count up one number; each takes back what it made from an old version."""
    open_storage(storage_url, tmp_path).commit("n", {"n": b"0"})

    def count() -> None:
        own = open_storage(storage_url, tmp_path)
        for _ in range(5):
            while True:
                newest = own.latest("n")
                new = int(own.read(newest, "n")) + 1
                try:
                    own.commit("n", {"n": str(new).encode()}, meta={"by": id(own)}, expected=newest.version)
                    break
                except ChangedError:
                    continue

    threads = [threading.Thread(target=count) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    storage = open_storage(storage_url, tmp_path)
    n = int(storage.read(storage.latest("n"), "n"))
    assert n == 10 if storage.objects.conditional() else 5 <= n <= 10
    with pytest.raises(ChangedError, match=r"'n' in .* is no longer at version 0: another writer was first"):
        storage.commit("n", {"n": b"x"}, expected=0)


def test_servers_that_ignore_the_condition_are_found_out(storage, request):
    expected = {"local": True, "moto": True, "rclone": False}
    kind = request.node.callspec.params["storage_url"]
    assert storage.objects.conditional() is expected.get(kind, storage.objects.conditional())
    assert [one.key for one in storage.objects.list("") if "probe" in one.key] == []
    if storage.objects.conditional():
        storage.objects.put("key", b"1", create=True)
        with pytest.raises(TakenError, match="key"):
            storage.objects.put("key", b"2", create=True)
        assert b"".join(storage.objects.get("key")) == b"1"


class Stopped(BaseException):
    """Stands for a process that dies: nothing after it runs."""


@pytest.mark.parametrize("at", range(4))
def test_a_writer_that_dies_at_any_put_leaves_the_old_state_whole(storage_url, tmp_path, at):
    """Two data files, the manifest, the hint: dying before any of these puts."""
    storage = open_storage(storage_url, tmp_path)
    old = storage.commit("f", {"a": b"old a", "b": b"old b"})
    storage.objects.conditional()
    put, done = storage.objects.put, []

    def dying(key, content, *, create=False):
        if len(done) == at:
            raise Stopped
        done.append(key)
        put(key, content, create=create)

    storage.objects.put = dying
    with pytest.raises(Stopped):
        storage.commit("f", {"a": b"new a", "b": b"new b"})
    after = open_storage(storage_url, tmp_path)
    expected, text = (2, b"new") if at == 3 else (old.version, b"old")  # only the hint was missing
    newest = after.latest("f")
    assert newest.version == expected
    assert (after.read(newest, "a"), after.read(newest, "b")) == (text + b" a", text + b" b")
    # Trying again gives the new state, and what the dead writer left is pruned.
    assert after.commit("f", {"a": b"new a", "b": b"new b"}).version == 2
    assert len(after.prune(older_than=timedelta(seconds=-60))) == (0 if at == 3 else at)
    assert after.read(after.latest("f"), "b") == b"new b"
    assert after.read(after.versions("f")[0], "b") == b"old b"


KILLED = """
import os, signal, sys
from pathlib import Path
from sanmaru.storage import open_storage
storage = open_storage(sys.argv[1], Path.cwd())
storage.objects.conditional()
put, count = storage.objects.put, [0]
def killing(key, content, **options):
    count[0] += 1
    if count[0] == int(sys.argv[2]):
        os.kill(os.getpid(), signal.SIGKILL)
    put(key, content, **options)
storage.objects.put = killing
storage.commit("f", {"a": b"new" * 1000, "b": b"new"})
"""


def test_a_killed_process_leaves_the_old_state_whole(storage_url, tmp_path):
    storage = open_storage(storage_url, tmp_path)
    storage.commit("f", {"a": b"old", "b": b"old"})
    ended = subprocess.run([sys.executable, "-c", KILLED, storage_url, "3"], cwd=tmp_path, check=False)
    assert ended.returncode == -signal.SIGKILL  # between the objects and the manifest
    newest = storage.latest("f")
    assert (newest.version, storage.read(newest, "a"), storage.read(newest, "b")) == (1, b"old", b"old")
    assert len(list(storage.objects.list("f/data"))) == 4  # the dead writer's two lie there unseen


def test_prune_keeps_what_is_named_and_what_is_young(storage):
    for number in range(4):
        storage.commit("f", {"a": str(number).encode()})
    storage.objects.put("f/data/orphan/a", b"of a commit under way")
    assert storage.prune() == []  # younger than a day
    assert storage.prune(older_than=timedelta(seconds=-60)) == ["f/data/orphan/a"]
    gone = storage.prune(older_than=timedelta(seconds=-60), keep=2)
    assert len(gone) == 4  # two manifests and their two files
    assert [storage.read(manifest, "a") for manifest in storage.versions("f")] == [b"2", b"3"]
    assert storage.commit("f", {"a": b"4"}).version == 5
    with pytest.raises(ValueError, match="keep must be at least 1, got 0"):
        storage.prune(keep=0)


@pytest.mark.parametrize("name", ["", "/a", "a//b", "../a", "a/data/b", "a/manifests", "a b", ".a"])
def test_names_that_cannot_be_keys_are_refused(tmp_path, name):
    with pytest.raises(ValueError, match="name must be letters"):
        open_storage("s", tmp_path).commit(name, {"a": b""})


@pytest.mark.parametrize("file", ["../a", "/a", ".hidden", "a/../b", "a//b", ""])
def test_files_that_would_lie_elsewhere_are_refused(tmp_path, file):
    with pytest.raises(ValueError, match="must be a relative path"):
        open_storage("s", tmp_path).commit("f", {file: b""})
    with pytest.raises(ValueError, match="files is empty"):
        open_storage("s", tmp_path).commit("f", {})


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("", "is empty"),
        ("ftp://host/x", "not ftp://"),
        ("s3:///x", "names no bucket"),
        ("s3://key:secret@bucket/x", "keys do not belong in the URL"),
        ("s3://bucket?endpiont=http://x", "Did you mean 'endpoint'"),
        ("s3://bucket?conditional=maybe", "conditional is yes or no"),
        ("s3://bucket?timeout_s=x", "timeout_s is a number"),
    ],
)
def test_urls_that_name_no_storage_are_refused(tmp_path, url, message):
    with pytest.raises(ProjectFileError, match=message):
        open_storage(url, tmp_path)


def test_a_server_that_is_gone_is_named(tmp_path, monkeypatch):
    pytest.importorskip("obstore", reason="needs the extra s3")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "sanmarutest")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "sanmarutest")
    storage = open_storage("s3://bucket/x?endpoint=http://127.0.0.1:1&timeout_s=2", tmp_path)
    with pytest.raises(StorageError, match=r"s3://bucket/x at http://127.0.0.1:1 .* Is the server up"):
        storage.commit("f", {"a": b""})


def test_a_missing_bucket_is_named(moto_endpoint, tmp_path, monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "sanmarutest")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "sanmarutest")
    storage = open_storage(f"s3://no-such-bucket/x?endpoint={moto_endpoint}", tmp_path)
    with pytest.raises(StorageError, match="Make the bucket"):
        storage.commit("f", {"a": b""})


def test_wrong_keys_are_named(rclone_endpoint, tmp_path, monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "somebodyelse")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "somebodyelse")
    with pytest.raises(StorageError, match="Check AWS_ACCESS_KEY_ID"):
        open_storage(f"s3://bucket?endpoint={rclone_endpoint}", tmp_path).commit("f", {"a": b""})


def test_a_full_disk_is_named_and_the_old_state_stays(tmp_path):
    if not Path("/dev/full").exists():
        pytest.skip("needs /dev/full")
    storage = open_storage("store", tmp_path)
    storage.commit("f", {"a": b"old"})
    # A process may write files of at most 64 kB: the kernel then fails the write in the middle, as a full disk does.
    code = (
        "import resource, signal, sys\nfrom pathlib import Path\nfrom sanmaru.storage import open_storage\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\nresource.setrlimit(resource.RLIMIT_FSIZE, (65536, 65536))\n"
        "open_storage('store', Path.cwd()).commit('f', {'a': b'x' * 100_000})"
    )
    ended = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert "StorageError" in ended.stderr
    assert "What was committed before is untouched" in ended.stderr
    assert storage.read(storage.latest("f"), "a") == b"old"
    assert [path for path, _ in storage.objects.leftovers()] == []  # the part is removed


def test_half_written_files_are_not_listed_and_are_pruned(tmp_path):
    storage = open_storage("store", tmp_path)
    storage.commit("f", {"a": b"1"})
    part = tmp_path / "store/f/data/.a.1234.part"
    part.write_bytes(b"half")
    assert not any("part" in one.key for one in storage.objects.list(""))
    storage.prune()
    assert part.exists()
    storage.prune(older_than=timedelta(seconds=-60))
    assert not part.exists()


def test_a_file_system_without_links_takes_the_other_way(tmp_path, monkeypatch):
    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr("sanmaru.storage.local.os.link", refuse)
    storage = Storage(LocalObjects(tmp_path / "store"))
    assert not storage.objects.conditional()
    assert [storage.commit("f", {"a": str(n).encode()}).version for n in range(3)] == [1, 2, 3]
    assert storage.read(storage.latest("f"), "a") == b"2"


@given(
    names=st.dictionaries(st.text(min_size=1, max_size=9), st.binary(max_size=9), max_size=4),
    meta=st.dictionaries(st.text(max_size=5), st.none() | st.integers() | st.text(max_size=5), max_size=3),
)
@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_manifests_are_read_as_written(names, meta):
    from sanmaru.storage.manifest import StoredFile

    files = {name: StoredFile(key="k" + name, size=len(content), sha256="0" * 64) for name, content in names.items()}
    written = Manifest(name="f", version=3, created=datetime(2026, 1, 2, tzinfo=UTC), files=files, meta=meta, key="k")
    assert read_manifest(write_manifest(written), "k", "here") == written


def test_a_newer_format_is_refused():
    written = Manifest(name="f", version=3, created=datetime(2026, 1, 2, tzinfo=UTC), files={})
    newer = write_manifest(written).replace(b'"format": 1', b'"format": 9')
    with pytest.raises(StorageError, match="has format 9; this version of Sanmaru reads 1"):
        read_manifest(newer, "k", "here")
