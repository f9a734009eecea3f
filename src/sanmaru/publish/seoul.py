"""The 25 districts of Seoul: their names in both languages and their places in a map of tiles."""

from __future__ import annotations

from sanmaru.publish.state import SeriesInfo, Words

_DISTRICTS = """
1 5 도봉구 Dobong
2 3 은평구 Eunpyeong
2 4 강북구 Gangbuk
2 5 성북구 Seongbuk
2 6 노원구 Nowon
3 1 강서구 Gangseo
3 2 마포구 Mapo
3 3 서대문구 Seodaemun
3 4 종로구 Jongno
3 5 동대문구 Dongdaemun
3 6 중랑구 Jungnang
4 1 양천구 Yangcheon
4 2 영등포구 Yeongdeungpo
4 3 용산구 Yongsan
4 4 중구 Jung
4 5 성동구 Seongdong
4 6 광진구 Gwangjin
4 7 강동구 Gangdong
5 1 구로구 Guro
5 2 금천구 Geumcheon
5 3 동작구 Dongjak
5 4 서초구 Seocho
5 5 강남구 Gangnam
5 6 송파구 Songpa
6 3 관악구 Gwanak
"""


def seoul_districts() -> list[SeriesInfo]:
    """Return the districts, in the order of their Korean names."""
    found = []
    for line in _DISTRICTS.strip().splitlines():
        row, column, korean, english = line.split()
        found.append(SeriesInfo(id=korean, label=Words(f"{english}-gu", korean), place=(int(row), int(column))))
    return sorted(found, key=lambda one: one.id)
