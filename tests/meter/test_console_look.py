"""What the console's pages look like: figures, times, colours and charts."""

import colorsys
import itertools
import math
import re
import xml.etree.ElementTree as ET
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meter.console import formats, palette
from meter.console.chart import Band, Chart, Series, draw, ticks

# Figures and times


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("1438941.60", "¥1,438,941.60"),
        ("0.00", "¥0.00"),
        ("-0.05", "−¥0.05"),
        ("999.99", "¥999.99"),
        ("90071992547409.91", "¥90,071,992,547,409.91"),
    ],
)
def test_money_has_all_its_fen(text, shown):
    assert formats.money(text) == shown


@pytest.mark.parametrize("text", ["", "1,000.00", "1e5", " 1.00", "１.00", "1.", "--1", "¥1"])
def test_what_is_no_figure_is_refused(text):
    with pytest.raises(ValueError, match="not a figure"):
        formats.money(text)


@given(st.integers(-(10**17), 10**17))
def test_money_can_be_read_back(fen):
    sign, rest = ("-", -fen) if fen < 0 else ("", fen)
    text = f"{sign}{rest // 100}.{rest % 100:02}"
    shown = formats.money(text)
    assert shown.replace(",", "").replace("¥", "").replace(formats.MINUS, "-") == text
    assert re.fullmatch(r"−?¥[0-9]{1,3}(,[0-9]{3})*\.[0-9]{2}", shown)


@pytest.mark.parametrize(
    ("units", "zh", "en"),
    [
        (0, "0", "0"),
        (950, "950", "950"),
        (9_999, "9,999", "10k"),
        (10_000, "1万", "10k"),
        (14_389, "1.4万", "14.4k"),
        (1_438_941, "143.9万", "1.4M"),
        (500_000_000, "5亿", "500M"),
        (2_500_000_000, "25亿", "2.5bn"),
        (-25_000, "−2.5万", "−25k"),
    ],
)
def test_an_axis_is_short(units, zh, en):
    assert (formats.short(units, "zh"), formats.short(units, "en")) == (zh, en)


@pytest.mark.parametrize(
    ("text", "shown"),
    [("6.0000", "6"), ("1234.5000", "1,234.5"), ("0.0001", "0.0001"), ("100", "100")],
)
def test_hours_have_no_zeros_at_their_end(text, shown):
    assert formats.number(text) == shown


@pytest.mark.parametrize(
    ("part", "whole", "shown"),
    [
        (0, 100, "0%"),
        (1, 100_000, "<0.1%"),
        (1, 3, "33.3%"),
        (99_999, 100_000, "99.9%"),
        (7, 7, "100%"),
        (9, 7, "128%"),
        (1, 0, "0%"),
    ],
)
def test_only_all_is_a_hundred_percent(part, whole, shown):
    assert formats.percent(part, whole) == shown


def test_times_are_beijings_and_say_so():
    at = "2025-02-28T16:00:05Z"
    assert formats.moment(at, "zh") == "2025年3月1日 00:00:05（北京时间）"
    assert formats.moment(at, "en") == "1 March 2025 00:00:05 (Beijing time)"
    assert formats.moment("2025-03-01T08:00:00.123456+08:00", "en").startswith(
        "1 March 2025 08:00:00"
    )
    assert formats.date("2025-12-31", "en") == "31 December 2025"
    with pytest.raises(ValueError, match="not a date"):
        formats.date("31.12.2025", "zh")


@pytest.mark.parametrize(
    ("seconds", "zh", "en"),
    [
        (-1, "0 秒前", "0 s ago"),
        (59, "59 秒前", "59 s ago"),
        (60, "1 分钟前", "1 min ago"),
        (7_199, "1 小时前", "1 h ago"),
        (86_400_000, "1,000 天前", "1,000 d ago"),
    ],
)
def test_an_age_is_in_the_largest_unit_that_has_passed(seconds, zh, en):
    assert (formats.age(seconds, "zh"), formats.age(seconds, "en")) == (zh, en)


# Colours


def luminance(colour: str) -> float:
    """WCAG 2.2, relative luminance."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in rgb(colour)]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def test_the_contrast_is_that_of_wcag():
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)


@pytest.mark.parametrize("colours", [palette.LIGHT, palette.DARK], ids=["light", "dark"])
def test_text_and_marks_stand_out_on_every_surface(colours):
    assert set(colours) == {*palette.SURFACES, *palette.TEXTS, *palette.MARKS, *palette.FILLS}
    for surface in palette.SURFACES:
        for names, least in ((palette.TEXTS, 4.5), (palette.MARKS, 3.0)):
            for name in names:
                found = contrast(colours[name], colours[surface])
                assert found >= least, (name, surface, found)


def rgb(colour: str) -> list[float]:
    return [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]


def is_red(colour: str) -> bool:
    hue, _, saturation = colorsys.rgb_to_hls(*rgb(colour))
    return saturation > 0.3 and not 20 < hue * 360 < 340


@pytest.mark.parametrize("colours", [palette.LIGHT, palette.DARK], ids=["light", "dark"])
def test_no_two_marks_look_alike_and_red_is_for_errors(colours):
    marks = [colours[f"mark-{place}"] for place in range(1, 9)]
    assert all(math.dist(rgb(a), rgb(b)) > 0.15 for a, b in itertools.combinations(marks, 2))
    assert {name for name, colour in colours.items() if is_red(colour)} == {"error"}


def test_a_contract_keeps_its_colour():
    assert [palette.mark_of(place) for place in (0, 7, 8)] == [1, 8, 1]


def test_the_stylesheet_follows_the_system_unless_told_and_prints_light():
    css = palette.stylesheet()
    assert css.count("{") == css.count("}")
    assert "light-dark" not in css
    assert "&" not in css
    first, by_system, by_switch = re.split(r"@media ", css)
    for name, colour in palette.LIGHT.items():
        assert f"--{name}: {colour};" in first
    for name, colour in palette.DARK.items():
        assert f"--{name}: {colour};" in by_system
        assert f"--{name}: {colour};" in by_switch
    assert by_system.startswith(
        'screen and (prefers-color-scheme: dark) {\n:root:not([data-theme="light"])'
    )
    assert by_switch.startswith('screen {\n:root[data-theme="dark"] {')


# Charts

SVG = Chart(
    id="c",
    title="Entitled per day",
    description="By contract",
    days=["1 March", "2 March", "3 March", "4 March"],
    series=[Series("A", [100, None, 300, 0], 1), Series("B", [100, 200, None, None], 2)],
    shown=lambda fen: f"¥{fen / 100:.2f}",
    ticked=str,
    words=("Date", "Table", "may lack usage"),
    gaps=frozenset({3}),
)


def parse(chart: Chart) -> ET.Element:
    return ET.fromstring(draw(chart))


def found(figure: ET.Element, tag: str, kind: str) -> list[ET.Element]:
    return [each for each in figure.iter(tag) if kind in each.get("class", "").split()]


def bars_of(path: str) -> list[tuple[int, ...]]:
    """Return x, y, width and height of each bar of a path."""
    bars = re.findall(r"M(\d+) (\d+)h(\d+)v(\d+)h-(\d+)z", path)
    assert path == "".join(f"M{x} {y}h{w}v{h}h-{v}z" for x, y, w, h, v in bars)
    return [tuple(map(int, (x, y, w, h))) for x, y, w, h, _ in bars]


def test_bars_stand_on_each_other_and_days_without_a_figure_are_blank():
    first, second = found(parse(SVG), "path", "mark")
    assert first.get("class") == "mark mark-1"
    # The axis ends at 300: a third of a thousand for each hundred.
    assert bars_of(first.get("d")) == [(1, 667, 8, 333), (21, 0, 8, 1000)]
    assert bars_of(second.get("d")) == [(1, 334, 8, 333), (11, 334, 8, 666)]


def test_gaps_are_hatched_and_named_in_the_table():
    figure = parse(SVG)
    (gap,) = found(figure, "rect", "gap")
    assert (gap.get("x"), gap.get("width")) == ("75.000%", "25.000%")
    assert gap.get("fill") == "url(#c-hatch)"
    rows = [["".join(cell.itertext()) for cell in row] for row in figure.iter("tr")]
    assert rows == [
        ["Date", "A", "B"],
        ["1 March", "¥1.00", "¥1.00"],
        ["2 March", "", "¥2.00"],
        ["3 March", "¥3.00", ""],
        ["4 March (may lack usage)", "¥0.00", ""],
    ]


def test_a_row_says_its_day_where_that_does_not_follow():
    line = Series("remaining", [None, 300, 150, None, None, 0, 1], 3, is_line=True)
    days = [str(day) for day in range(7)]
    figure = parse(replace(SVG, days=days, series=[line], gaps=frozenset({0, 3})))
    assert figure.get("data-days") == "7"
    rows = list(figure.iter("tr"))[1:]
    assert [row[0].text.partition(" ")[0] for row in rows] == ["0", "1", "2", "3", "5", "6"]
    assert [row.get("data-place") for row in rows] == [None, None, None, None, "5", None]
    figure = parse(replace(SVG, days=days, series=[line], gaps=frozenset()))
    places = [row.get("data-place") for row in list(figure.iter("tr"))[1:]]
    assert places == ["1", None, "5", None]


def test_a_line_is_broken_where_there_is_no_figure():
    line = Series("remaining", [300, 150, None, 0], 3, is_line=True)
    (path,) = found(parse(replace(SVG, series=[line])), "path", "line")
    assert path.get("d") == "M5 0L15 500M35 1000"


def test_a_band_lies_between_its_figures_and_a_level_has_its_name():
    chart = replace(
        SVG,
        series=[Series("remaining", [300, None, None, None], 1, is_line=True)],
        bands=[Band("forecast", [None, 100, 0, 0], [None, 200, 100, 50])],
        levels=[("80 %", 60)],
    )
    figure = parse(chart)
    (band,) = found(figure, "polygon", "band")
    assert band.get("points") == "15,334 25,667 35,834 35,1000 25,1000 15,667"
    (level,) = found(figure, "path", "level")
    assert level.get("d") == "M0 800h40"
    assert [each.text for each in found(figure, "text", "level-name")] == ["80 %"]
    heads = ["".join(cell.itertext()) for cell in next(figure.iter("tr"))]
    assert heads == ["Date", "remaining", "forecast ≥", "forecast ≤"]


def test_text_lies_outside_the_stretched_drawing_at_percentages():
    figure = parse(SVG)
    (plot,) = found(figure, "svg", "plot")
    (inner,) = plot.findall("svg")
    assert inner.get("preserveAspectRatio") == "none"
    assert inner.get("viewBox") == "0 0 40 1000"
    assert not list(inner.iter("text"))
    texts = plot.findall("text")
    assert [each.text for each in texts if each.get("class") == "tick"] == [
        "0",
        "100",
        "200",
        "300",
    ]
    dates = [(each.text, each.get("class"), each.get("x")) for each in texts[4:]]
    assert dates == [
        ("1 March", "date first", "0"),
        ("2 March", "date middle lesser", "37.500%"),  # not on a phone
        ("3 March", "date middle", "62.500%"),
        ("4 March", "date last", "100%"),
    ]
    for each in texts:
        assert 0 <= float(each.get("y").rstrip("%")) <= 100


def test_names_stay_text_and_nothing_is_inline():
    evil = '<script>alert(1)</script>"&'
    chart = replace(
        SVG,
        title=evil,
        description=evil,
        days=[evil] * 4,
        series=[Series(evil, [1, 2, 3, 4], 1)],
        shown=lambda _: evil,
        ticked=lambda _: evil,
        levels=[(evil, 2)],
        words=(evil, evil, evil),
    )
    text = draw(chart)
    figure = ET.fromstring(text)
    assert not list(figure.iter("script"))
    assert all("style" not in each.attrib for each in figure.iter())
    assert not re.search(r"\son[a-z]+=", re.sub(r">[^<]*<", "><", text))
    (title,) = figure.iter("title")
    assert title.text == evil


@given(st.integers(0, 10**16))
def test_the_axis_is_round_and_holds_the_highest(highest):
    scale = ticks(highest)
    step = scale[1]
    assert scale == [step * place for place in range(len(scale))]
    assert 2 <= len(scale) <= 5
    assert scale[-1] >= highest > scale[-2] - 1 or highest == 0
    assert str(step).rstrip("0") in ("1", "2", "5")


@given(
    st.lists(
        st.lists(st.none() | st.integers(0, 10**13), min_size=3, max_size=3),
        min_size=1,
        max_size=40,
    )
)
def test_every_bar_lies_within_the_drawing(days):
    names = [f"day {place}" for place in range(len(days))]
    series = [Series(str(place), [day[place] for day in days], place + 1) for place in range(3)]
    for path in found(
        parse(replace(SVG, days=names, series=series, gaps=frozenset())), "path", "mark"
    ):
        for x, y, width, height in bars_of(path.get("d")):
            assert 0 <= x <= x + width <= 10 * len(days)
            assert 0 <= y <= y + height <= 1_000


def test_a_chart_without_days_is_a_chart():
    figure = parse(replace(SVG, days=[], series=[], gaps=frozenset()))
    assert [each.text for each in found(figure, "text", "tick")] == ["0", "1"]
    assert len(list(figure.iter("tr"))) == 1


def test_six_weeks_of_three_contracts_are_small():
    days = [f"2025-03-{place:02}" for place in range(42)]
    series = [
        Series(f"TC-{n}", [12_345_678 + n * place for place in range(42)], n) for n in (1, 2, 3)
    ]
    text = draw(replace(SVG, days=days, series=series, gaps=frozenset()))
    drawing = text.partition("<details>")[0]
    assert len(drawing) < 6_000
    assert len(text) < 14_000
