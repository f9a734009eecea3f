"""Charts: pure functions from a record of `html.blocks` to SVG text, coloured by the page's style sheet."""

from sanmaru.html.charts.bars import draw_bars
from sanmaru.html.charts.heatmap import draw_heatmap
from sanmaru.html.charts.histogram import draw_histogram
from sanmaru.html.charts.lines import draw_lines
from sanmaru.html.charts.swarm import draw_swarm

__all__ = ["draw_bars", "draw_heatmap", "draw_histogram", "draw_lines", "draw_swarm"]
