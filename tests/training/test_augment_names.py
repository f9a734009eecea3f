import pytest

from sanmaru.training.augment_names import AUGMENTATIONS, parameters, with_defaults


def test_names_strengths_and_mappings_are_taken() -> None:
    assert with_defaults(["hflip", {"rotate": 5}, {"cutmix": 1}, {"border": "edge"}]) == [
        {"hflip": 0.5},
        {"rotate": 5.0},
        {"cutmix": 1.0},
        {"border": "edge"},
    ]
    assert with_defaults([{"griddropout": {"ratio": 0.4}}]) == [{"griddropout": {"ratio": 0.4, "cells": 4, "p": 0.5}}]
    assert parameters("rotate", 5.0) == {"degrees": 5.0, "p": 1.0}


def test_what_is_normalised_stays_as_it_is() -> None:
    once = with_defaults([*AUGMENTATIONS, {"rotate": {"degrees": 2, "p": 0.1}}])
    assert with_defaults(once) == once


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_defaults_lie_within_their_limits(name: str) -> None:
    assert parameters(name, parameters(name, None)) == parameters(name, None)


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("hflp", r"unknown augmentation 'hflp'\. Did you mean 'hflip'"),
        ({"rotate": -5}, r"the strength of 'rotate' must be a number in \[0, 180\], got -5"),
        ({"rotate": True}, "got True"),
        ({"rotate": {"degree": 5}}, r"unknown parameter 'degree' of augmentation 'rotate'\. Did you mean 'degrees'"),
        ({"blur": {"p": 1.5}}, r"'p' of 'blur' must be a number in \[0, 1\], got 1\.5"),
        ({"jpeg": {"quality": 60, "best": 50}}, "must not exceed 'best'"),
        ({"border": "black"}, "'border' must be one of reflect, edge, mean, got 'black'"),
        (7, r"an augmentation is a name or \{name: strength\}, got 7"),
    ],
)
def test_mistakes_say_what_is_wrong(entry: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        with_defaults([entry])


def test_mixing_has_no_place_in_an_evaluation_list() -> None:
    with pytest.raises(ValueError, match=r"'mixup' mixes pictures for training; it has no place in an evaluation list"):
        with_defaults(["blur", "mixup"], mixing=False)


def test_an_effect_named_twice_is_refused() -> None:
    with pytest.raises(ValueError, match=r"'blur' stands twice in the list"):
        with_defaults(["blur", "hflip", {"blur": 2}])
    assert len(with_defaults(["rotate", "hflip", "rotate"])) == 3
