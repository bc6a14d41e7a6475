"""The alarms of `kashi monitor`: each is reported once, and the worst are kept for ever.

    fork        the log signed two histories: proved, and kept
    violation   an entry breaks a rule, or a key signed that may not: proved, and kept
    rollback    the log shows fewer entries than it had
    damage      what is served is not what the log signed, and may be repaired
    untrusted   the checkpoint is not signed, or too few witnesses have cosigned it
    gap         a number of a stream is missing for too long
    silence     there was no new checkpoint for too long

Each is one line of JSON when it goes on, and one when it goes off:

    {"alarm":"gap","state":"on","at":"2025-03-02T12:00:00+08:00",
     "detail":"pcl, stream main: no batches 3 to 3 since 2025-03-01T12:00:00+08:00"}

A kept alarm stands in a file, is on again after a restart, and goes off only with that file.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, get_args

import msgspec

from ledger.errors import CannotCheck
from meter.auditor.verdict import replace_file
from meter.values.units import format_instant

Kind = Literal["fork", "violation", "rollback", "damage", "untrusted", "gap", "silence"]

KINDS: Final[tuple[Kind, ...]] = get_args(Kind)
LASTING: Final[frozenset[Kind]] = frozenset({"fork", "violation"})

# Enough to act on; a log that goes wrong with every entry could fill the disk.
MAX_KEPT: Final = 100

Say = Callable[[dict[str, Any]], None]


@dataclass(frozen=True, slots=True)
class Alarm:
    """One fault; two alarms with the same text are one."""

    kind: Kind
    detail: str


class Alarms:
    """The alarms that are on. `say` takes one line of JSON, as a mapping."""

    def __init__(self, path: Path, say: Say, clock: Callable[[], int]) -> None:
        """Begin with the alarms that a file keeps. Raises `CannotCheck` if it cannot be read."""
        self._path, self._say, self._clock = path, say, clock
        self._on: dict[Alarm, None] = {}  # in the order in which they went on
        for alarm in _read(path):
            self._switch(alarm, on=True)

    def keep(self, alarm: Alarm) -> None:
        """Switch on an alarm that never goes off; it is kept before it is reported."""
        assert alarm.kind in LASTING
        kept = [each for each in self._on if each.kind in LASTING]
        if alarm not in kept and len(kept) < MAX_KEPT:
            replace_file(self._path, msgspec.json.encode([*kept, alarm]) + b"\n")
            self._switch(alarm, on=True)

    def settle(self, kind: Kind, details: Iterable[str]) -> None:
        """Switch the alarms of a kind, so that exactly these are on."""
        assert kind not in LASTING
        wanted = {Alarm(kind, detail): None for detail in details}
        for alarm in [each for each in self._on if each.kind == kind and each not in wanted]:
            self._switch(alarm, on=False)
        for alarm in [each for each in wanted if each not in self._on]:
            self._switch(alarm, on=True)

    def count(self, kind: Kind) -> int:
        """Return how many of a kind are on."""
        return sum(alarm.kind == kind for alarm in self._on)

    def _switch(self, alarm: Alarm, *, on: bool) -> None:
        if on:
            self._on[alarm] = None
        else:
            del self._on[alarm]
        state, at = "on" if on else "off", format_instant(self._clock())
        self._say({"alarm": alarm.kind, "state": state, "at": at, "detail": alarm.detail})


def _read(path: Path) -> list[Alarm]:
    if not path.exists():
        return []
    try:
        return msgspec.json.decode(path.read_bytes(), type=list[Alarm])
    except (OSError, ValueError) as error:
        raise CannotCheck(f"the alarms in {path} cannot be read: {error}") from error
