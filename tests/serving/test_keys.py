import subprocess
import sys
from pathlib import Path

import pytest

from sanmaru.errors import UserError
from sanmaru.serving.keys import Keys, new_key


def bearer(key: str) -> dict[bytes, bytes]:
    return {b"authorization": b"bEARER " + key.encode()}


def test_a_file_holds_hashes_and_names(tmp_path: Path) -> None:
    (first, line_1), (second, line_2) = new_key("phone"), new_key("web")
    file = tmp_path / "keys.txt"
    file.write_text(f"{line_1}\n\n# a comment\n  {line_2}  \n")
    keys = Keys(file)
    assert first not in file.read_text()
    assert (keys.name(bearer(first)), keys.name({b"x-api-key": second.encode()})) == ("phone", "web")
    assert keys.name(bearer("sk-other")) is None
    assert keys.name({}) is None


def test_a_withdrawn_key_stops_working_without_a_restart(tmp_path: Path) -> None:
    (first, line_1), (second, line_2) = new_key("a"), new_key("b")
    file = tmp_path / "keys.txt"
    file.write_text(f"{line_1}\n{line_2}\n")
    keys = Keys(file, plain=("from-environment",))
    assert not keys.refresh()
    file.write_text(f"{line_2}\n")
    assert keys.refresh()
    assert keys.name(bearer(first)) is None
    assert keys.name(bearer(second)) == "b"
    assert keys.name(bearer("from-environment")) == "key 0"


def test_a_broken_change_keeps_the_keys_known_before(tmp_path: Path) -> None:
    key, line = new_key("a")
    file = tmp_path / "keys.txt"
    file.write_text(line)
    keys = Keys(file)
    file.write_text("plain-key\n")
    with pytest.raises(UserError, match=r"line 1: expected `NAME sha256:"):
        keys.refresh()
    file.unlink()
    assert not keys.refresh()
    assert keys.name(bearer(key)) == "a"


@pytest.mark.parametrize(("text", "says"), [("", "holds no key"), ("# only this", "holds no key"), ("a b", "line 1")])
def test_a_file_without_keys_is_refused(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "keys.txt").write_text(text)
    with pytest.raises(UserError, match=says):
        Keys(tmp_path / "keys.txt")
    with pytest.raises(UserError, match="cannot be read"):
        Keys(tmp_path / "absent.txt")


def test_the_environment_may_hold_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not Keys.from_environment().active
    monkeypatch.setenv("SANMARU_API_KEYS", "one, two")
    keys = Keys.from_environment()
    assert keys.active
    assert keys.name(bearer("two")) == "key 1"


def test_the_module_makes_a_key_and_shows_it_once() -> None:
    made = subprocess.run(
        [sys.executable, "-m", "sanmaru.serving.keys", "phone"], capture_output=True, text=True, check=True
    )
    key = made.stderr.split(": ")[1].strip()
    assert made.stdout.startswith("phone sha256:")
    assert key not in made.stdout
