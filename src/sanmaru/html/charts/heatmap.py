"""Matrices with numbers in their cells: confusion, correlation. Readable from 2 to 50 classes."""

from __future__ import annotations

from sanmaru.html.blocks import Heatmap
from sanmaru.html.charts.axes import nothing
from sanmaru.html.charts.scale import drawable
from sanmaru.html.charts.svg import FONT, WIDTH, fit, picture, tag, text, text_width
from sanmaru.html.numbers import percent, short

DARK = 0.68
"""Share of full colour from which a cell carries light text."""


def draw_heatmap(heatmap: Heatmap, width: float = WIDTH) -> str:
    """Draw a matrix. The drawing grows beyond `width` where the cells would become smaller than 15 px.

    Colour is the share of the row's sum (`per_row`) or of the largest magnitude; negative values have a colour of
    their own. Cells too small for their number show it to the pointer only.
    """
    n_rows, n_columns = len(heatmap.rows), len(heatmap.columns)
    label = (
        f"{heatmap.title}. Matrix of {n_rows} rows ({heatmap.row_label}) "
        f"and {n_columns} columns ({heatmap.column_label})."
    )
    if not n_rows or not n_columns:
        return picture(nothing(width, 120), width=width, height=120.0, label=label, kind="heatmap")
    names = min(max(text_width(name) for name in heatmap.rows) + 10, 130.0)
    left = names + 24
    cell = max(15.0, min(84.0, (width - left - 8) / n_columns))
    cell_height = min(cell, 52.0)
    upright = all(text_width(name) <= cell - 4 for name in heatmap.columns)
    top = 46.0 if upright else 32 + min(max(text_width(name) for name in heatmap.columns), 110.0) * 0.75
    right, bottom = left + cell * n_columns, top + cell_height * n_rows
    total_width = max(width, right + (8 if upright else 60))
    parts = [text((left + right) / 2, 13, heatmap.column_label, class_="label", text_anchor="middle")]
    turn = f"rotate(-90 {FONT} {(top + bottom) / 2:.1f})"
    shown = fit(heatmap.row_label, max(bottom - top, 60))
    parts.append(text(FONT, (top + bottom) / 2, shown, class_="label", text_anchor="middle", transform=turn))
    for column, name in enumerate(heatmap.columns):
        x = left + (column + 0.5) * cell
        if upright:
            parts.append(text(x, top - 8, name, class_="tick name", text_anchor="middle"))
        else:
            turn = f"rotate(-45 {x:.1f} {top - 6:.1f})"
            parts.append(text(x + 2, top - 6, fit(name, 110), class_="tick name", transform=turn))
    largest = max((abs(v) for row in heatmap.values for v in row if drawable(v)), default=0.0)
    for row, name in enumerate(heatmap.rows):
        y = top + row * cell_height
        parts.append(
            text(left - 8, y + cell_height / 2 + 4.5, fit(name, names - 8), class_="tick name", text_anchor="end")
        )
        values = heatmap.values[row] if row < len(heatmap.values) else ()
        whole = sum(v for v in values if drawable(v)) if heatmap.per_row else largest
        for column in range(min(n_columns, len(values))):
            x = left + column * cell
            value = float(values[column])
            share = 0.0
            if whole and drawable(value):
                share = min(1.0, abs(value) / abs(whole))
            parts.append(_cell(heatmap, row, column, share=share, box=(x, y, cell, cell_height)))
    note = "colour: share of the row" if heatmap.per_row else "colour: size of the value"
    parts.append(text(left, bottom + 20, note, class_="tick"))
    return picture(*parts, width=total_width, height=bottom + 28, label=label, kind="heatmap")


def _cell(heatmap: Heatmap, row: int, column: int, *, share: float, box: tuple[float, float, float, float]) -> str:
    x, y, cell, height = box
    value = float(heatmap.values[row][column])
    if not drawable(value):
        return tag("rect", x=x + 0.5, y=y + 0.5, width=cell - 1, height=height - 1, rx=2.0, class_="cell none")
    tip = f"{heatmap.row_label}: {heatmap.rows[row]}\n{heatmap.column_label}: {heatmap.columns[column]}\n{short(value)}"
    if heatmap.per_row:
        tip += f" ({percent(share)} of the row)"
    sign = " negative" if value < 0 else ""
    diagonal = " diagonal" if heatmap.per_row and heatmap.rows[row] == heatmap.columns[column] else ""
    parts = [
        tag("rect", x=x + 0.5, y=y + 0.5, width=cell - 1, height=height - 1, rx=2.0, class_="cell none"),
        tag(
            "rect",
            x=x + 0.5,
            y=y + 0.5,
            width=cell - 1,
            height=height - 1,
            rx=2.0,
            class_=f"cell heat{sign}{diagonal}",
            fill_opacity=round(0.02 + 0.98 * share, 3) if value else 0.0,
            data_tip=tip,
        ),
    ]
    shown = short(value, 2 if cell < 44 else 3)
    font = 13 if cell >= 34 else 11
    if cell >= 20 and text_width(shown, font) <= cell - 2 and (value or cell >= 34):
        classes = "in dark" if share > DARK else "in"
        if not value:
            classes += " zero"
        parts.append(
            text(
                x + cell / 2, y + height / 2 + font * 0.36, shown, class_=classes, text_anchor="middle", font_size=font
            )
        )
    return "".join(parts)
