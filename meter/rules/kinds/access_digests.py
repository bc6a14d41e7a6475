"""The digests of the access log's days, which the service puts into the ledger by itself.

A day comes once, after it is over, and after those before it. A day that none names had no rows.
What the digest is of stands in no entry: it is compared with the rows that auditors download.
"""

from typing import Final

from meter.rules.commands import DigestAccesses
from meter.rules.entries import AccessDigested
from meter.rules.kinds.kind import NOTHING_MORE, Holder, Judged, Kind, Stamp
from meter.rules.state import State
from meter.values.problems import Problem
from meter.values.units import DAY_SECONDS, MICROSECONDS, parse_date

SERVICE: Final = "kashi:service"  # whose entries they are; no token has such an id


def _holder(state: State, command: DigestAccesses) -> Holder | None:
    last = state.access_digest
    return last if last is not None and last[1].day == command.day else None


def _judge(state: State, command: DigestAccesses, stamp: Stamp) -> Judged:
    if (parse_date(command.day) + DAY_SECONDS) * MICROSECONDS > stamp.at:
        raise Problem("bad_dates", f"{command.day} is not over", field="day")
    if state.access_digest is not None:
        number, last = state.access_digest
        if command.day < last.day:  # dates of one form compare as text
            raise Problem("bad_dates", f"{last.day} has a digest already", entry=number)
    return NOTHING_MORE


def _apply(state: State, number: int, entry: AccessDigested) -> None:
    state.access_digest = number, entry


DIGEST: Final[Kind[AccessDigested, DigestAccesses]] = Kind(
    entry=AccessDigested,
    command=DigestAccesses,
    holder=_holder,
    judge=_judge,
    apply=_apply,
    rows="registration",
    codes=("exists_differently", "bad_dates"),
    persons=0,
)
