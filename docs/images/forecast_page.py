"""Make docs/images/forecast-page.png: the forecast page on Seoul's fine dust, photographed on a desk and on a phone.

    .venv/bin/python docs/images/forecast_page.py [--data ../shared/data/air-seoul] [--chromium /usr/bin/chromium]

Hourly values are the city's average as Seoul publishes them, carried to the 25 districts by each district's mean of the
day. The forecast is a plain one: persistence that fades into the hour's usual value, with bands from its own errors.
"""

from __future__ import annotations

import argparse
import io
import shutil
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

ORIGIN = datetime(2022, 12, 27, 15)
"""Local time of the last hour that is shown as known."""
DUST = {"pm25": ("PM2.5", "초미세먼지"), "pm10": ("PM10", "미세먼지")}
HOURS = 48


def main() -> None:
    """Make the page, photograph it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path(__file__).parents[2].parent / "shared/data/air-seoul")
    parser.add_argument("--chromium", default=shutil.which("chromium") or shutil.which("google-chrome"))
    parser.add_argument("--output", type=Path, default=Path(__file__).with_name("forecast-page.png"))
    parser.add_argument("--keep", type=Path, help="also write the page and single pictures to this folder")
    arguments = parser.parse_args()

    from sanmaru.publish.page import make_page

    with tempfile.TemporaryDirectory() as place:
        folder = arguments.keep or Path(place)
        page = make_page(seoul_state(arguments.data), folder)["index.html"]
        photograph(page, arguments.output, arguments.chromium, folder)


def seoul_state(data: Path) -> Any:
    """Return the state of the page at ORIGIN."""
    from sanmaru.publish.seoul import seoul_districts
    from sanmaru.publish.state import ForecastState, ModelInfo, Score, TargetInfo, Words

    hours = pl.read_csv(data / "hourly.csv", try_parse_dates=True, null_values="-").unique("datetime").sort("datetime")
    times = pl.DataFrame({"datetime": pl.datetime_range(hours["datetime"][0], hours["datetime"][-1], "1h", eager=True)})
    hours = times.join(hours, on="datetime", how="left").sort("datetime")
    at = int(hours["datetime"].search_sorted(ORIGIN))
    made = {name: Fading(hours[name].cast(pl.Float64).to_numpy(), at) for name in DUST}
    days = pl.read_csv(data / "daily_by_station_2022.csv", null_values="")
    districts = seoul_districts()
    observations, forecast, earlier = [], [], []
    for district in districts:
        share = {name: share_of(days, district.id, name) for name in DUST}
        observations.append(rows(district.id, hours["datetime"][at - 72 : at + 1], at, made, share))
        forecast.append(ahead(district.id, ORIGIN, at, made, share))
        yesterday = ahead(district.id, ORIGIN - timedelta(days=1), at - 24, made, share)
        earlier.append(yesterday.filter(pl.col("horizon") <= 24))
    seen = pl.concat(observations)
    odd = (pl.col("series") == "강남구") & (pl.col("time") == moment(ORIGIN - timedelta(hours=31)))
    seen = seen.with_columns(  # a sensor's spike, so that the page has one to mark
        pl.when(odd).then(pl.col("pm25") * 2.4).otherwise(pl.col("pm25")).alias("pm25"),
        odd.alias("anomaly"),
        pl.when(odd).then(9.7).otherwise(0.4).alias("anomaly.score"),
        pl.when(odd).then(pl.lit("pm25")).alias("anomaly.reason"),
    )
    return ForecastState(
        title=Words("Seoul fine dust", "서울 미세먼지 예보"),
        targets=[TargetInfo(name=n, unit="µg/m³", label=Words(*label), grade=n) for n, label in DUST.items()],
        series=districts,
        observations=seen,
        forecast=pl.concat(forecast),
        earlier=pl.concat(earlier),
        model=ModelInfo(
            name="fading-persistence",
            version="3",
            trained_at=moment(ORIGIN - timedelta(days=9)),
            score=Score(
                metric="MAE PM2.5, 1-48 h",
                value=made["pm25"].mae,
                unit="µg/m³",
                baseline="persistence",
                baseline_value=made["pm25"].persistence,
            ),
        ),
        generated_at=moment(ORIGIN + timedelta(minutes=24)),
        live=False,
        language="en",
        sources=Words(
            "Figures: Seoul open data (data.seoul.go.kr), the hourly city average carried to districts by their means "
            "of the day; an example, not a forecast for use.",
            "자료: 서울 열린데이터광장 (data.seoul.go.kr). 시간별 서울 평균에 구별 일평균 비율을 곱한 "
            "예시이며 실제 예보가 아닙니다.",
        ),
    )


class Fading:
    """Persistence that fades into the hour's usual value, fitted on the two years before an hour."""

    def __init__(self, values: np.ndarray, at: int) -> None:
        self.values = values
        past = values[at - 2 * 8766 : at - 24 - HOURS]
        clock = (np.arange(at - 2 * 8766, at - 24 - HOURS)) % 24
        self.usual = np.array([np.nanmean(past[clock == hour]) for hour in range(24)])
        origins = np.arange(0, past.size - HOURS, 7)
        self.weight = np.empty(HOURS)
        self.spread = np.empty((HOURS, 2))
        errors, plain = [], []
        for step in range(1, HOURS + 1):
            x = past[origins] - self.usual[clock[origins]]
            y = past[origins + step] - self.usual[clock[origins + step]]
            known = np.isfinite(x) & np.isfinite(y)
            self.weight[step - 1] = (x[known] @ y[known]) / (x[known] @ x[known])
            off = y[known] - self.weight[step - 1] * x[known]
            self.spread[step - 1] = np.quantile(off, [0.1, 0.9])
            errors.append(np.abs(off).mean())
            plain.append(np.abs(past[origins + step] - past[origins])[known].mean())
        self.mae, self.persistence = float(np.mean(errors)), float(np.mean(plain))

    def ahead(self, at: int) -> np.ndarray:
        """Return point, 10 % and 90 % of the next hours, (HOURS, 3)."""
        steps = np.arange(1, HOURS + 1)
        point = self.usual[(at + steps) % 24] + self.weight * (self.values[at] - self.usual[at % 24])
        return np.maximum(np.column_stack([point, point + self.spread[:, 0], point + self.spread[:, 1]]), 1.0)


def share_of(days: pl.DataFrame, district: str, name: str) -> np.ndarray:
    """Return a district's mean of the day over the city's, for the days around ORIGIN."""
    shares = []
    for day in range(-4, 3):
        of_day = days.filter(pl.col("date") == int(f"{ORIGIN + timedelta(days=day):%Y%m%d}"))
        own, city = of_day.filter(pl.col("station") == district)[name].mean(), of_day[name].mean()
        shares.append(own / city if own and city else 1.0)
    return np.array(shares)


def moment(local: datetime) -> datetime:
    """Return a moment of Seoul's clock in UTC."""
    return (local - timedelta(hours=9)).replace(tzinfo=UTC)


def rows(series: str, times: pl.Series, at: int, made: dict[str, Fading], share: dict[str, np.ndarray]) -> pl.DataFrame:
    """Return the observations of a district as a long table."""
    days = np.array([(time.date() - ORIGIN.date()).days + 4 for time in times])
    values = {name: np.round(one.values[at - 72 : at + 1] * share[name][days]) for name, one in made.items()}
    return pl.DataFrame({"series": series, "time": [moment(time) for time in times], **values})


def ahead(
    series: str, origin: datetime, at: int, made: dict[str, Fading], share: dict[str, np.ndarray]
) -> pl.DataFrame:
    """Return the forecast of a district from an hour; the district is to the city what it was on that day."""
    day = (origin.date() - ORIGIN.date()).days + 4
    origin = moment(origin)
    steps = range(1, HOURS + 1)
    columns: dict[str, Any] = {
        "series": series,
        "origin": origin,
        "horizon": pl.Series(list(steps), dtype=pl.Int32),
        "time": [origin + timedelta(hours=step) for step in steps],
    }
    for name, one in made.items():
        values = one.ahead(at) * share[name][day]
        columns |= {name: values[:, 0], f"{name}.q10": values[:, 1], f"{name}.q50": values[:, 0]}
        columns[f"{name}.q90"] = values[:, 2]
    return pl.DataFrame(columns)


def photograph(page: Path, output: Path, chromium: str, folder: Path) -> None:
    """Write one picture: the page on a desk, beside it on a phone in Korean."""
    from PIL import Image
    from playwright.sync_api import sync_playwright

    flags = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]
    taken = {}
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=flags)
        for name, width, height, language, scheme in (
            ("desk", 1240, 1500, "en", "light"),
            ("phone", 390, 1500, "ko", "light"),
            ("desk-dark", 1240, 1500, "ko", "dark"),
            ("phone-en", 390, 1500, "en", "dark"),
        ):
            view = browser.new_page(viewport={"width": width, "height": height}, color_scheme=scheme)
            view.goto(f"{page.as_uri()}?lang={language}")
            taken[name] = Image.open(io.BytesIO(view.screenshot())).convert("RGB")
            taken[name].save(folder / f"{name}.png")
            view.close()
        browser.close()
    desk, phone = taken["desk"], taken["phone"]
    sheet = Image.new("RGB", (desk.width + phone.width + 24, desk.height), "#9aa5b1")
    sheet.paste(desk, (0, 0))
    sheet.paste(phone, (desk.width + 24, 0))
    sheet.quantize(224, dither=Image.Dither.NONE).save(output, optimize=True)


if __name__ == "__main__":
    main()
