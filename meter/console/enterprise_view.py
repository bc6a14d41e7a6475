"""What an enterprise's pages show: frozen values, made from answers of the API.

Money is the API's text. Fen are read from it to draw bars, charts and shares, and are never shown.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from types import SimpleNamespace
from typing import Final, Literal

from msgspec import UNSET, UnsetType

from meter.api.day_responses import CouponDays, DaysView, DayView, ForecastView
from meter.api.record_responses import RecordDetail
from meter.api.responses import (
    Balance,
    ContractSummary,
    EnterpriseDetail,
    NotCountedPage,
    NotCountedView,
    PriceView,
    ProgrammeView,
    RecordView,
    UsageDay,
)
from meter.console import formats
from meter.console.chart import Band, Chart, Series, draw
from meter.console.formats import Language
from meter.console.palette import mark_of
from meter.values.units import (
    day_of,
    day_start,
    format_date,
    format_hours,
    format_money,
    parse_date,
    parse_instant,
    parse_money,
    year_of,
    year_start,
)

DAYS_SHOWN: Final = 42
MOST_SERIES: Final = 8  # contracts of a chart, as there are colours
ALERTS: Final = (80, 95)  # percent of what was issued
SHAPES: Final[Mapping[str, str]] = {
    "accepted": "✓",
    "released": "✓",
    "withheld": "?",
    "voided": "–",
    "void": "–",
    "release": "✓",
    "rejected": "✕",
    "conflict": "✕",
}


@dataclass(frozen=True, slots=True)
class Chosen:
    """The coupon that a page is about, and all that could be chosen instead."""

    programme: ProgrammeView
    year: int
    programmes: Sequence[ProgrammeView]

    @property
    def query(self) -> str:
        """The coupon, as links name it."""
        return f"programme={self.programme.programme}&year={self.year}"


def choose(
    programmes: Sequence[ProgrammeView],
    programme: str | UnsetType,
    year: int | UnsetType,
    today: int,
) -> Chosen | None:
    """Return the coupon that is asked for, else this year's of the first programme; or None."""
    held = [each for each in programmes if programme in (UNSET, each.programme)] or programmes
    if not held:
        return None
    wanted = year_of(day_start(today)) if year is UNSET else year
    return Chosen(
        held[0], max(y for y in held[0].years if y <= wanted or y == held[0].years[0]), programmes
    )


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a bar: where it begins and how wide it is, in percent with a sign."""

    mark: str
    start: str
    width: str


def bar(whole: str, *parts: tuple[str, str]) -> list[Piece]:
    """Return the parts of a bar by mark and money, from the left; they are part of the whole."""
    total, begin, found = max(1, _fen(whole)), 0, []
    for mark, money in parts:
        end = min(total, begin + _fen(money))
        found.append(Piece(mark, _percent(begin, total), _percent(end - begin, total)))
        begin = end
    return found


@dataclass(frozen=True, slots=True)
class Share:
    """How much of a whole something is: as text, and as a bar."""

    text: str
    pieces: list[Piece]


def share(part: str, whole: str, mark: str) -> Share:
    """Return the share of one sum in another."""
    return Share(formats.percent(_fen(part), _fen(whole)), bar(whole, (mark, part)))


@dataclass(frozen=True, slots=True)
class Until:
    """How long the coupon lasts: dates as people write them, empty where there is none."""

    status: str
    end: str
    earliest: str
    latest: str
    expires: str
    ends_early: bool


def until(forecast: ForecastView, language: Language) -> Until:
    """Return what a forecast says; a coupon pays until the day before `expires`."""
    end = forecast.end
    ends_early = end is not UNSET and end < forecast.expires
    last = format_date(parse_date(forecast.expires) - 1)
    return Until(
        status=forecast.status,
        end=_date_or_nothing(end, language),
        earliest=_date_or_nothing(forecast.earliest, language),
        latest=_date_or_nothing(forecast.latest, language),
        expires=formats.date(last, language),
        ends_early=ends_early,
    )


@dataclass(frozen=True, slots=True)
class Notice:
    """Something that needs attention: its text by name, with what stands in it, and a tab."""

    kind: Literal["warn", "ask", "lost", "note"]
    text: str
    tab: str
    query: str = ""


def notices(
    balance: Balance,
    forecast: ForecastView | None,
    refused: NotCountedPage | None,
    months: Iterable[tuple[str, str]],
    w: SimpleNamespace,
) -> list[Notice]:
    """Return what needs attention, the most urgent first.

    `months` are to be answered, each until an instant.
    """
    used = _fen(balance.granted) * 100 // max(1, _fen(balance.issued))
    found = []
    if _fen(balance.uncovered):
        text = w.notice_uncovered.format(money=formats.money(balance.uncovered))
        found.append(Notice("warn", text, "contracts"))
    for level in (100, *ALERTS[::-1]):
        if used >= level and _fen(balance.issued):
            found.append(Notice("warn", w.notice_used.format(level=level), "usage"))
            break
    if _fen(balance.withheld):
        text = w.notice_withheld.format(money=formats.money(balance.withheld))
        found.append(Notice("ask", text, "records", "status=withheld"))
    found += [
        Notice("ask", w.notice_month.format(month=month, until=formats.minute(until)), "months")
        for month, until in months
    ]
    if refused is not None:
        lost = sum(each.status in ("rejected", "conflict") for each in refused.refused)
        count = f"{lost}+" if refused.more else str(lost)
        if lost:
            found.append(Notice("lost", w.notice_refused.format(count=count), "refused"))
    if forecast is not None and forecast.status == "lasts" and _fen(forecast.unused):
        text = w.notice_unused.format(money=formats.money(forecast.unused))
        found.append(Notice("note", text, "usage"))
    return found


@dataclass(frozen=True, slots=True)
class ContractLine:
    """A contract with its colour, its provider's name, and how much of its amount was used."""

    contract: ContractSummary
    mark: int
    provider: str
    used: Share


def contract_lines(
    firm: EnterpriseDetail, contracts: Iterable[ContractSummary]
) -> list[ContractLine]:
    """Return contracts in the order of their entries, which decides their colours."""
    names = {each.id: each.name for each in firm.providers}
    return [
        ContractLine(
            contract=each,
            mark=mark_of(place),
            provider=names.get(each.provider, each.provider),
            used=share(each.cost, each.amount, f"mark-{mark_of(place)}"),
        )
        for place, each in enumerate(contracts)
    ]


def most_used(lines: Sequence[ContractLine], most: int) -> list[ContractLine]:
    """Return the contracts of whose amount most is used, in their own order."""

    def used(place: int) -> tuple[int, int]:
        contract = lines[place].contract
        return _fen(contract.cost) * 10_000 // max(1, _fen(contract.amount)), place

    places = sorted(range(len(lines)), key=used)[-most:]
    return [lines[place] for place in sorted(places)]


@dataclass(frozen=True, slots=True)
class RecordLine:
    """A line of the list of records; a purchase and a void have no device-hours."""

    record: RecordView
    mark: int
    starts: str
    device_hours: str
    status: str
    shape: str


def record_lines(records: Iterable[RecordView], marks: Mapping[str, int]) -> list[RecordLine]:
    """Return records with the colours of their contracts."""
    return [record_line(each, marks) for each in records]


def record_line(record: RecordView, marks: Mapping[str, int]) -> RecordLine:
    """Return one record with the colour of its contract."""
    status = record.line if record.status is UNSET else record.status
    delivered = "" if record.delivered_on is UNSET else record.delivered_on
    return RecordLine(
        record=record,
        mark=marks.get(record.contract, 1),
        starts=delivered if record.starts is UNSET else formats.minute(record.starts),
        device_hours=_hours(record),
        status=status,
        shape=SHAPES[status],
    )


@dataclass(frozen=True, slots=True)
class RefusedLine:
    """A record that counts for nothing, or in part."""

    refused: NotCountedView
    mark: int
    starts: str
    shape: str


def refused_lines(refused: Iterable[NotCountedView], marks: Mapping[str, int]) -> list[RefusedLine]:
    """Return refused records with the colours of their contracts."""
    return [
        RefusedLine(
            each,
            marks.get(each.contract, 1),
            formats.minute(each.starts),
            SHAPES.get(each.status, "✕"),
        )
        for each in refused
    ]


@dataclass(frozen=True, slots=True)
class Operand:
    """A part of a calculation: devices × hours × price = amount, each as text."""

    devices: str
    hours: str
    price: str
    per: str
    amount: str


def operands(detail: RecordDetail) -> list[Operand]:
    """Return the parts of a record's cost."""
    milli = detail.record.milli_devices
    devices = "" if milli is UNSET else formats.number(f"{milli // 1000}.{milli % 1000:03}")
    found = []
    for part in detail.parts:
        seconds = parse_instant(part.ends) - parse_instant(part.starts)
        price, per = (
            (part.price.amount, part.price.per)
            if isinstance(part.price, PriceView)
            else (part.price, "hour")
        )
        hours = formats.number(format_hours(seconds * 1000))
        found.append(Operand(devices, hours, formats.money(price), per, part.amount))
    return found


# Charts


def burn_down(
    days: CouponDays, forecast: ForecastView, w: SimpleNamespace, language: Language
) -> str:
    """Draw what remained at the end of each day of the year, and where the forecast leads."""
    first = day_of(year_start(days.year))
    length = day_of(year_start(days.year + 1)) - first
    today = min(length - 1, day_of(parse_date(forecast.today)) - first)
    issued = days.days[-1].issued if days.days else "0.00"
    remaining = _carried([(each.date, each.remaining) for each in days.days], first, today + 1)
    low: list[int | None] = [None] * length
    high: list[int | None] = [None] * length
    if forecast.earliest is not UNSET and today >= 0:
        low[today] = high[today] = _fen(forecast.remaining)
        _set(low, forecast.earliest, first)
        if forecast.latest is not UNSET:
            _set(high, forecast.latest, first)
    dates = [format_date(day_start(first + place)) for place in range(length)]
    return draw(
        Chart(
            id="burn-down",
            title=w.burn_down,
            description=w.burn_down_says,
            days=[formats.short_date(each, language) for each in dates],
            series=[
                Series(
                    w.remaining, [*remaining, *[None] * (length - len(remaining))], 1, is_line=True
                )
            ],
            shown=_money,
            ticked=lambda fen: formats.short(fen // 100, language),
            words=(w.date, w.show_table, w.may_lack),
            bands=[Band(w.forecast, low, high)] if any(each == 0 for each in low) else (),
            levels=[
                (w.alert.format(level=level), _fen(issued) * (100 - level) // 100)
                for level in ALERTS
                if _fen(issued)
            ],
        )
    )


def first_day_shown(today: int) -> str:
    """Return the first day of the chart of days."""
    return format_date(day_start(today - DAYS_SHOWN + 1))


@dataclass(frozen=True, slots=True)
class Daily:
    """A chart of days by contract, and the contracts in it; `is_part` where others are not."""

    drawing: str
    charted: list[tuple[str, int]]
    is_part: bool


def daily(
    days: DaysView,
    today: str,
    marks: Mapping[str, int],
    w: SimpleNamespace,
    language: Language,
) -> Daily:
    """Draw what each of the last days was entitled to, by contract."""
    last = day_of(parse_date(today))
    dates = [format_date(day_start(last - back)) for back in range(DAYS_SHOWN - 1, -1, -1)]
    held = {(each.contract, each.date): _fen(each.entitled) for each in days.days}
    shown, in_use = _most(held, dates), {name for name, date in held if date in dates}
    used = [name for name in marks if name in shown]
    drawing = draw(
        Chart(
            id="daily",
            title=w.daily.format(days=DAYS_SHOWN),
            description=w.daily_says,
            days=[formats.short_date(each, language) for each in dates],
            series=[
                Series(name, [held.get((name, date)) for date in dates], marks[name])
                for name in used
            ],
            shown=_money,
            ticked=lambda fen: formats.short(fen // 100, language),
            words=(w.date, w.show_table, w.may_lack),
            gaps=frozenset(
                place
                for place, date in enumerate(dates)
                if any(each.first <= date <= each.last for each in days.incomplete)
            ),
        )
    )
    return Daily(drawing, [(name, marks[name]) for name in used], len(used) < len(in_use))


def _most(held: Mapping[tuple[str, str], int], dates: Sequence[str]) -> set[str]:
    """Return the contracts that were entitled to most on some days, as many as colours."""
    sums: dict[str, int] = {}
    for (name, date), fen in held.items():
        if date in dates:
            sums[name] = sums.get(name, 0) + fen
    return set(sorted(sums, key=lambda name: (-sums[name], name))[:MOST_SERIES])


@dataclass(frozen=True, slots=True)
class Period:
    """A day, week or month of use: one line for each contract."""

    date: str
    lines: list[DayView]


def periods(days: Sequence[DayView]) -> Iterator[Period]:
    """Yield the days of use, the newest first."""
    for date, held in groupby(reversed(days), key=lambda each: each.date):
        yield Period(date, list(held)[::-1])


def some_periods(
    days: DaysView | None, before: str | UnsetType, most: int
) -> dict[str, list[Period] | str | None]:
    """Return the newest whole `periods` before a date, and with which `older` ones begin.

    They have at most so many lines together, or are one.
    """
    found: list[Period] = []
    lines = 0
    for period in periods(() if days is None else days.days):
        if before is not UNSET and period.date >= before:
            continue
        if found and lines + len(period.lines) > most:
            return {"periods": found, "older": found[-1].date}
        found.append(period)
        lines += len(period.lines)
    return {"periods": found, "older": None}


@dataclass(frozen=True, slots=True)
class DeviceLine:
    """A kind of device: its hours in a year, and on how many days it was used."""

    device: str
    device_hours: str
    days: int


def device_lines(usage: Iterable[UsageDay]) -> list[DeviceLine]:
    """Return usage by day and device as one line for each kind, the most used first."""
    held: dict[str, list[int]] = {}
    for each in usage:
        held.setdefault(each.device, []).append(int(each.milli_device_seconds))
    order = sorted(held, key=lambda device: (-sum(held[device]), device))
    return [DeviceLine(each, format_hours(sum(held[each])), len(held[each])) for each in order]


def marks_of(contracts: Iterable[ContractSummary]) -> dict[str, int]:
    """Return the colour of each contract, by its place among its owner's."""
    return {each.id: mark_of(place) for place, each in enumerate(contracts)}


def _carried(changes: Sequence[tuple[str, str]], first: int, count: int) -> list[int | None]:
    """Return a figure for each day: that of its last change, None before the first one."""
    found: list[int | None] = []
    held = {day_of(parse_date(date)) - first: _fen(money) for date, money in changes}
    figure = next((held[place] for place in sorted(held, reverse=True) if place < 0), None)
    for place in range(count):
        figure = held.get(place, figure)
        found.append(figure)
    return found


def _set(figures: list[int | None], date: str, first: int) -> None:
    """Let nothing remain on a day, if it lies in the year."""
    place = day_of(parse_date(date)) - first
    if 0 <= place < len(figures):
        figures[place] = 0


def _hours(record: RecordView) -> str:
    if record.starts is UNSET or record.ends is UNSET or record.milli_devices is UNSET:
        return ""
    seconds = parse_instant(record.ends) - parse_instant(record.starts)
    return format_hours(record.milli_devices * seconds)


def _date_or_nothing(text: str | UnsetType, language: Language) -> str:
    return "" if text is UNSET else formats.date(text, language)


def _money(fen: int) -> str:
    return formats.money(format_money(fen))


def _fen(money: str) -> int:
    """Return the fen of a sum, to draw it: a negative one has no length."""
    return 0 if money.startswith("-") else parse_money(money)


def _percent(part: int, whole: int) -> str:
    thousandths = part * 100_000 // whole
    return f"{thousandths // 1_000}.{thousandths % 1_000:03}%"
