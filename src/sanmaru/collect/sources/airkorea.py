"""Hourly measurements of AirKorea's stations.

Service 15073861 of www.data.go.kr, ArpltnInforInqireSvc: getMsrstnAcctoRltmMesureDnsty (stationName, dataTerm
DAILY, MONTH or 3MONTH) and getCtprvnRltmMesureDnsty (sidoName, the newest hour). Fields, units and grades as in the
description at http://openin.inissoft.com/apiStore/info/msrstnAcctoRltmMesureDnsty: pm10Value and pm25Value in
µg/m³, o3Value, no2Value, coValue, so2Value in ppm, and for each a flag that is null or 점검및교정, 장비점검,
자료이상, 통신장애; a missing value is "-". `dataTime` is Seoul's time and calls midnight 24:00 of the day that
ends, as many public clients note.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from zoneinfo import ZoneInfo

from sanmaru.collect.base import Answer, CollectError, Parsed, Request, Span
from sanmaru.collect.config import AirKoreaConfig
from sanmaru.collect.sources import data_go_kr
from sanmaru.collect.values import Rows, moment, number

SEOUL = ZoneInfo("Asia/Seoul")
OF_STATION = "getMsrstnAcctoRltmMesureDnsty"
OF_SIDO = "getCtprvnRltmMesureDnsty"
_TERMS = ((timedelta(hours=23), "DAILY"), (timedelta(days=28), "MONTH"), (timedelta(days=88), "3MONTH"))
"""How far back each reaches, an hour or some days short of its name."""


class AirKorea(data_go_kr.BaseDataGoKr):
    """AirKorea as a source.

    Args:
        config: Its part of the project file.
    """

    def __init__(self, config: AirKoreaConfig) -> None:
        super().__init__(config.key_env)
        self.config = config

    def expected(self) -> Sequence[str]:
        """Return the stations; of provinces only the answers tell."""
        return self.config.stations

    def requests(self, span: Span) -> list[Request]:
        """Return one request per station or province.

        Raises:
            CollectError: for a span that lies further back than the service reaches.
        """
        age = span.now - span.start
        if self.config.sido:
            return [self._page(OF_SIDO, 1, {"sidoName": name}) for name in self.config.sido]
        term = next((name for reach, name in _TERMS if age <= reach), None)
        if term is None:
            raise CollectError(
                f"AirKorea gives the last three months, and {span.start:%Y-%m-%d %H:%M} UTC lies further back. Take "
                "the yearly files of www.airkorea.or.kr with a source of kind city-csv."
            )
        return [self._page(OF_STATION, 1, {"stationName": name, "dataTerm": term}) for name in self.config.stations]

    def following(self, answer: Answer, page: int) -> Request:
        """Return the request of a further page."""
        return self._page(answer.request.url.rsplit("/", 1)[-1], page, answer.request.params)

    def parse(self, answer: Answer) -> Parsed:
        """Return the rows; a value whose flag is set is missing, and the flag stays."""
        asked = answer.request.params.get("stationName")
        columns = [column.name for column in self.config.columns.values()]
        rows = Rows(columns, [f"{name}.flag" for name in columns])
        for place, item in enumerate(data_go_kr.items(answer)[0]):
            if not isinstance(item, dict):
                rows.aside(place, "item", item, "no-item", "this is no record of fields")
                continue
            series = asked or self._series(item)
            if not series:
                rows.aside(place, "stationName", item.get("stationName"), "unknown-series", "the station has no name")
                continue
            try:
                time = moment(str(item.get("dataTime") or "").strip(), "%Y-%m-%d %H:%M", SEOUL)
            except ValueError as error:
                rows.aside(place, "dataTime", item.get("dataTime"), "no-time", str(error), series)
                continue
            rows.add(place, series, time, self._values(rows, place, series, item))
        table, quarantine = rows.finish()
        return Parsed(rows=table, quarantine=quarantine)

    def _series(self, item: Mapping[str, object]) -> str:
        """Name of a station; with its province where several are asked, for Seoul and Busan each have a 중구."""
        name = str(item.get("stationName") or "").strip()
        return f"{item.get('sidoName')} {name}" if name and len(self.config.sido) > 1 else name

    def _values(self, rows: Rows, place: int, series: str, item: Mapping[str, object]) -> dict[str, float | str | None]:
        values: dict[str, float | str | None] = {}
        for measured, column in self.config.columns.items():
            flag = str(item.get(f"{measured}Flag") or "").strip()
            if flag:
                values[f"{column.name}.flag"] = flag
            try:
                value = number(item.get(f"{measured}Value"), codes=(-999.0,))
            except ValueError as error:
                rows.aside(place, f"{measured}Value", item.get(f"{measured}Value"), "not-a-number", str(error), series)
                continue
            if value is not None and value < 0:
                rows.aside(place, f"{measured}Value", value, "negative", "a concentration is not below 0", series)
                value = None
            values[column.name] = None if flag or value is None else value * column.scale + column.offset
        return values

    def _page(self, operation: str, page: int, params: Mapping[str, str]) -> Request:
        fixed = {"returnType": "json", "numOfRows": str(data_go_kr.PAGE_ROWS), "ver": self.config.ver}
        url = f"{self.config.url.rstrip('/')}/{operation}"
        return Request(url=url, params={**params, **fixed, "pageNo": str(page)}, page=page)
