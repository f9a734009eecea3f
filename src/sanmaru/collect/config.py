"""`collect:` of the project file: sources by name, and how politely each is asked."""

from __future__ import annotations

from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import Field, field_validator, model_validator

from sanmaru.config import Config
from sanmaru.tables.config import INSTRUMENT_WORDS

Positive = Annotated[float, Field(gt=0)]
Fraction = Annotated[float, Field(ge=0, le=1)]
ColumnName = Annotated[str, Field(pattern=r"^[A-Za-z가-힣][A-Za-z0-9가-힣_]*$")]
SourceName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,79}$")]
MISSING = ("", "-", "NA", "NaN", "null", *INSTRUMENT_WORDS)
"""Texts that stand for no value: blanks, dashes, and what Korean stations write in place of one."""


class HttpConfig(Config):
    """How an address is asked, and for how long."""

    timeout_s: Positive = 20
    """Without a byte, after which an answer counts as lost."""
    total_s: Positive = 120
    """For one whole answer, however steadily it drips."""
    retries: Annotated[int, Field(ge=0)] = 4
    """Further tries after one that failed in a way that may pass."""
    backoff_s: Positive = 1.0
    """Upper end of the first pause between tries; doubled with each. The pause is drawn evenly from 0 up to it."""
    backoff_max_s: Positive = 60.0
    wait_max_s: Positive = 120.0
    """The longest `Retry-After` that is waited for; beyond it the interval is tried again later."""
    max_bytes: Annotated[int, Field(gt=0)] = 32 << 20
    """An answer that is longer is given up."""
    contact: str = ""
    """An address of yours, told to the servers in the User-Agent."""


class ColumnConfig(Config):
    """A column of the source and the column it becomes: value * scale + offset."""

    name: ColumnName
    unit: str = ""
    """Unit after conversion, for people."""
    scale: float = 1.0
    offset: float = 0.0


Columns = Annotated[dict[str, ColumnConfig], Field(min_length=1)]


class _SourceConfig(Config):
    every: str = "1h"
    """How far apart the rows of a series are."""
    need: Fraction = 1.0
    """Fraction of an interval's rows (series times steps) without which the interval is not complete."""
    patience_s: Annotated[float, Field(ge=0)] | None = None
    """So many seconds after its end an interval is taken as it is; where absent, it is waited for."""
    resume_s: Annotated[float, Field(ge=0)] = 3600
    """Answers of a collection that broke off count so long when it is taken up again."""
    per_s: Positive = 2.0
    """Requests per second to one host, over all processes of the project."""
    burst: Annotated[int, Field(ge=1)] = 4
    """Requests that may follow each other at once."""
    daily: Annotated[int, Field(ge=1)] | None = None
    """Requests per day to one address that the source allows."""
    daily_zone: str = "UTC"
    """Time zone in whose midnight the daily count begins anew."""
    http: HttpConfig = HttpConfig()

    @field_validator("every")
    @classmethod
    def _known_every(cls, value: str) -> str:
        from sanmaru.pipelines.intervals import Every

        Every.parse(value)
        return value

    @field_validator("daily_zone", "zone", check_fields=False)
    @classmethod
    def _known_zone(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (ZoneInfoNotFoundError, ValueError):
            raise ValueError(f"unknown time zone {value!r}. Write a name such as Asia/Seoul or UTC.") from None
        return value

    @field_validator("columns", mode="before", check_fields=False)
    @classmethod
    def _bare_names(cls, value: Any) -> Any:
        return (
            {k: {"name": v} if isinstance(v, str) else v for k, v in value.items()}
            if isinstance(value, dict)
            else value
        )

    @field_validator("columns", check_fields=False)
    @classmethod
    def _distinct(cls, value: dict[str, ColumnConfig]) -> dict[str, ColumnConfig]:
        names = [column.name for column in value.values()]
        twice = {name for name in names if names.count(name) > 1} | ({"series", "time", "known", "seen"} & set(names))
        if twice:
            raise ValueError(
                f"{', '.join(sorted(twice))} can name no column here, or names two. Give each its own name."
            )
        return value


class OpenMeteoConfig(_SourceConfig):
    """Open-Meteo: weather and air quality of models for any place, without a key."""

    kind: Literal["open-meteo"]
    api: Literal["forecast", "archive", "air-quality"] = "forecast"
    """`forecast` and `air-quality` also give what lies ahead; `archive` is reanalysis, some days late."""
    places: Annotated[dict[str, tuple[float, float]], Field(min_length=1)]
    """Series to (latitude, longitude)."""
    columns: Columns
    """Hourly variables of the API to columns."""
    ahead_days: Annotated[int, Field(ge=0, le=16)] = 3
    """Days of forecast to ask for; `archive` has none."""
    models: str | None = None
    """Which models to take, where not the API's own choice."""
    url: str | None = None
    """Another server than Open-Meteo's own."""
    per_s: Positive = 5.0
    daily: Annotated[int, Field(ge=1)] | None = 10_000


class _DataGoKrConfig(_SourceConfig):
    key_env: str = "DATA_GO_KR_KEY"
    """Environment variable that holds the service key; encoded and decoded keys are both understood."""
    daily: Annotated[int, Field(ge=1)] | None = 500
    """What a development account may ask of one operation in a day; set yours."""
    daily_zone: str = "Asia/Seoul"


class AsosConfig(_DataGoKrConfig):
    """Hourly observations of the Korean weather service's stations (ASOS), up to yesterday."""

    kind: Literal["asos"]
    stations: Annotated[dict[str, int], Field(min_length=1)]
    """Series to station number, such as {seoul: 108}."""
    columns: Columns = Field(
        default_factory=lambda: {
            "ta": ColumnConfig(name="temperature", unit="°C"),
            "rn": ColumnConfig(name="rain", unit="mm"),
            "ws": ColumnConfig(name="wind_speed", unit="m/s"),
            "wd": ColumnConfig(name="wind_direction", unit="°"),
            "hm": ColumnConfig(name="humidity", unit="%"),
            "pa": ColumnConfig(name="pressure", unit="hPa"),
            "ps": ColumnConfig(name="sea_pressure", unit="hPa"),
        }
    )
    """Fields of the API to columns."""
    blank_is_zero: tuple[str, ...] = ()
    """Fields whose blank means none, such as rn for hours without rain. Elsewhere a blank is a missing value."""
    url: str = "http://apis.data.go.kr/1360000/AsosHourlyInfoService/getWthrDataList"


class AirKoreaConfig(_DataGoKrConfig):
    """Hourly measurements of AirKorea's stations, up to three months back."""

    kind: Literal["airkorea"]
    stations: tuple[str, ...] = ()
    """Names of stations; one request each."""
    sido: tuple[str, ...] = ()
    """Names of provinces such as 서울: all of their stations with one request each, the newest hour only."""
    columns: Columns = Field(
        default_factory=lambda: {
            "pm10": ColumnConfig(name="pm10", unit="µg/m³"),
            "pm25": ColumnConfig(name="pm25", unit="µg/m³"),
            "o3": ColumnConfig(name="o3", unit="ppm"),
            "no2": ColumnConfig(name="no2", unit="ppm"),
            "co": ColumnConfig(name="co", unit="ppm"),
            "so2": ColumnConfig(name="so2", unit="ppm"),
        }
    )
    """What is measured (pm10 of pm10Value, pm10Flag) to columns."""
    ver: str = "1.5"
    """Version of the operation; without one PM2.5 is left out of the answer."""
    url: str = "http://apis.data.go.kr/B552584/ArpltnInforInqireSvc"

    @model_validator(mode="after")
    def _one_of(self) -> AirKoreaConfig:
        if bool(self.stations) == bool(self.sido):
            raise ValueError("airkorea takes either stations: (names) or sido: (provinces such as 서울)")
        return self


class _CsvConfig(_SourceConfig):
    encoding: str | None = None
    """Of the text; UTF-8 or, where it is not that, cp949."""
    time: tuple[str, ...] = ("time",)
    """Columns whose texts, joined by a blank, are the time."""
    form: str = "%Y-%m-%d %H:%M"
    """How that is written, as Python's `strptime` knows it; hour 24 is midnight of the next day."""
    zone: str = "UTC"
    """Time zone of the time."""
    series: str | None = None
    """Column that names the series; where absent, all rows are of one, named `series_name`."""
    series_name: str = "all"
    columns: Columns
    """Columns of the file to columns."""
    missing: tuple[str, ...] = MISSING
    """Texts that stand for no value."""
    missing_codes: tuple[float, ...] = (-999.0, -9999.0)
    """Numbers that stand for no value."""

    @field_validator("time", mode="before")
    @classmethod
    def _bare_time(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str) else value


class CityCsvConfig(_CsvConfig):
    """A csv file of a city's open data, by address or path."""

    kind: Literal["city-csv"]
    url: str | None = None
    path: str | None = None
    """File, relative to the project folder."""

    @model_validator(mode="after")
    def _one_of(self) -> CityCsvConfig:
        if (self.url is None) == (self.path is None):
            raise ValueError("city-csv takes either url: or path:")
        return self


class ReplayConfig(_CsvConfig):
    """Recorded data, fed interval by interval as if it were measured now."""

    kind: Literal["replay"]
    path: str
    """A csv file or a folder of them, relative to the project folder; $NAME is read from the environment."""
    speed: Positive | None = None
    """Recorded seconds per real second; where absent, everything recorded has already arrived."""
    begin: str | None = None
    """Recorded time at which the replay starts when it is first asked; the first recorded row where absent."""
    patience_s: Annotated[float, Field(ge=0)] | None = 6 * 3600.0
    """So many recorded seconds after its end an interval is taken as it is, for what was lost never comes."""
    seed: int = 7
    late: Fraction = 0.0
    """Fraction of rows that arrive late."""
    late_s: Positive = 3600.0
    """Their mean lateness."""
    lost: Fraction = 0.0
    """Fraction of rows that never arrive."""
    revised: Fraction = 0.0
    """Fraction of rows whose first values are wrong and are put right later."""
    revised_after_s: Positive = 6 * 3600.0
    revised_by: Positive = 0.2
    """Standard deviation of the wrong factor's logarithm."""


SourceConfig = Annotated[
    OpenMeteoConfig | AsosConfig | AirKoreaConfig | CityCsvConfig | ReplayConfig, Field(discriminator="kind")
]
