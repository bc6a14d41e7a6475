"""Draw curves as SVG files that stand alone: no script, no font and no style from elsewhere."""

import re
from math import ceil, log10
from pathlib import Path

import pygal
from pygal.style import Style

from tests.bench.report import Curve

STYLE = Style(
    background="white",
    plot_background="white",
    foreground="#333",
    foreground_strong="#111",
    foreground_subtle="#999",
    font_family="sans-serif",
    label_font_size=13,
    major_label_font_size=13,
    legend_font_size=14,
    title_font_size=18,
    guide_stroke_color="#ccc",
    major_guide_stroke_color="#999",
    colors=("#0b6e99", "#c8553d", "#588b3b", "#7a4fa3", "#b8860b"),
)


def draw(curve: Curve, folder: Path) -> Path:
    """Write one curve and return its file."""
    points = [point for line in curve.lines for point in line.points]
    across = Axis([x for x, _ in points], logarithmic=curve.logarithmic_x)
    up = Axis([y for _, y in points], logarithmic=curve.logarithmic_y)
    chart = pygal.XY(
        style=STYLE,
        js=[],
        no_prefix=True,
        width=800,
        height=480,
        title=curve.title,
        x_title=curve.x,
        y_title=curve.y,
        xrange=across.range,
        range=up.range,
        x_labels=across.labels,
        y_labels=up.labels,
        value_formatter=up.text,
        x_value_formatter=across.text,
        legend_at_bottom=True,
        truncate_legend=-1,
        dots_size=3,
        stroke_style={"width": 2},
    )
    for line in curve.lines:
        chart.add(line.name, [(across.place(x), up.place(y)) for x, y in line.points])
    file = folder / f"{curve.name}.svg"
    file.write_text(_alone(chart.render(is_unicode=True)), encoding="utf-8")
    return file


class Axis:
    """The places of values on an axis, and its round labels.

    pygal's own logarithm would apply to both axes.
    """

    def __init__(self, values: list[float], *, logarithmic: bool) -> None:
        self.logarithmic = logarithmic
        ticks = _decades(min(values), max(values)) if logarithmic else _steps(max(values))
        self.labels = [{"label": f"{tick:,}", "value": self.place(tick)} for tick in ticks]
        self.range = self.place(ticks[0]), self.place(ticks[-1])

    def place(self, value: float) -> float:
        return log10(value) if self.logarithmic else value

    def text(self, place: float) -> str:
        return f"{10**place if self.logarithmic else place:,.0f}"


def _decades(least: float, most: float) -> list[int]:
    """Return 1, 2, 5, 10, …, from the last one not above the least to the first above the most."""
    ticks = [part * 10**power for power in range(9) for part in (1, 2, 5)]
    first = max(place for place, tick in enumerate(ticks) if tick <= max(1, least))
    last = min(place for place, tick in enumerate(ticks) if tick >= most)
    return ticks[first : last + 1]


def _steps(most: float) -> list[int]:
    """Return zero and at most ten equal round steps, up to the first that is not below the most."""
    step = next(tick for tick in _decades(1, most + 1) if tick * 10 >= most)
    return list(range(0, ceil(most / step) * step + 1, step))


def _alone(svg: str) -> str:
    """Remove pygal's script, and the comment with its addresses."""
    return re.sub(r"<script.*?</script>|<!--.*?-->", "", svg, flags=re.DOTALL)
