"""What a scheduler says of its runs, in one form for all collectors.

A run is one allocation: devices that one account held from `begin` on. Its id never changes, and
all that is reported of it hangs on the id: `slurm:c1:4211:1795912741`. A reading is what was seen
at one time. It does not decide what is charged.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

# Ended: the end is known. Open: it runs by two sources. Doubtful: neither. Twice: one id, two rows.
# Gone: it was reported, and a complete reading did not show it; only the spool says so. Unseen: it
# ended some time after its `end`, which is when it was last seen.
Standing = Literal["ended", "open", "doubtful", "twice", "gone", "unseen"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One run as it was seen; instants in seconds since 1970 UTC.

    `ran` are the seconds that it ran without those in which it was suspended, as far as is known;
    they are wanted only where it `was_suspended`. `allocation` is the scheduler's own text.
    """

    id: str
    account: str
    partition: str
    state: str
    allocation: str
    begin: int
    end: int | None
    ran: int
    was_suspended: bool
    standing: Standing

    @property
    def terms(self) -> tuple[str, str, str]:
        """Return what decides its contract and devices."""
        return self.account, self.partition, self.allocation


@dataclass(frozen=True, slots=True)
class BadLine:
    """A line that cannot be read, and why; `text` is how it begins."""

    number: int
    reason: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FilePart:
    """The part of a file that a reading is of.

    `source` names the file whatever its length. One that is read `is_anew` has no lines yet that
    could not be read.
    """

    source: str
    is_anew: bool
    has_more: bool
    bad: tuple[BadLine, ...] = ()


@dataclass(frozen=True, slots=True)
class Reading:
    """The runs that were seen, `at` by the scheduler's clock.

    It is complete where there are no `faults`: then a run that is missing is gone, unless a reading
    tells only what came after another; then its `cursor` is where the next one goes on. Runs with
    an end and open runs are right in any case. `since` is how far it looked back: no run in it
    ended before.
    """

    at: int
    since: int
    runs: Mapping[str, Run]
    faults: tuple[str, ...] = ()
    cursor: str | None = None
    part: FilePart | None = None

    @property
    def is_complete(self) -> bool:
        return not self.faults


def first_end(runs: Iterable[Run], otherwise: int) -> int:
    """Return when the first of those that ended did so; `otherwise` where none did."""
    return min((run.end for run in runs if run.end is not None), default=otherwise)
