from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import yaml
from PIL import Image

from sanmaru.errors import DataError
from sanmaru.project import Project
from sanmaru.tables.project_text import project_text
from sanmaru.tables.propose import Proposal, project_name, propose, relative

Write = Callable[..., Path]


def look(tmp_path: Path, columns: dict, **options: object) -> Proposal:
    pl.DataFrame(columns).write_csv(tmp_path / "train.csv")
    proposal = propose(tmp_path / "train.csv", folder=tmp_path, **options)  # type: ignore[arg-type]
    text = project_text(proposal)
    assert yaml.safe_load(text) == dict(proposal.content)  # what is written is what is proposed
    Project.from_dict(tmp_path, proposal.content)
    return proposal


def plain(n: int = 200) -> dict:
    generator = np.random.default_rng(0)
    return {"size": generator.normal(size=n), "colour": generator.choice(["red", "blue"], n)}


def pictures(folder: Path, names: list[str], side: int = 40) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (side, side), (len(name), 0, 0)).save(folder / name)


def test_a_plain_table(tmp_path: Path) -> None:
    proposal = look(tmp_path, {"id": [f"r{i}" for i in range(200)], **plain(), "price": np.arange(200.0) % 37 + 0.5})
    content = proposal.content
    assert content["data"] == {"train": "train.csv", "id": "id", "target": "price"}
    assert (content["task"], content["problem_type"]) == ("tabular", "regression")
    assert content["split"] == {"kind": "stratified", "folds": 5}
    assert content["model"] == {"kind": "linear"}
    assert content["metric"] == "rmse"
    assert "Guessed, because its name sounds like what one predicts" in proposal.why["data.target"]


@pytest.mark.parametrize(
    ("target", "metric", "problem"),
    [
        (["a", "b"] * 150, "roc_auc", None),
        (["a", "b", "c"] * 100, "accuracy", None),
        (["a", "b", "c", "c", "c", "c"] * 50, "macro_f1", None),
        ([0, 1, 2] * 100, "accuracy", "classification"),
        (list(range(300)), "rmse", "regression"),
        ([1.5**i for i in range(30)] * 10, "rmsle", "regression"),
    ],
)
def test_metric_and_kind_follow_the_target(tmp_path: Path, target: list, metric: str, problem: str | None) -> None:
    content = look(tmp_path, {**plain(300), "y": target}).content
    assert (content["metric"], content.get("problem_type")) == (metric, problem)


def test_repeated_entities_make_a_grouped_split(tmp_path: Path) -> None:
    people = np.random.default_rng(1).permutation(np.repeat(np.arange(40), 5))
    proposal = look(tmp_path, {"patient_id": people, **plain(), "label": ["a", "b"] * 100})
    assert proposal.content["data"]["group"] == "patient_id"
    assert proposal.content["split"]["kind"] == "stratified-grouped"
    assert "40 of them have 5.0 rows each" in proposal.why["data.group"]


def test_groups_that_the_test_table_shares_stay_unset(tmp_path: Path) -> None:
    people = np.random.default_rng(1).permutation(np.repeat(np.arange(40), 5))
    test = tmp_path / "test.csv"
    pl.DataFrame({"patient_id": [1, 2, 3], **plain(3)}).write_csv(test)
    proposal = look(tmp_path, {"patient_id": people, **plain(), "label": ["a", "b"] * 100}, test=test)
    assert "group" not in proposal.content["data"]
    assert "3 of 3 test rows" in proposal.why["data.group"]


@pytest.mark.parametrize("backwards", [False, True])
def test_rows_in_order_of_time_make_a_time_split(tmp_path: Path, backwards: bool) -> None:
    days = [(date(2024, 1, 1) + timedelta(days=i)).isoformat() for i in range(200)]
    proposal = look(tmp_path, {"day": days[::-1] if backwards else days, **plain(), "y": np.arange(200) % 31})
    assert proposal.content["data"]["time"] == "day"
    assert proposal.content["split"] == {"kind": "time", "folds": 5}
    assert ("latest first" in proposal.why["data.time"]) == backwards
    assert "learn_time: true says otherwise" in proposal.why["data.time"]
    assert "learn_time" not in proposal.content["data"]


def test_dates_out_of_order_are_told_of(tmp_path: Path) -> None:
    days = [(date(2024, 1, 1) + timedelta(days=(i * 37) % 200)).isoformat() for i in range(200)]
    proposal = look(tmp_path, {"day": days, **plain(), "y": np.arange(200) % 31})
    assert "time" not in proposal.content["data"]
    assert "day holds dates, but the rows are not ordered by it" in proposal.why["data.time"]


def test_hours_that_come_round_are_learned_from(tmp_path: Path) -> None:
    hours = [datetime(2024, 1, 1) + timedelta(hours=i) for i in range(200)]
    when = [f"{hour:%Y-%m-%d %H:%M}" for hour in hours]
    columns = {"when": when, **plain(), "rides": [hour.hour * 3.5 + i % 7 for i, hour in enumerate(hours)]}
    proposal = look(tmp_path, columns, target="rides")
    assert proposal.content["data"]["time"] == "when"
    assert proposal.content["data"]["learn_time"] is True
    assert "comes round every day" in proposal.why["data.learn_time"]
    assert ("time", "when, learned from too") in proposal.summary
    # Rows to predict that do not say when cannot be told by their hour.
    pl.DataFrame(plain(20)).write_csv(tmp_path / "test.csv")
    assert "learn_time" not in look(tmp_path, columns, target="rides", test=tmp_path / "test.csv").content["data"]


def test_calendar_columns_make_the_rows_their_own_time(tmp_path: Path) -> None:
    columns = {"year": [2020] * 100 + [2021] * 100, "month": [i // 10 % 10 + 1 for i in range(200)], **plain()}
    proposal = look(tmp_path, {**columns, "y": np.arange(200) % 31})
    assert proposal.content["data"]["time"] == "row"


def test_the_test_table_tells_target_and_leaks(tmp_path: Path) -> None:
    test = tmp_path / "test.csv"
    pl.DataFrame(plain(5)).write_csv(test)
    proposal = look(tmp_path, {"later": np.arange(200) % 7, **plain(), "y": ["a", "b"] * 100}, test=test, target="y")
    assert proposal.content["data"]["test"] == "test.csv"
    assert proposal.content["data"]["drop"] == ["later"]
    columns = {**plain(), "zz": np.arange(200) % 7}
    assert look(tmp_path, columns, test=test).content["data"]["target"] == "zz"


def test_suspicious_columns_are_named(tmp_path: Path) -> None:
    y = ["yes", "no"] * 150
    proposal = look(
        tmp_path,
        {
            **plain(300),
            "same": ["k"] * 300,
            "empty": [None] * 300,
            "code": [f"u{i}" for i in range(300)],
            "twin": plain(300)["size"],
            "answer": [{"yes": 1, "no": 0}[label] for label in y],
            "rare": ["x", "z"] * 30 + [None] * 240,
            "typo": [*map(str, range(299)), "oops"],
            "y": y,
        },
    )
    dropped = {remark.column: remark.text for remark in proposal.remarks if remark.drop}
    assert list(dropped) == ["same", "empty", "code", "twin", "answer"]
    assert "holds 'k' in every row" in dropped["same"]
    assert "the same as size" in dropped["twin"]
    assert "alone tells y (100 %)" in dropped["answer"]
    kept = {remark.column: remark.text for remark in proposal.remarks if not remark.drop}
    assert "is empty in 80 % of rows (60 are filled)" in kept["rare"]
    assert "1 cells are no numbers ('oops')" in kept["typo"]
    assert "alone tells y" in project_text(proposal)


def test_a_copy_of_a_number_is_a_leak(tmp_path: Path) -> None:
    y = np.random.default_rng(5).lognormal(size=200)
    proposal = look(tmp_path, {**plain(), "in_cents": (y * 100).round(), "y": y})
    assert proposal.content["data"]["drop"] == ["in_cents"]


def test_many_dropped_columns_are_listed_together(tmp_path: Path) -> None:
    proposal = look(tmp_path, {**{f"p {i}": [0] * 200 for i in range(60)}, **plain(), "y": ["a", "b"] * 100})
    text = project_text(proposal)
    assert "# - 60 columns (p 0, p 1, p 2, p 3, ...): each holds 0 in every row." in text
    assert max(map(len, text.splitlines())) <= 100


def test_pictures_in_a_table(tmp_path: Path) -> None:
    names = [f"{person:02d}/{shot}.png" for person in range(12) for shot in range(3)]
    pictures(tmp_path / "images", names)
    proposal = look(tmp_path, {"file": names, "label": ["cat", "dog"] * 18})
    content = proposal.content
    assert content["task"] == "image-classification"
    assert content["data"] == {
        "train": "train.csv",
        "images": "images",
        "image": "file",
        "target": "label",
        "group": "folder",
    }
    assert content["split"]["kind"] == "stratified-grouped"
    assert content["model"] == {"kind": "network", "backbone": "convnet", "image_size": 64}
    assert content["train"]["augment"] == ["hflip", {"rotate": 10}]


def test_small_pictures_are_not_mirrored(tmp_path: Path) -> None:
    pictures(tmp_path / "digits", [f"{label}/{i}.png" for label in "01" for i in range(6)], side=27)
    (tmp_path / "digits" / "0" / "broken.png").write_bytes(b"no picture")
    content = propose(tmp_path / "digits", folder=tmp_path).content
    assert content["data"] == {"train": "digits"}
    assert content["model"]["image_size"] == 28
    assert content["train"]["augment"] == [{"translate": 0.1}]


def test_a_folder_per_person_under_each_class(tmp_path: Path) -> None:
    pictures(tmp_path / "p", [f"{c}/{p}/{i}.png" for c in ("on", "off") for p in "abcdef" for i in range(2)])
    content = propose(tmp_path / "p", folder=tmp_path).content
    assert content["data"] == {"train": "p", "group": "folder"}
    assert content["split"]["kind"] == "stratified-grouped"


@pytest.mark.parametrize(
    ("columns", "options", "message"),
    [
        ({"a": [1, 2], "price": [1, 2]}, {"target": "prize"}, r"no column 'prize' \(--target\)\. Did you mean 'price'"),
        ({"a": [1, 2], "y": [1, 1]}, {"target": "y"}, "has 1 value"),
        ({"a": [1, 1], "b": ["k", "k"]}, {}, "name one with --target"),
        ({"a": ["k"] * 40, "y": [0, 1] * 20}, {}, "no column is left to learn 'y' from"),
        ({"file": ["a.png", "b.png"], "y": [0, 1]}, {}, r"none of the first 2 pictures .*--images"),
        (
            {"a": [1.5] * 30, "y": [f"a long answer number {i} in words" for i in range(30)]},
            {"target": "y"},
            "holds 30 different texts",
        ),
    ],
)
def test_data_from_which_nothing_can_be_proposed(tmp_path: Path, columns: dict, options: dict, message: str) -> None:
    with pytest.raises(DataError, match=message):
        look(tmp_path, columns, **options)


def test_names_and_paths(tmp_path: Path) -> None:
    (tmp_path / "집값 예측").mkdir()
    (tmp_path / "집값 예측" / "train.csv").touch()
    assert project_name(tmp_path / "집값 예측" / "train.csv") == "집값-예측"
    (tmp_path / "flats.csv").touch()
    assert project_name(tmp_path / "flats.csv") == "flats"
    assert relative(Path("/a/b/c.csv"), Path("/a/p")) == "../b/c.csv"
    assert relative(Path("/x/c.csv"), Path("/a/b/c/d/e")) == "/x/c.csv"


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("adult/train.csv", {"target": "income"}),
        ("housing-ca/train.csv", {"target": "median_house_value"}),
        ("apt-seoul/trades_2022.csv", {"target": "거래금액(만원)", "time": "계약년월"}),
        ("air-beijing/train.csv", {"id": "No", "time": "No"}),
        ("masks/index.csv", {"image": "file", "target": "class", "group": "group"}),
        ("recycle", {}),
    ],
)
def test_real_data(shared_data: Path, source: str, expected: dict) -> None:
    proposal = propose(shared_data / source, folder=shared_data)
    assert {**proposal.content["data"], **expected} == proposal.content["data"]
    assert proposal.content["data"]["train"] == source
    Project.from_dict(shared_data, yaml.safe_load(project_text(proposal)))


def test_a_table_of_pictures_keeps_the_id_that_it_has(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    for number in range(12):
        Image.new("L", (8, 8), number).save(tmp_path / "images" / f"{number}.png")
    rows = "".join(f"item-{7 * number},{number}.png,{'ab'[number % 2]}\n" for number in range(12))
    (tmp_path / "train.csv").write_text(f"id,file,kind\n{rows}")
    proposal = propose(tmp_path / "train.csv", target="kind", images=tmp_path / "images")
    assert proposal.content["data"]["id"] == "id"
    assert proposal.content["data"]["image"] == "file"
