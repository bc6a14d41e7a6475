"""The alarms of `kashi monitor`: each is reported once, and the worst are kept for ever.

    fork        the log signed two histories: proved, and kept
    violation   an entry breaks a rule, or a key signed that may not: proved, and kept
    rollback    the log shows fewer entries than it had
    damage      what is served is not what the log signed, and may be repaired
    untrusted   the checkpoint is not signed, or too few witnesses have cosigned it
    gap         a number of a stream is missing for too long
    silence     there was no new checkpoint for too long
    disk        the monitor cannot write, and tries again at each look
    recovered   an operator gave a person a token offline, past the persons: kept

Each is one line of JSON when it goes on, and one when it goes off. Meanwhile its detail may change,
as the other branch or the damaged log grows; that is no other alarm:

    {"alarm":"gap","state":"on","at":"2025-03-02T12:00:00+08:00",
     "detail":"pcl, stream main: no batches 3 to 3 since 2025-03-01T12:00:00+08:00"}

A kept alarm stands in a file, is on again after a restart, and goes off only with that file.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, get_args

import msgspec

from ledger.errors import CannotCheck
from meter.auditor.verdict import replace_file
from meter.values.units import format_instant

Kind = Literal[
    "fork", "violation", "rollback", "damage", "untrusted", "gap", "silence", "disk", "recovered"
]

KINDS: Final[tuple[Kind, ...]] = get_args(Kind)
LASTING: Final[frozenset[Kind]] = frozenset({"fork", "violation", "recovered"})

# Enough to act on; a log that goes wrong with every entry could fill the disk.
MAX_KEPT: Final = 100

Say = Callable[[dict[str, Any]], None]


@dataclass(frozen=True, slots=True)
class Alarm:
    """One fault: two alarms of a kind with the same `key` are one, whatever their details."""

    kind: Kind
    key: str
    detail: str


class Alarms:
    """The alarms that are on. `say` takes one line of JSON, as a mapping."""

    def __init__(self, path: Path, say: Say, clock: Callable[[], int]) -> None:
        """Begin with the alarms that a file keeps. Raises `CannotCheck` if it cannot be read."""
        self._path, self._say, self._clock = path, say, clock
        self._on: dict[tuple[Kind, str], Alarm] = {}  # in the order in which they went on
        self._saved: list[Alarm] = _read(path)
        for alarm in self._saved:
            self._switch(alarm, on=True)

    def keep(self, alarm: Alarm) -> None:
        """Switch on an alarm that never goes off, or give it another detail; `save` keeps it."""
        assert alarm.kind in LASTING
        place = (alarm.kind, alarm.key)
        if place in self._on:
            self._on[place] = alarm
        elif len(self._lasting()) < MAX_KEPT:
            self._switch(alarm, on=True)

    def save(self) -> None:
        """Keep the lasting alarms in the file, if they have changed. Raises `OSError`."""
        lasting = self._lasting()
        if lasting != self._saved:
            replace_file(self._path, msgspec.json.encode(lasting) + b"\n")
            self._saved = lasting

    def settle(self, kind: Kind, details: Mapping[str, str]) -> None:
        """Switch the alarms of a kind, so that exactly these are on, each with its detail.

        One that is on already is not reported again, though its detail may be another now.
        """
        assert kind not in LASTING
        on = {key: alarm for (each, key), alarm in self._on.items() if each == kind}
        for key in [key for key in on if key not in details]:
            self._switch(on[key], on=False)
        for key, detail in details.items():
            alarm = Alarm(kind, key, detail)
            if key in on:
                self._on[kind, key] = alarm
            else:
                self._switch(alarm, on=True)

    def count(self, kind: Kind) -> int:
        """Return how many of a kind are on."""
        return sum(each == kind for each, _ in self._on)

    def details(self, kind: Kind) -> dict[str, str]:
        """Return what the alarms of a kind that are on say now, by key."""
        return {key: alarm.detail for (each, key), alarm in self._on.items() if each == kind}

    def _lasting(self) -> list[Alarm]:
        return [alarm for alarm in self._on.values() if alarm.kind in LASTING]

    def _switch(self, alarm: Alarm, *, on: bool) -> None:
        if on:
            self._on[alarm.kind, alarm.key] = alarm
        else:
            del self._on[alarm.kind, alarm.key]
        state, at = "on" if on else "off", format_instant(self._clock())
        self._say({"alarm": alarm.kind, "state": state, "at": at, "detail": alarm.detail})


def _read(path: Path) -> list[Alarm]:
    if not path.exists():
        return []
    try:
        return msgspec.json.decode(path.read_bytes(), type=list[Alarm])
    except (OSError, ValueError) as error:
        raise CannotCheck(f"the alarms in {path} cannot be read: {error}") from error
