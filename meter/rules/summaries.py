"""The summary of a day, held against what the ledger has of it.

A summary judges nobody and moves no money. What the two have differently is written down, for
people to ask about (`views/flags.py`).
"""

from collections.abc import Sequence
from typing import Final, Literal, final

from msgspec import UNSET, Struct

from meter.rules.entries import DaySummarised
from meter.rules.state import DayOfStream, Figures, State
from meter.values.units import (
    DAY_SECONDS,
    MICROSECONDS,
    day_of,
    format_device_seconds,
    parse_date,
)
from meter.wire.summary import (
    MAX_LINES,
    Summary,
    SummaryRejected,
    SummaryTaken,
    UsageFound,
)

MAX_DIFFERS_NAMED: Final = 20  # of one entry: enough to begin with
_NOTHING: Final = (0, 0)


@final
class Place(Struct, frozen=True):
    """Where a summary stands: its stream, the number of its batch, the instant, key and salt."""

    provider: str
    stream: str
    batch: int
    at: int
    by: str
    salt: str


def refuse_summary(summary: Summary, now: int) -> SummaryRejected | None:
    """Return why a summary is refused at `now` (microseconds): its day is not over."""
    if (parse_date(summary.day) + DAY_SECONDS) * MICROSECONDS <= now:
        return None
    return SummaryRejected("rejected", "in_future", f"{summary.day} is not over in Shanghai")


def summarise(state: State, summary: Summary, place: Place) -> tuple[DaySummarised, SummaryTaken]:
    """Return the entry of a summary, numbered `state.size`, and the answer to it."""
    name: DayOfStream = place.provider, place.stream, day_of(parse_date(summary.day))
    found, told = state.figures_of(name), _told(summary)
    lines = sorted(found.keys() | told.keys())
    differs = [
        (*line, *_texts(found.get(line, _NOTHING)), *_texts(told.get(line, _NOTHING)))
        for line in lines
        if found.get(line) != told.get(line)
    ]
    records, device_seconds = _texts(_sum(found))
    told_records, told_device_seconds = _texts(_sum(told))
    entry = DaySummarised(
        at=place.at,
        by=place.by,
        postings=[],
        salt=place.salt,
        batch=place.batch,
        provider=place.provider,
        stream=place.stream,
        day=str(summary.day),
        replaces=state.summaries.get(name, UNSET),
        records=records,
        device_seconds=device_seconds,
        told_records=told_records,
        told_device_seconds=told_device_seconds,
        lines=len(lines),
        differing=len(differs),
        differs=differs[:MAX_DIFFERS_NAMED],
        scheduler=_scheduler(summary),
    )
    usage = [UsageFound(*line, *_texts(figures)) for line, figures in found.items()]
    status: Literal["agreed", "differs"] = "differs" if differs else "agreed"
    return entry, SummaryTaken(status, state.size, usage[:MAX_LINES], entry.replaces)


def _told(summary: Summary) -> Figures:
    return {
        (str(each.contract), str(each.device)): (each.records, int(each.device_seconds))
        for each in summary.usage
    }


def _scheduler(summary: Summary) -> dict[str, tuple[int, int]]:
    told = summary.scheduler
    return {
        "reported": (told.reported.runs, told.reported.seconds),
        "refused": (told.refused.runs, told.refused.seconds),
        "quarantined": (told.quarantined.runs, told.quarantined.seconds),
        "doubtful": (told.doubtful.runs, told.doubtful.seconds),
        "ignored": (told.ignored.runs, told.ignored.seconds),
        "total": (told.total.runs, told.total.seconds),
    }


def _sum(figures: Figures) -> tuple[int, int]:
    lines: Sequence[tuple[int, int]] = list(figures.values())
    return sum(records for records, _ in lines), sum(time for _, time in lines)


def _texts(figures: tuple[int, int]) -> tuple[int, str]:
    """Return records and device-seconds as they are written."""
    records, time = figures
    return records, format_device_seconds(time)
