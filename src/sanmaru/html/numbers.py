"""Numbers as people read them: few digits, thousands apart, no "nan"."""

from __future__ import annotations

import math

NOTHING = "–"


def short(value: float, digits: int = 4) -> str:
    """Write a number with about `digits` significant digits.

    >>> short(12345678), short(0.123456), short(3.0), short(1.5e-7), short(float("nan"))
    ('12,345,678', '0.1235', '3', '1.5e-07', '–')
    """
    value = float(value)
    if math.isnan(value):
        return NOTHING
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    size = abs(value)
    if value == int(value) and size < 1e15:
        return _minus(f"{int(value):,}" if size >= 10_000 else f"{int(value)}")
    if size >= 1e15 or size < 1e-4:
        return _minus(f"{value:.2g}")
    decimals = max(0, digits - 1 - math.floor(math.log10(size)))
    if size < 1:  # 0.99997 is not 1: a score reads as perfect only when it is
        while round(size, decimals) == 1 and decimals < 12:
            decimals += 1
    return _minus(_trim(f"{value:,.{decimals}f}"))


def percent(fraction: float, digits: int = 1) -> str:
    """Write a fraction as a percentage; what is not zero never reads as zero.

    >>> percent(0.5), percent(0.00001), percent(0.0), percent(0.99999)
    ('50 %', '< 0.1 %', '0 %', '> 99.9 %')
    """
    if not math.isfinite(fraction):
        return NOTHING
    smallest = 10.0**-digits
    value = fraction * 100
    if 0 < value < smallest:
        return f"< {smallest:g} %"
    if 100 - smallest < value < 100:
        return f"> {100 - smallest:g} %"
    return _minus(_trim(f"{value:.{digits}f}")) + " %"


def compact(value: float, step: float) -> str:
    """Write an axis label: as many decimals as neighbouring labels need, with k, M and G for large numbers.

    >>> compact(120_000, 20_000), compact(0.25, 0.05), compact(2_500_000, 500_000), compact(3e-6, 1e-6)
    ('120k', '0.25', '2.5M', '3e-06')
    """
    if value == 0:
        return "0"
    size = max(abs(value), abs(step))
    for limit, unit in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        factor = 1e3 if unit == "k" else limit
        # Neighbours such as 202,201 and 202,202 differ in digits that the unit would hide.
        if limit <= size < 1e13 and _decimals(step / factor) <= 2:
            return _minus(_trim(f"{value / factor:.{_decimals(step / factor)}f}")) + unit
    if size >= 1e13 or abs(step) < 1e-4:
        return _minus(f"{value:.3g}".replace("e+", "e"))
    return _minus(f"{value:{',' if size >= 1e4 else ''}.{_decimals(step)}f}")


def size(n_bytes: float) -> str:
    """Write a number of bytes.

    >>> size(123), size(5_400_000)
    ('123 B', '5.4 MB')
    """
    for limit, unit in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if n_bytes >= limit:
            return f"{_trim(f'{n_bytes / limit:.1f}')} {unit}"
    return f"{int(n_bytes)} B"


def duration(seconds: float) -> str:
    """Write a time span.

    >>> duration(0.42), duration(75), duration(7260)
    ('0.42 s', '1 min 15 s', '2 h 1 min')
    """
    if not math.isfinite(seconds):
        return NOTHING
    if seconds < 60:
        return f"{short(seconds, 2 if seconds < 10 else 3)} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min"


def _decimals(step: float) -> int:
    step = abs(step)
    if step == 0 or not math.isfinite(step):
        return 0
    # A step of 0.25 or 2.5 needs one digit more than its magnitude says.
    magnitude = math.floor(math.log10(step) + 1e-9)
    lead = step / 10.0**magnitude
    extra = 0 if abs(lead - round(lead)) < 1e-6 else 1
    return max(0, min(12, extra - magnitude))


def _trim(text: str) -> str:
    return text.rstrip("0").rstrip(".") if "." in text else text


def _minus(text: str) -> str:
    return "−" + text[1:] if text.startswith("-") else text
