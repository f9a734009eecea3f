"""Swarms stay well-formed drawings for any numbers and names."""

from __future__ import annotations

import math
import xml.etree.ElementTree as ET

from hypothesis import given, settings
from hypothesis import strategies as st

from sanmaru.html.blocks import Swarm
from sanmaru.html.charts.swarm import draw_swarm
from sanmaru.html.draw import draw_block

numbers = st.floats() | st.sampled_from([0.0, -1.0, 1e308, math.nan, math.inf])
shades = st.none() | st.floats(0, 1) | st.just(math.nan)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.text(max_size=12), st.lists(st.tuples(numbers, shades), max_size=9)), max_size=3))
def test_any_numbers_are_drawn(rows):
    swarm = Swarm(
        title="t",
        x_label="x",
        rows=[(name, [value for value, _ in points], [shade for _, shade in points]) for name, points in rows],
    )
    root = ET.fromstring(draw_swarm(swarm))
    width, height = (float(value) for value in root.attrib["viewBox"].split()[2:])
    assert root.attrib["role"] == "img"
    for path in (one for one in root.iter() if "d" in one.attrib):
        for step in path.attrib["d"].split("M")[1:]:
            x, y = (float(value) for value in step.removesuffix("h0").split())
            assert 0 <= x <= width
            assert 0 <= y <= height


def test_points_at_one_place_are_put_above_and_below_each_other():
    drawn = draw_block(Swarm(title="t", x_label="x", rows=[("a", [1.0, 1.0, 1.0, 0.0], [0.0, 0.0, 0.0, None])]))
    path = drawn.split('class="cloud swarm sh0"')[0].rsplit('d="', 1)[1]
    heights = {step.split(" ")[1] for step in path.split("h0")[:3]}
    assert len(heights) == 3
    assert "cloud swarm none" in drawn
