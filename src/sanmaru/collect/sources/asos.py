"""Hourly observations of the Korean weather service's synoptic stations (ASOS).

Service 15057210 of www.data.go.kr, AsosHourlyInfoService/getWthrDataList. Parameters and fields (tm, stnId, ta,
taQcflg, rn, ws, wd, hm, pv, td, pa, ps, ss, icsr, dsnw, vs, ts ...), the page limit of 999 rows, and code 99 for a
day that has not ended are those that public clients of the service agree on. Units: °C, mm, m/s, degrees, %, hPa,
hours, MJ/m², cm, 10 m. Quality flags: blank or 0 is normal, 1 an error, 9 missing; for this one public client was
found and no page of the service itself. What a blank `rn` means was not found either: it is a missing value here
unless `blank_is_zero` names it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from zoneinfo import ZoneInfo

from sanmaru.collect.base import Answer, Parsed, Request, Span
from sanmaru.collect.config import AsosConfig
from sanmaru.collect.sources import data_go_kr
from sanmaru.collect.values import Rows, moment, number
from sanmaru.pipelines.context import NotReady

SEOUL = ZoneInfo("Asia/Seoul")
CODES = (-99.0, -99.9, -999.0, -999.9, -9999.0)
"""Numbers that stand for a missing value in every field."""
NEVER_NEGATIVE = frozenset({"rn", "ws", "wd", "hm", "pv", "pa", "ps", "ss", "icsr", "dsnw", "hr3Fhsc", "vs"})
"""In these -9 is a missing value, too; as a temperature it is a cold morning."""
BAD_FLAGS = {"1": "error", "9": "missing"}


class Asos(data_go_kr.BaseDataGoKr):
    """ASOS as a source.

    Args:
        config: Its part of the project file.
    """

    def __init__(self, config: AsosConfig) -> None:
        super().__init__(config.key_env)
        self.config = config

    def expected(self) -> Sequence[str]:
        """Return the stations."""
        return tuple(self.config.stations)

    def requests(self, span: Span) -> list[Request]:
        """Return one request per station.

        Raises:
            NotReady: for a day that has not ended in Seoul.
        """
        first, last = span.start.astimezone(SEOUL), (span.end - timedelta(hours=1)).astimezone(SEOUL)
        if last.date() >= span.now.astimezone(SEOUL).date():
            raise NotReady(f"the station data of {last:%Y-%m-%d} (Seoul) comes on the next day")
        period = {
            "startDt": f"{first:%Y%m%d}",
            "startHh": f"{first:%H}",
            "endDt": f"{last:%Y%m%d}",
            "endHh": f"{last:%H}",
        }
        return [self._page(1, {**period, "stnIds": str(station)}) for station in self.config.stations.values()]

    def following(self, answer: Answer, page: int) -> Request:
        """Return the request of a further page."""
        return self._page(page, answer.request.params)

    def parse(self, answer: Answer) -> Parsed:
        """Return the rows; a value whose flag says error or missing is missing, and the flag stays."""
        names = {str(station): series for series, station in self.config.stations.items()}
        columns = [column.name for column in self.config.columns.values()]
        rows = Rows(columns, [f"{name}.flag" for name in columns])
        for place, item in enumerate(data_go_kr.items(answer)[0]):
            if not isinstance(item, dict):
                rows.aside(place, "item", item, "no-item", "this is no record of fields")
                continue
            series = names.get(str(item.get("stnId", "")).strip())
            if series is None:
                rows.aside(place, "stnId", item.get("stnId"), "unknown-series", "the station is not among stations:")
                continue
            try:
                time = moment(str(item.get("tm", "")).strip(), "%Y-%m-%d %H:%M", SEOUL)
            except ValueError as error:
                rows.aside(place, "tm", item.get("tm"), "no-time", str(error), series)
                continue
            rows.add(place, series, time, self._values(rows, place, series, item))
        table, quarantine = rows.finish()
        return Parsed(rows=table, quarantine=quarantine)

    def _values(self, rows: Rows, place: int, series: str, item: Mapping[str, object]) -> dict[str, float | str | None]:
        values: dict[str, float | str | None] = {}
        for field, column in self.config.columns.items():
            flag = str(item.get(f"{field}Qcflg") or "").strip()
            if flag not in ("", "0"):
                values[f"{column.name}.flag"] = BAD_FLAGS.get(flag, flag)
            cell = item.get(field)
            if field in self.config.blank_is_zero and str(cell or "").strip() == "" and flag not in BAD_FLAGS:
                cell = 0
            try:
                value = number(cell, codes=CODES)
            except ValueError as error:
                rows.aside(place, field, cell, "not-a-number", str(error), series)
                continue
            if flag in BAD_FLAGS or (value is not None and value < 0 and field in NEVER_NEGATIVE):
                value = None
            values[column.name] = None if value is None else value * column.scale + column.offset
        return values

    def _page(self, page: int, params: Mapping[str, str]) -> Request:
        fixed = {"dataType": "JSON", "dataCd": "ASOS", "dateCd": "HR", "numOfRows": str(data_go_kr.PAGE_ROWS)}
        return Request(url=self.config.url, params={**params, **fixed, "pageNo": str(page)}, page=page)
