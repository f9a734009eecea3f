import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sanmaru.html.numbers import compact, duration, percent, short, size


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0, "0"),
        (-0.0, "0"),
        (1_234_567, "1,234,567"),
        (1961, "1961"),
        (0.98461, "0.9846"),
        (0.99997, "0.99997"),
        (-0.999999, "−0.999999"),
        (-12.345, "−12.35"),
        (1e-9, "1e-09"),
        (1e20, "1e+20"),
        (math.nan, "–"),
        (math.inf, "∞"),
        (-math.inf, "−∞"),
    ],
)
def test_short_numbers(value, expected):
    assert short(value) == expected


@given(st.floats(min_value=-1e307, max_value=1e307))
def test_short_keeps_a_number_to_four_digits(value):
    back = float(short(value).replace(",", "").replace("−", "-"))
    assert back == pytest.approx(value, rel=6e-2 if abs(value) >= 1e15 or abs(value) < 1e-4 else 1e-3, abs=1e-300)


@given(st.floats(min_value=0, max_value=1))
def test_a_percentage_is_zero_or_a_hundred_only_when_it_is(fraction):
    assert (percent(fraction) == "0 %") == (fraction == 0)
    assert (percent(fraction) == "100 %") == (fraction * 100 == 100)


def test_axis_labels_have_the_decimals_their_step_needs():
    assert [compact(v, 0.25) for v in (0, 0.25, 0.5)] == ["0", "0.25", "0.50"]
    assert [compact(v, 5e5) for v in (5e5, 1e6, 1.5e6)] == ["500k", "1M", "1.5M"]
    assert [compact(v, 1) for v in (202_201, 202_202)] == ["202,201", "202,202"]
    assert compact(1980, 20) == "1980"
    assert compact(-40, 20) == "−40"


def test_sizes_and_durations():
    assert [size(n) for n in (12, 1500, 2_500_000, 3e9)] == ["12 B", "1.5 kB", "2.5 MB", "3 GB"]
    assert [duration(s) for s in (0.5, 59, 61, 3600)] == ["0.5 s", "59 s", "1 min 1 s", "1 h 0 min"]
