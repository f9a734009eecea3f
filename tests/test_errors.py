from __future__ import annotations

import pytest

from sanmaru.errors import MissingExtraError, import_extra, nearest


def test_nearest_names_the_closest_or_lists_all() -> None:
    assert nearest("tarqet", ["target", "group"]) == "Did you mean 'target'?"
    assert nearest("zzz", ["target", "group"]) == "Known: group, target."
    assert nearest("zzz", []) == "None are known."


def test_a_missing_extra_says_how_to_install_it() -> None:
    with pytest.raises(MissingExtraError, match=r"pip install 'sanmaru\[ray\]'"):
        import_extra("no_such_module_anywhere", "ray")
