"""Charts by day as SVG: no script, no style attribute, and a table that has every figure.

Shapes lie in an inner `svg` that is stretched to the width of the page, with strokes that are not.
Text and hatching lie outside of it at percentages, and stay as they are on a narrow screen:

    <svg class="chart" role="img" aria-labelledby="c-title c-desc"><title id="c-title">…
      <rect class="gap" x="50%" …/>                          what may lack usage
      <svg viewBox="0 0 60 1000" preserveAspectRatio="none">   ten units of width for each day
        <path class="mark mark-1" d="M1 400h8v600h-8z"/>      all bars of one series
      <text class="tick" x="0" y="12%">¥1M</text>

A day without a figure is blank, and has no row. A row whose day does not follow that of the row
before it says which one it is (`data-place`), for the script that reads the table. Figures are
integers, such as fen; how they are shown is told.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from html import escape
from typing import Final

HEIGHT: Final = 1_000  # of the inner drawing, from the top down
DAY: Final = 10  # its width for each day
TOP: Final = 6  # percent of the height above the drawing
DEPTH: Final = 84  # percent of the height that it takes; dates stand below
MAX_TICKS: Final = 4
MAX_DATES: Final = 4

Figures = Sequence[int | None]  # one for each day


@dataclass(frozen=True, slots=True)
class Series:
    """One figure for each day; `mark` is its colour, `is_line` a line instead of a bar."""

    name: str
    figures: Figures
    mark: int
    is_line: bool = False


@dataclass(frozen=True, slots=True)
class Band:
    """What lies between two lines, as a forecast's range does; each is straight between figures."""

    name: str
    low: Figures
    high: Figures


@dataclass(frozen=True, slots=True)
class Chart:
    """A chart of some days; `id` is unlike those of others on its page.

    `series` that are bars stand on each other. `gaps` are the places of days that may lack usage,
    `levels` figures with a name that do not change. `shown` writes a figure of the table, `ticked`
    one of the axis; `words` are the headings of date and table, and what a gap is called.
    """

    id: str
    title: str
    description: str
    days: Sequence[str]
    series: Sequence[Series]
    shown: Callable[[int], str]
    ticked: Callable[[int], str]
    words: tuple[str, str, str]
    bands: Sequence[Band] = ()
    gaps: frozenset[int] = frozenset()
    levels: Sequence[tuple[str, int]] = ()


def draw(chart: Chart) -> str:
    """Return the chart, and its table under `details`."""
    days = f'data-days="{len(chart.days)}"'
    return f'<figure class="chart" {days}>{"".join(_svg(chart))}{"".join(_table(chart))}</figure>'


def ticks(highest: int) -> list[int]:
    """Return round figures from 0 to the highest or beyond, at most five of them."""
    step = 1
    while step * MAX_TICKS < highest:
        step = step * 5 // 2 if str(step)[0] == "2" else step * 2
    return list(range(0, max(highest, 1) + step, step))[: MAX_TICKS + 1]


def _svg(chart: Chart) -> Iterator[str]:
    name, scale = escape(chart.id), ticks(_highest(chart))
    yield f'<svg class="plot" role="img" aria-labelledby="{name}-title {name}-desc">'
    yield f'<title id="{name}-title">{escape(chart.title)}</title>'
    yield f'<desc id="{name}-desc">{escape(chart.description)}</desc>'
    yield from _gaps(chart)
    width = max(1, len(chart.days)) * DAY
    yield f'<svg y="{TOP}%" width="100%" height="{DEPTH}%" viewBox="0 0 {width} {HEIGHT}"'
    yield ' preserveAspectRatio="none">'
    for tick in scale:
        yield f'<path class="grid" d="M0 {_y(tick, scale)}h{width}"/>'
    yield from _bands(chart, scale)
    yield from _bars([each for each in chart.series if not each.is_line], scale)
    for series in chart.series:
        if series.is_line:
            yield f'<path class="mark line mark-{series.mark}" d="{_line(series.figures, scale)}"/>'
    for _, level in chart.levels:
        yield f'<path class="level" d="M0 {_y(level, scale)}h{width}"/>'
    yield "</svg>"
    yield from _labels(chart, scale)
    yield "</svg>"


def _highest(chart: Chart) -> int:
    bars = [each.figures for each in chart.series if not each.is_line]
    stacks = [sum(figure or 0 for figure in day) for day in zip(*bars, strict=True)]
    lines = [each.figures for each in chart.series if each.is_line]
    others = [*lines, *(band.high for band in chart.bands)]
    figures = [figure or 0 for each in others for figure in each]
    return max([0, *stacks, *figures, *(level for _, level in chart.levels)])


def _y(figure: int, scale: Sequence[int]) -> int:
    """Return the height of a figure, cut to whole units from the top."""
    return HEIGHT - figure * HEIGHT // scale[-1]


def _bars(stack: Sequence[Series], scale: Sequence[int]) -> Iterator[str]:
    """Yield one path for each series, each of whose bars stands on those before it."""
    below = [0] * max((len(each.figures) for each in stack), default=0)
    for series in stack:
        path = []
        for place, figure in enumerate(series.figures):
            if figure:
                foot, head = _y(below[place], scale), _y(below[place] + figure, scale)
                path.append(f"M{place * DAY + 1} {head}h{DAY - 2}v{foot - head}h{2 - DAY}z")
                below[place] += figure
        yield f'<path class="mark mark-{series.mark}" d="{"".join(path)}"/>'


def _line(figures: Figures, scale: Sequence[int]) -> str:
    """Return a path through the middle of each day; it is broken where there is no figure."""
    path, drawn = [], False
    for place, figure in enumerate(figures):
        if figure is not None:
            path.append(f"{'L' if drawn else 'M'}{place * DAY + DAY // 2} {_y(figure, scale)}")
        drawn = figure is not None
    return "".join(path)


def _bands(chart: Chart, scale: Sequence[int]) -> Iterator[str]:
    for band in chart.bands:
        high, low = (
            [
                f"{place * DAY + DAY // 2},{_y(figure, scale)}"
                for place, figure in enumerate(figures)
                if figure is not None
            ]
            for figures in (band.high, band.low)
        )
        points = " ".join([*high, *low[::-1]])
        yield f'<polygon class="band" points="{points}"/>'


def _gaps(chart: Chart) -> Iterator[str]:
    if not chart.gaps:
        return
    name = f"{escape(chart.id)}-hatch"
    yield f'<pattern id="{name}" width="6" height="6" patternUnits="userSpaceOnUse">'
    yield '<path class="hatch" d="M0 6L6 0"/></pattern>'
    for place in sorted(chart.gaps):
        x, width = _percent(place, len(chart.days)), _percent(1, len(chart.days))
        yield f'<rect class="gap" fill="url(#{name})" x="{x}" y="{TOP}%" width="{width}"'
        yield f' height="{DEPTH}%"/>'


def _labels(chart: Chart, scale: Sequence[int]) -> Iterator[str]:
    for tick in scale:
        yield _text("tick", "0", tick, scale, chart.ticked(tick))
    for name, level in chart.levels:
        yield _text("level-name", "100%", level, scale, name)
    last = len(chart.days) - 1
    places = (
        sorted({place * last // MAX_DATES for place in range(MAX_DATES + 1)}) if last > 0 else [0]
    )
    for number, place in enumerate(places if chart.days else []):
        side = "first" if place == 0 else "last" if place == last else "middle"
        x = {"first": "0", "last": "100%"}.get(side) or _percent(2 * place + 1, 2 * last + 2)
        kind = f"{side} lesser" if number % 2 and side == "middle" else side  # a phone shows half
        yield f'<text class="date {kind}" x="{x}" y="98%">{escape(chart.days[place])}</text>'


def _text(kind: str, x: str, figure: int, scale: Sequence[int], text: str) -> str:
    """Return a text just above the height of a figure."""
    tenths = TOP * 10 + _y(figure, scale) * DEPTH * 10 // HEIGHT - 10
    return f'<text class="{kind}" x="{x}" y="{tenths // 10}.{tenths % 10}%">{escape(text)}</text>'


def _percent(part: int, whole: int) -> str:
    thousandths = part * 100_000 // whole
    return f"{thousandths // 1_000}.{thousandths % 1_000:03d}%"


def _table(chart: Chart) -> Iterator[str]:
    date, heading, gap = map(escape, chart.words)
    columns = [(each.name, each.figures) for each in chart.series]
    columns += [
        (f"{band.name} {end}", figures)
        for band in chart.bands
        for end, figures in (("≥", band.low), ("≤", band.high))
    ]
    yield f'<details><summary>{heading}</summary><table><thead><tr><th scope="col">{date}</th>'
    yield from (f'<th scope="col">{escape(name)}</th>' for name, _ in columns)
    yield "</tr></thead><tbody>"
    expected = 0
    for place, day in enumerate(chart.days):
        if place not in chart.gaps and all(figures[place] is None for _, figures in columns):
            continue
        note = f" ({gap})" if place in chart.gaps else ""
        jump = "" if place == expected else f' data-place="{place}"'
        expected = place + 1
        yield f'<tr{jump}><th scope="row">{escape(day)}{note}</th>'
        for _, figures in columns:
            figure = figures[place]
            yield f"<td>{'' if figure is None else escape(chart.shown(figure))}</td>"
        yield "</tr>"
    yield "</tbody></table></details>"
