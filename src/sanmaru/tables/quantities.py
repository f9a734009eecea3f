"""Numbers as people write them: thousands set off by commas, units, currencies, percent, 만 and 억.

A column's unit is told once, from all of its cells, and kept with the column: `84.9㎡` is 84.9 where the unit is
㎡, and in no other column. Nothing is converted, except Korean amounts in 만, 억 and 조, which become won.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence

WON = "원"
"""The unit of amounts written with 만, 억 and 조."""

_NUMBER = r"[+-]?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d*)?(?:[eE][+-]?\d{1,3})?|[+-]?\.\d+"
_PLAIN = re.compile(_NUMBER)
_STRICT = _NUMBER.replace(r"\.\d*", r"\.\d+")
"""Without a lone point at the end, so that `1.png` is no number of a unit `png`."""
_SUFFIXED = re.compile(rf"({_STRICT})\s*([^\d\s.,+-](?:[^\d,]*[^\s,])?[23]?)")
_PREFIXED = re.compile(rf"([+-]?)\s*([^\d\s.,+-][^\d.,+-]{{0,3}}?)\s*({_NUMBER})")
_PIECE = re.compile(r"\s*(\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?)?\s*([조억만천백])?")
_DECIMALS = re.compile(r"\d\.\d")
_KOREAN_SIGN = re.compile(r"\d\s*(조|억|만|천만)")
_LARGE = {"조": 1e12, "억": 1e8, "만": 1e4}
_SMALL = {"천": 1000.0, "백": 100.0, None: 1.0}

_CURRENCIES = "$ € £ ¥ ₩ 원 천원 백만원 달러 엔 유로 USD KRW EUR JPY GBP US$ won dollars"
_UNITS = (
    "mm cm m km in ft yd mi inch inches feet miles 미터 m2 cm2 km2 ha 평 제곱미터 sqft sqm m3 cm3 ml mL l "
    "L cc kl mg g kg t ton tons lb lbs oz 그램 킬로그램 킬로 톤 ms s sec secs min mins h hr hrs hour "
    "hours minute minutes second seconds day days week weeks month months year years yr yrs yo 초 분 시간 "
    "일 주 개월 년 년차 세 살 % %p percent pct 퍼센트 °C °F °c ℃ ℉ C° ° deg 도 km/h m/s mph kph W kW MW "
    "Wh kWh MWh V kV A mA mAh Hz kHz MHz GHz B KB MB GB TB KiB MiB GiB Mbps hPa Pa kPa bar psi mmHg ppm "
    "ppb ug/m3 μg/m3 mg/m3 mg/dl mg/dL mmol/l mmol/L g/L g/l kg/m2 dB px dpi cal kcal x 배 개 명 건 회 번 "
    "대 층 인 인분 가구 세대 권 장 마리 병 쪽 편 개소 곳 점 pcs pc ea room rooms person persons people "
    "item items unit units time times piece pieces bed beds bedroom bedrooms bath baths door doors seats "
    "pages floors ℓ"
)
_KNOWN = {unicodedata.normalize("NFKC", unit) for unit in f"{_CURRENCIES} {_UNITS}".split()}


def normal(text: str) -> str:
    """Return a text in its plain form: full-width digits and `㎡` become `12` and `m2`, the minus sign a hyphen."""
    if text.isascii():
        return text
    return unicodedata.normalize("NFKC", text).replace("−", "-").replace("–", "-").replace("￦", "₩").strip()


def find_unit(cells: Sequence[str], share: float, *, sure: bool = False) -> str | None:
    """Return the unit in which at least `share` of the cells are numbers, or None.

    Cells without a unit count as well, but most must have one. Names such as `101동` are no quantities: a word that is
    not known as a unit is taken for one only where every cell has it and some number has decimals.

    Args:
        cells: Texts without blanks around.
        share: Fraction in (0, 1].
        sure: Whether the cells are known to be quantities, so that any word is taken for a unit.
    """
    if not cells:
        return None
    if sum(bool(_KOREAN_SIGN.search(cell)) for cell in cells) > len(cells) / 2:
        return WON if sum(read(cell, WON) is not None for cell in cells) >= share * len(cells) else None
    found: Counter[str] = Counter()
    spelled: dict[str, str] = {}
    decimals = False
    for cell in cells:
        text = normal(cell)
        match = _SUFFIXED.fullmatch(text)
        unit = match.group(2) if match else None
        if match is None and (match := _PREFIXED.fullmatch(text)) is not None:
            unit = match.group(2).strip() if _is_currency(match.group(2)) else None
        if unit is not None:
            found[unit] += 1
            spelled.setdefault(unit, _spelling(cell, unit))
            decimals = decimals or bool(_DECIMALS.search(text))
    if not found:
        return None
    unit, count = found.most_common(1)[0]
    known = sure or unit in _KNOWN or (decimals and count == len(cells))
    if not known or count <= len(cells) / 2:
        return None
    name = spelled[unit]
    return name if sum(read(cell, name) is not None for cell in cells) >= share * len(cells) else None


def read(text: str, unit: str | None = None) -> float | None:
    """Read a number as people write it, or return None for a text that is none.

    Args:
        text: Without blanks around.
        unit: The column's unit, which may stand behind the number or, as currencies do, before it.

    >>> read("1,234.5"), read("84.9㎡", "㎡"), read("3억 5,000만원", "원"), read("84.9㎡"), read("5 km", "m")
    (1234.5, 84.9, 350000000.0, None, None)
    """
    plain = normal(text)
    if _PLAIN.fullmatch(plain):
        return float(plain.replace(",", ""))
    if unit is None:
        return None
    wanted = normal(unit)
    if wanted == WON and (amount := _won(plain)) is not None:
        return amount
    match = _SUFFIXED.fullmatch(plain)
    if match is not None and match.group(2) == wanted:
        return float(match.group(1).replace(",", ""))
    match = _PREFIXED.fullmatch(plain)
    if match is not None and match.group(2).strip() == wanted:
        value = float(match.group(3).replace(",", ""))
        if match.group(1) and match.group(3)[0] in "+-":
            return None
        return -value if match.group(1) == "-" else value
    return None


def _won(plain: str) -> float | None:
    """Read an amount such as 3억 5천만원: each piece is a number, a sign, or both; signs stand from large to small."""
    negative, body = plain.startswith("-"), plain.lstrip("+-").removeprefix("₩").removesuffix("원").strip()
    if len(plain) - len(plain.lstrip("+-")) > 1 or not body:
        return None
    place, total, section = 0, 0.0, 0.0
    lowest = float("inf")
    while place < len(body):
        match = _PIECE.match(body, place)
        if match is None or match.end() == place:
            return None
        place = match.end()
        digits, sign = match.groups()
        value = float(digits.replace(",", "")) if digits else None
        if sign in _LARGE:
            section += value or 0.0
            if not section or _LARGE[sign] >= lowest:
                return None
            lowest = _LARGE[sign]
            total, section = total + section * lowest, 0.0
        elif value is None:
            return None
        else:
            section += value * _SMALL[sign]
    if section and _LARGE["만"] < lowest < float("inf") and not plain.endswith("원"):
        return None  # 3억 5000 may mean 5000만 or 5000원
    total += section
    return -total if negative else total


def _is_currency(text: str) -> bool:
    return text.strip() in {unicodedata.normalize("NFKC", word) for word in _CURRENCIES.split()}


def _spelling(cell: str, unit: str) -> str:
    """The unit as the cell writes it, where that is a single piece of it."""
    outside = re.sub(r"^[\d.,+\-\s]*|[\d.,+\-\s]*$", "", cell)
    return outside if normal(outside) == unit else unit
