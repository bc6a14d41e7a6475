"""How the agent stands, from its spool: for people, for exit codes, for metrics.

last complete reading 40 s ago  open 3  doubtful 0  quarantine 1 (acc-none: no_contract, 0.002 h)
unsent 0  last receipt 41 s ago  waiting 0  refused 0  corrections waiting 0  2026-11-28 agreed
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from meter.agent.store import Held, Spool
from meter.values.units import day_start, format_date

GOOD: Final = 0
TROUBLE: Final = 1
ATTENTION: Final = 3


# A reading or a receipt that is older is trouble: a round should come every minute.
MAX_SILENCE_SECONDS: Final = 900


AGREED: Final = "agreed"
# Of days: what is wrong in them can still be corrected by records and voids.
SUMMARIES_SHOWN: Final = 35


@dataclass(frozen=True, slots=True)
class Status:
    """The figures; instants in seconds since 1970, None for what never was."""

    complete_at: int | None
    open: int
    doubtful: int
    quarantined: tuple[Held, ...]
    questions: tuple[Held, ...]
    waiting: Counter[str]
    refused: Counter[str]
    unsent: int
    unsent_since: int | None
    receipt_at: int | None
    milli_device_seconds: dict[str, int]
    summaries: tuple[tuple[int, str], ...]  # the newest day first, and how each stands

    @property
    def disagreeing(self) -> tuple[tuple[int, str], ...]:
        """Return the days that were answered otherwise than by the same figures."""
        return tuple(each for each in self.summaries if each[1] not in (AGREED, "sent"))

    @property
    def summed_up_until(self) -> int | None:
        """Return the end of the newest day that was summed up and answered."""
        answered = (day for day, standing in self.summaries if standing != "sent")
        newest = next(answered, None)
        return None if newest is None else day_start(newest + 1)

    @property
    def wants_attention(self) -> bool:
        """Return whether somebody has to do something."""
        held = self.quarantined or self.questions or self.waiting or self.refused
        return bool(held or self.disagreeing)

    def faults(self, now: int) -> list[str]:
        """Return what has been going wrong for a while."""
        found = []
        if self.complete_at is None or self.complete_at < now - MAX_SILENCE_SECONDS:
            found.append(f"the last complete reading was {_ago(self.complete_at, now)}")
        if self.unsent_since is not None and self.unsent_since < now - MAX_SILENCE_SECONDS:
            found.append(f"the oldest unsent batch was made {_ago(self.unsent_since, now)}")
        return found

    def lines(self, now: int) -> Iterator[str]:
        """Yield what a person reads."""
        yield (
            f"last complete reading {_ago(self.complete_at, now)}  open {self.open}"
            f"  doubtful {self.doubtful}  quarantine {_held(self.quarantined)}"
        )
        yield (
            f"unsent {self.unsent}  last receipt {_ago(self.receipt_at, now)}"
            f"  waiting {_codes(self.waiting)}  refused {_codes(self.refused)}"
            f"  corrections waiting {_held(self.questions)}{''.join(self._days())}"
        )

    def _days(self) -> Iterator[str]:
        """Yield the newest day that was summed up, and each that disagrees."""
        for each in self.summaries:
            if each is self.summaries[0] or each in self.disagreeing:
                day, standing = each
                yield f"  {format_date(day_start(day))} {standing}"


def status_of(spool: Spool) -> Status:
    """Return how a spool stands."""
    complete_at = spool.fact("complete_at")
    unsent, unsent_since = spool.unsent_since()
    return Status(
        complete_at=None if complete_at is None else int(complete_at),
        open=spool.count("open"),
        doubtful=spool.count("doubtful"),
        quarantined=tuple(spool.quarantined()),
        questions=tuple(spool.questions()),
        waiting=Counter(each.code for each in spool.waiting().values()),
        refused=Counter(each.code for each in spool.refused()),
        unsent=unsent,
        unsent_since=unsent_since,
        receipt_at=spool.last_receipt_at,
        milli_device_seconds=spool.milli_device_seconds(),
        summaries=tuple(spool.summaries(SUMMARIES_SHOWN)),
    )


def exit_code(status: Status, faults: list[str]) -> int:
    """Return 0 where all is well, 1 for trouble, 3 where somebody has to look."""
    if faults:
        return TROUBLE
    return ATTENTION if status.wants_attention else GOOD


def _ago(instant: int | None, now: int) -> str:
    return "never" if instant is None else f"{max(0, now - instant)} s ago"


def _held(runs: tuple[Held, ...]) -> str:
    if not runs:
        return "0"
    reasons = Counter((each.account, each.trouble.code) for each in runs)
    seconds: Counter[tuple[str, str]] = Counter()
    for each in runs:
        seconds[each.account, each.trouble.code] += each.seconds
    told = (f"{account}: {code}, {seconds[account, code]} s" for account, code in sorted(reasons))
    return f"{len(runs)} ({'; '.join(told)})"


def _codes(codes: Counter[str]) -> str:
    told = ", ".join(f"{code} {count}" for code, count in sorted(codes.items()))
    return f"{codes.total()} ({told})" if told else "0"
