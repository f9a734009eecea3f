"""What does a flat in Seoul sell for? From the public register of 2022, learned from the past for the weeks to come.

python recipes/apartment-price/run.py            the whole recipe, about 5 minutes on two cores
python recipes/apartment-price/run.py --tiny     does it run?
"""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import polars as pl

from sanmaru.recipes.aside import keep_aside, write_parts
from sanmaru.recipes.command import run
from sanmaru.recipes.course import Recipe
from sanmaru.recipes.sources import Download, obtain

TARGET, CANCELLED, DAY = "거래금액(만원)", "해제사유발생일", "계약날짜"
COLUMNS = (
    "시군구 단지명 전용면적(㎡) 계약년월 계약일 거래금액(만원) 층 건축년도 도로명 해제사유발생일 거래유형"
).split()

REGISTER = Download(
    url="https://raw.githubusercontent.com/krystallinekim/pjt-DataAnalysis-Korean_Real_Estate/"
    "964d8c799eb39d54df617123eaba36d90a931f5e/data_raw/" + quote("아파트(매매)_실거래가_2022.csv"),
    sha256="ea8ad552676783d21f7498bc89c921bd5371d1cca9d536a9ddbf2305de244c0b",
    to="register.csv",
)


def convert(raw: Path, folder: Path) -> None:
    """Turn the office's cp949 into UTF-8 and leave out lot numbers, kinds of buyers, agents and the day of entry."""
    table = pl.read_csv((raw / REGISTER.to).read_text(encoding="cp949").encode(), infer_schema=False)
    table.select(COLUMNS).write_csv(folder / "trades_2022.csv")


def prepare(folder: Path, tiny: bool) -> Mapping[str, Any]:
    """Set cancelled contracts and copies aside, date the rest, and keep the last fifth of the year for the end."""
    table = pl.read_csv(obtain("apt-seoul", [REGISTER], convert) / "trades_2022.csv", infer_schema=False)
    # A cancelled contract's price was often never meant; it would be learned as if it had been paid.
    cancelled = table.filter(pl.col(CANCELLED) != "-")
    cancelled.write_csv(folder / "cancelled.csv")
    table = table.filter(pl.col(CANCELLED) == "-").drop(CANCELLED)
    before = len(table)
    table = table.unique(maintain_order=True)
    copies = before - len(table)
    # 202212 and 3 become 2022-12-03. The commas in prices stay: typing takes care of them.
    day = (
        pl.col("계약년월").str.slice(0, 4) + "-" + pl.col("계약년월").str.slice(4) + "-" + pl.col("계약일").str.zfill(2)
    )
    table = table.with_columns(day.alias(DAY)).drop("계약년월", "계약일").sort(DAY, maintain_order=True)
    # The district, the quarter and the street are columns of their own.
    place = pl.col("시군구").str.split(" ")
    table = table.with_columns(place.list.get(1).alias("구"), place.list.get(2).alias("동")).drop("시군구")
    if tiny:
        table = table.gather_every(len(table) // 700)
    parts = write_parts(table, keep_aside(table, time=DAY), folder, target=TARGET)
    return {**parts, "cancelled contracts set aside": len(cancelled), "copies dropped": copies}


PLACE = (
    "features=[{target_encoding: {columns: [동, 단지명, 도로명, [단지명, '전용면적(㎡)']], smoothing: 1, "
    "per: '전용면적(㎡)', unknown: missing}}]"
)
LOG, PLAIN = "model.target_transform=log", "model.target_transform=none"

RECIPE = Recipe(
    home=Path(__file__).parent,
    prepare=prepare,
    variants={
        "trees": (PLAIN,),
        "trees, log price": (LOG,),
        "trees, log price and features": (LOG, PLACE),
        "catboost, log price and features": ("model.kind=catboost", LOG, PLACE),
        "network, log price": ("model.kind=network", LOG),
        "linear, log price and features": ("model.kind=linear", LOG, PLACE),
    },
    tiny={"": ("split.folds=2",), "lightgbm": ("model.trees=20",), "catboost": ("model.trees=20",)},
    tiny_variants=("trees, log price and features", "linear, log price and features"),
    also=("mae", "mape", "rmsle"),
    ensemble="greedy",
    minutes=5,
)

if __name__ == "__main__":
    sys.exit(run(RECIPE, about=__doc__))
