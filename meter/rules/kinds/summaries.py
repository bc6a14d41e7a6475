"""Summaries of days: what a provider told of one, beside what the ledger holds of it."""

from collections.abc import Iterable

from meter.rules.commands import Command
from meter.rules.entries import DaySummarised
from meter.rules.kinds.kind import Kind
from meter.rules.state import State
from meter.values.units import day_of, parse_date


def _apply(state: State, number: int, entry: DaySummarised) -> None:
    day = day_of(parse_date(entry.day))
    state.summaries[entry.provider, entry.stream, day] = number


def _subjects(_state: State, entry: DaySummarised) -> Iterable[str]:
    return (f"provider:{entry.provider}",)


SUMMARY: Kind[DaySummarised, Command] = Kind(
    entry=DaySummarised, apply=_apply, subjects=_subjects, rows="summary"
)
