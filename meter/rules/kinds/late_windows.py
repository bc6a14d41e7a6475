"""Late windows: records of a contract's past that are taken whatever their age, for some time.

For usage that was booked on the wrong contract, a contract that was registered late, or a long
outage at its provider. The window says which intervals, until when, and why.
"""

from collections.abc import Iterable

from meter.rules.commands import OpenLateWindow
from meter.rules.entries import LateWindowOpened
from meter.rules.kinds.kind import (
    NOTHING_MORE,
    Judged,
    Kind,
    Stamp,
    check_not_in_future,
    check_period,
    contract_subjects,
    known_contract,
)
from meter.rules.state import LateWindow, State
from meter.values.problems import Problem
from meter.values.units import MICROSECONDS, parse_date


def _judge(state: State, command: OpenLateWindow, stamp: Stamp) -> Judged:
    known_contract(state, command.contract)
    check_period(command.starts, command.ends)
    check_not_in_future("from", command.starts, stamp)
    if parse_date(command.open_until) * MICROSECONDS <= stamp.at:
        raise Problem("bad_dates", "open_until is past already", field="open_until")
    return NOTHING_MORE


def _apply(state: State, number: int, entry: LateWindowOpened) -> None:
    days = (entry.starts, entry.ends, entry.open_until)
    window = LateWindow(number, *map(parse_date, days))
    state.contracts[entry.contract].late_windows.append(window)


def _subjects(state: State, entry: LateWindowOpened) -> Iterable[str]:
    return contract_subjects(state, entry.contract)


LATE_WINDOW: Kind[LateWindowOpened, OpenLateWindow] = Kind(
    entry=LateWindowOpened,
    command=OpenLateWindow,
    judge=_judge,
    apply=_apply,
    subjects=_subjects,
    rows="registration",
    codes=("unknown_contract", "bad_dates"),
)
