"""Charts stay well-formed drawings for any numbers and any names."""

import math
import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sanmaru.html.blocks import Bars, Heatmap, Histogram, Lines
from sanmaru.html.charts import draw_bars, draw_heatmap, draw_histogram, draw_lines
from sanmaru.html.charts.scale import Scale, domain, drawable, rounded, ticks
from sanmaru.html.charts.svg import clean, fit, text_width

SVG = "{http://www.w3.org/2000/svg}"
numbers = st.floats() | st.sampled_from([0.0, -1.0, 1e308, -1e308, 5e-324, 1e-12, math.nan, math.inf]) | st.integers()
names = st.text(max_size=12)
quick = settings(max_examples=60, deadline=None)


def parsed(svg: str) -> ET.Element:
    """Parse a drawing and check what every chart promises: finite coordinates inside, a label for screen readers."""
    root = ET.fromstring(svg)
    width, height = (float(v) for v in root.attrib["viewBox"].split()[2:])
    assert root.attrib["role"] == "img"
    assert root.attrib["aria-label"]
    for element in root.iter():
        for key in ("x", "cx", "x1", "x2"):
            if key in element.attrib:
                assert -0.01 <= float(element.attrib[key]) <= width + 0.01
        for key in ("y", "cy", "y1", "y2"):
            if key in element.attrib:
                assert -0.01 <= float(element.attrib[key]) <= height + 0.01
        for key in ("width", "height", "r"):
            if key in element.attrib:
                assert float(element.attrib[key]) >= 0
        for x, y in re.findall(r"(-?[\d.]+),(-?[\d.]+)", element.attrib.get("points", "")):
            assert 0 <= float(x) <= width
            assert 0 <= float(y) <= height
    assert "nan" not in re.sub(r'(aria-label|data-tip)="[^"]*"', "", svg).lower().replace("−", "")
    return root


@quick
@given(
    st.lists(st.tuples(names, st.lists(st.tuples(numbers, numbers), max_size=8)), max_size=3),
    st.booleans(),
    st.booleans(),
)
def test_lines_are_drawn_for_any_numbers(series, diagonal, points):
    lines = Lines(
        title="t",
        x_label="x",
        y_label="y",
        series=[(name, [x for x, _ in pairs], [y for _, y in pairs]) for name, pairs in series],
        diagonal=diagonal,
        points=points,
    )
    svg = draw_lines(lines)
    ET.fromstring(svg)
    if all(drawable(v) for _, pairs in series for pair in pairs for v in pair):
        parsed(svg.replace("nan", "")) if "nan" in svg else parsed(svg)


@quick
@given(st.lists(st.tuples(names, numbers), max_size=9), st.booleans(), st.booleans())
def test_bars_are_drawn_for_any_numbers(rows, horizontal, dots):
    bars = Bars(
        title="t",
        labels=[name for name, _ in rows],
        series=[("a", [value for _, value in rows])],
        value_label="v",
        horizontal=horizontal,
        dots=dots,
        intervals=[(value, value) for _, value in rows],
    )
    ET.fromstring(draw_bars(bars))


@quick
@given(st.lists(numbers, max_size=7), st.lists(numbers, max_size=6))
def test_histograms_are_drawn_for_any_numbers(edges, counts):
    ET.fromstring(draw_histogram(Histogram(title="t", x_label="x", edges=edges, series=[("a", counts), ("b", counts)])))


@quick
@given(st.lists(names, max_size=5), st.data())
def test_heatmaps_are_drawn_for_any_numbers(labels, data):
    row = st.lists(numbers, min_size=len(labels), max_size=len(labels))
    values = data.draw(st.lists(row, min_size=len(labels), max_size=len(labels)))
    for per_row in (True, False):
        heatmap = Heatmap(
            title="t", row_label="r", column_label="c", rows=labels, columns=labels, values=values, per_row=per_row
        )
        ET.fromstring(draw_heatmap(heatmap))


def test_a_line_goes_through_its_points_in_order():
    root = parsed(draw_lines(Lines(title="t", x_label="x", y_label="y", series=[("a", [0, 1, 2], [0.0, 10.0, 5.0])])))
    line = root.find(f"{SVG}polyline")
    points = [tuple(map(float, pair.split(","))) for pair in line.attrib["points"].split()]
    xs, ys = zip(*points, strict=True)
    assert list(xs) == sorted(xs)
    assert ys[1] < ys[2] < ys[0]  # up is smaller in SVG
    assert xs[1] - xs[0] == pytest.approx(xs[2] - xs[1], abs=0.02)
    tips = [c.attrib["data-tip"] for c in root.iter(f"{SVG}circle")]
    assert tips[1] == "a\nx: 1\ny: 10"


def test_a_gap_breaks_the_line():
    nan = math.nan
    root = parsed(draw_lines(Lines(title="t", x_label="x", y_label="y", series=[("", range(5), [1, 2, nan, 3, 4])])))
    assert len(root.findall(f"{SVG}polyline")) == 2


def test_long_lines_are_thinned_and_keep_their_extremes():
    y = np.zeros(20_000)
    y[7_777] = 5.0
    root = parsed(draw_lines(Lines(title="t", x_label="x", y_label="y", series=[("", np.arange(20_000), y)])))
    points = root.find(f"{SVG}polyline").attrib["points"].split()
    assert len(points) <= 3000
    assert min(float(p.split(",")[1]) for p in points) < 20  # the peak is still there


def test_background_lines_take_the_colour_of_their_series():
    record = Lines(
        title="t",
        x_label="x",
        y_label="y",
        series=[("train", [1, 2], [1.0, 2.0]), ("valid", [1, 2], [2.0, 3.0])],
        background=[("valid", [1, 2], [2.5, 3.5])],
    )
    classes = [line.attrib["class"] for line in parsed(draw_lines(record)).findall(f"{SVG}polyline")]
    assert classes == ["line faint s1", "line s0", "line s1"]


def test_bars_begin_at_zero_and_are_as_long_as_their_value():
    record = Bars(title="t", labels=["a", "b", "c"], series=[("", [10.0, 5.0, -5.0])], value_label="rows")
    root = parsed(draw_bars(record))
    bars = {r.attrib["data-tip"].split("\n")[0]: r for r in root.iter(f"{SVG}rect") if "data-tip" in r.attrib}
    width = {name: float(bar.attrib["width"]) for name, bar in bars.items()}
    assert width["a"] == pytest.approx(2 * width["b"], abs=0.1)
    assert width["b"] == pytest.approx(width["c"], abs=0.1)
    # The negative bar ends where the positive ones begin.
    assert float(bars["c"].attrib["x"]) + width["c"] == pytest.approx(float(bars["a"].attrib["x"]), abs=0.1)


def test_dots_do_not_need_zero_on_the_axis():
    record = Bars(
        title="t", labels=["f0", "f1"], series=[("", [0.95, 0.96])], value_label="F1", dots=True,
        intervals=[(0.94, 0.96), (0.95, 0.97)],
    )  # fmt: skip
    root = parsed(draw_bars(record))
    ticks_shown = [float(t.text) for t in root.iter(f"{SVG}text") if t.attrib["class"] == "tick"]
    assert min(ticks_shown) >= 0.9
    assert len([line for line in root.iter(f"{SVG}line") if "whisker" in line.attrib["class"]]) == 2


def test_upright_bars_carry_values_and_names():
    record = Bars(title="t", labels=["유리", "paper"], series=[("", [3, 7])], value_label="rows", horizontal=False)
    texts = [t.text for t in parsed(draw_bars(record)).iter(f"{SVG}text")]
    assert {"유리", "paper", "3", "7"} <= set(texts)


def test_histogram_bars_stand_between_their_edges():
    root = parsed(draw_histogram(Histogram(title="t", x_label="x", edges=[0, 1, 3], series=[("", [4, 8])])))
    first, second = [r for r in root.iter(f"{SVG}rect") if "data-tip" in r.attrib]
    assert float(second.attrib["height"]) == pytest.approx(2 * float(first.attrib["height"]), abs=0.1)
    assert float(second.attrib["width"]) == pytest.approx(2 * float(first.attrib["width"]), abs=2)


@pytest.mark.parametrize("n", [2, 6, 10, 25, 50])
def test_confusion_is_drawn_from_2_to_50_classes(n):
    labels = [f"class {i}" for i in range(n)]
    values = np.eye(n) * 40 + 1
    record = Heatmap(title="t", row_label="true", column_label="predicted", rows=labels, columns=labels, values=values)
    root = parsed(draw_heatmap(record, 960))
    cells = [r for r in root.iter(f"{SVG}rect") if "heat" in r.attrib["class"]]
    assert len(cells) == n * n
    assert min(float(c.attrib["width"]) for c in cells) >= 14
    by_share = [float(c.attrib["fill-opacity"]) for c in cells]
    assert max(by_share) == by_share[0]  # the diagonal is darkest
    assert f"true: class {n - 1}\npredicted: class {n - 1}\n41" in cells[-1].attrib["data-tip"]


def test_negative_correlations_have_their_own_colour():
    record = Heatmap(
        title="t", row_label="", column_label="", rows=["a"], columns=["a", "b"], values=[[0.5, -0.5]], per_row=False
    )
    classes = [
        r.attrib["class"] for r in parsed(draw_heatmap(record)).iter(f"{SVG}rect") if "heat" in r.attrib["class"]
    ]
    assert classes == ["cell heat", "cell heat negative"]


finite = st.floats(min_value=-1e300, max_value=1e300)


@quick
@given(st.lists(finite, max_size=6), st.booleans())
@example(values=[-5e-324], zero=True)
def test_domains_hold_their_values_and_are_never_empty(values, zero):
    low, high = domain(values, zero=zero)
    assert low < high
    assert all(low <= v <= high for v in values)
    assert not zero or low <= 0 <= high


@quick
@given(finite, finite)
def test_ticks_are_few_rising_and_inside(a, b):
    low, high = domain([a, b])
    found, step = ticks(low, high)
    assert 1 <= len(found) <= 12
    assert found == sorted(set(found))
    assert step > 0
    start, end = rounded(low, high)
    assert start < end


def test_ticks_fall_on_round_numbers():
    assert ticks(0, 97)[0] == [0, 20, 40, 60, 80]
    assert ticks(0.912, 0.948, 4)[0] == pytest.approx([0.92, 0.93, 0.94])
    assert ticks(1, 4, 6, whole=True)[0] == [1, 2, 3, 4]
    assert rounded(3, 97) == (0, 100)


def test_scale_clamps_to_its_ends():
    scale = Scale(0, 10, 100, 200)
    assert [scale(v) for v in (-5, 0, 5, 10, 99)] == [100, 100, 150, 200, 200]


def test_korean_text_is_twice_as_wide_and_is_cut_to_fit():
    assert text_width("가나") > 1.5 * text_width("ab")
    assert fit("전용면적(제곱미터)", 60).endswith("…")
    assert text_width(fit("전용면적(제곱미터)", 60)) <= 60
    assert clean("a\x00b\x1f") == "a\ufffdb\ufffd"
