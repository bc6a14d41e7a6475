"""The alarms of `kashi monitor`: each is reported once, and the worst are kept for ever.

    fork        the log signed two histories: proved, and kept
    violation   an entry breaks a rule, or a key signed that may not: proved, and kept
    rollback    the log shows fewer entries than it had
    damage      what is served is not what the log signed, and may be repaired
    untrusted   the checkpoint is not signed, or too few witnesses have cosigned it
    gap         a number of a stream is missing for too long
    silence     there was no new checkpoint for too long
    disk        the monitor cannot write, and tries again at each look
    space       little is free where the monitor writes, and writing goes on yet
    recovered   an operator gave a person a token offline, past the persons: kept

Each is one line of JSON when it goes on, and one when it goes off. Meanwhile its detail may change,
as the other branch or the damaged log grows; that is no other alarm, and no other incident:

    {"alarm":"gap","state":"on","incident":"inc-5d0c1ab27d3e",
     "at":"2025-03-02T12:00:00+08:00",
     "detail":"pcl, stream main: no batches 3 to 3 since 2025-03-01T12:00:00+08:00"}

All that are on stand in a file, and are on again after a restart, under the same incidents. One
goes off once a look shows that it is over; a lasting one goes off only with that file.

Somebody who looks after an incident acknowledges it, with a reason. It stays on.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Any, Final, Literal, get_args

import msgspec
from msgspec import Meta, Struct

from ledger.errors import CannotCheck
from ledger.files import make_private
from meter.auditor.verdict import replace_file
from meter.values.units import format_instant

Kind = Literal[
    "fork",
    "violation",
    "rollback",
    "damage",
    "untrusted",
    "gap",
    "silence",
    "disk",
    "space",
    "recovered",
]

KINDS: Final[tuple[Kind, ...]] = get_args(Kind)
LASTING: Final[frozenset[Kind]] = frozenset({"fork", "violation", "recovered"})

# Enough to act on; a log that goes wrong with every entry could fill the disk.
MAX_KEPT: Final = 100

FILE: Final = "alarms.json"
ACKNOWLEDGED: Final = "acknowledged"  # the folder of words for the monitor
MAX_REASON: Final = 500  # characters

Say = Callable[[dict[str, Any]], None]


@dataclass(frozen=True, slots=True)
class Alarm:
    """One fault: two alarms of a kind with the same `key` are one, whatever their details."""

    kind: Kind
    key: str
    detail: str


class Acknowledged(Struct, frozen=True, kw_only=True):
    """That somebody looks after an incident, since when (seconds), and why that is enough."""

    at: int
    reason: Annotated[str, Meta(min_length=1, max_length=MAX_REASON)]


class Incident(Struct, frozen=True, kw_only=True):
    """An alarm that is on, since `at` (seconds since 1970); `id` stays until it goes off."""

    id: str
    at: int
    alarm: Alarm
    acknowledged: Acknowledged | None = None


class Alarms:
    """The alarms that are on. `say` takes one line of JSON, as a mapping."""

    def __init__(self, path: Path, say: Say, clock: Callable[[], int]) -> None:
        """Begin with the alarms that a file keeps. Raises `CannotCheck` if it cannot be read."""
        self._path, self._say, self._clock = path, say, clock
        self._on: dict[tuple[Kind, str], Incident] = {}  # in the order in which they went on
        self._saved = read_incidents(path)
        for incident in self._saved:
            self._on[_place(incident.alarm)] = incident
            self._tell(incident, "on")

    def keep(self, alarm: Alarm) -> None:
        """Switch on an alarm that never goes off, or give it another detail; `save` keeps it."""
        assert alarm.kind in LASTING
        if _place(alarm) in self._on:
            self._renew(alarm)
        elif sum(each.alarm.kind in LASTING for each in self._on.values()) < MAX_KEPT:
            self._begin(alarm)

    def save(self) -> None:
        """Keep the incidents in the file, if they have changed. Raises `OSError`."""
        incidents = list(self._on.values())
        if incidents != self._saved:
            replace_file(self._path, msgspec.json.encode(incidents) + b"\n")
            self._saved = incidents

    def settle(self, kind: Kind, details: Mapping[str, str]) -> None:
        """Switch the alarms of a kind, so that exactly these are on, each with its detail.

        One that is on already is not reported again, though its detail may be another now.
        """
        assert kind not in LASTING
        on = {each.alarm.key: each for each in self._on.values() if each.alarm.kind == kind}
        for key, incident in on.items():
            if key not in details:
                self._end(incident)
        for key, detail in details.items():
            alarm = Alarm(kind, key, detail)
            if key in on:
                self._renew(alarm)
            else:
                self._begin(alarm)

    def take_acknowledgements(self) -> None:
        """Note which incidents somebody looks after by now, and drop what is said of ended ones.

        Raises `OSError`.
        """
        for place, incident in self._on.items():
            if incident.acknowledged is None:
                found = _read_acknowledged(_acknowledgement(self._path.parent, incident.id))
                if found is not None:
                    self._on[place] = msgspec.structs.replace(incident, acknowledged=found)
                    self._tell(self._on[place], "acknowledged")
        on = {incident.id for incident in self._on.values()}
        for file in (self._path.parent / ACKNOWLEDGED).glob("inc-*.json"):
            if file.stem not in on:
                file.unlink()

    def incidents(self) -> list[Incident]:
        """Return the incidents that are on, the oldest first."""
        return list(self._on.values())

    def count(self, kind: Kind) -> int:
        """Return how many of a kind are on."""
        return sum(each == kind for each, _ in self._on)

    def details(self, kind: Kind) -> dict[str, str]:
        """Return what the alarms of a kind that are on say now, by key."""
        alarms = [each.alarm for each in self._on.values()]
        return {alarm.key: alarm.detail for alarm in alarms if alarm.kind == kind}

    def _begin(self, alarm: Alarm) -> None:
        at = self._clock()
        named = f"{alarm.kind}\n{alarm.key}\n{at}".encode()
        incident = Incident(id=f"inc-{sha256(named).hexdigest()[:12]}", at=at, alarm=alarm)
        self._on[_place(alarm)] = incident
        self._tell(incident, "on")

    def _renew(self, alarm: Alarm) -> None:
        place = _place(alarm)
        self._on[place] = msgspec.structs.replace(self._on[place], alarm=alarm)

    def _end(self, incident: Incident) -> None:
        del self._on[_place(incident.alarm)]
        self._tell(incident, "off")

    def _tell(self, incident: Incident, state: Literal["on", "acknowledged", "off"]) -> None:
        alarm, told = incident.alarm, incident.acknowledged
        line = {"alarm": alarm.kind, "state": state, "incident": incident.id}
        line |= {"at": format_instant(self._clock()), "detail": alarm.detail}
        self._say(line if told is None else line | {"reason": told.reason})


def acknowledge(folder: Path, incident: str, reason: str, now: int) -> None:
    """Leave word for the monitor of a folder that somebody looks after an incident.

    The monitor may run, and takes it at its next look. Raises `CannotCheck` where no such incident
    is on, or the reason is none, and `OSError`.
    """
    reason = reason.strip()
    if not 1 <= len(reason) <= MAX_REASON or not reason.isprintable():
        raise CannotCheck(f"a reason has 1 to {MAX_REASON} printable characters")
    on = {each.id for each in read_incidents(folder / FILE)}
    if incident not in on:
        told = ", ".join(sorted(on)) or "none"
        raise CannotCheck(f"no incident {incident!r:.40} is on in {folder}; there are: {told}")
    make_private(folder / ACKNOWLEDGED)
    data = msgspec.json.encode(Acknowledged(at=now, reason=reason))
    replace_file(_acknowledgement(folder, incident), data + b"\n")


def read_incidents(path: Path) -> list[Incident]:
    """Return the incidents of a file, none where there is none. Raises `CannotCheck`."""
    if not path.exists():
        return []
    try:
        return msgspec.json.decode(path.read_bytes(), type=list[Incident])
    except (OSError, ValueError) as error:
        raise CannotCheck(f"the alarms in {path} cannot be read: {error}") from error


def _place(alarm: Alarm) -> tuple[Kind, str]:
    return alarm.kind, alarm.key


def _acknowledgement(folder: Path, incident: str) -> Path:
    return folder / ACKNOWLEDGED / f"{incident}.json"


def _read_acknowledged(path: Path) -> Acknowledged | None:
    """Return what a file says; one that says nothing of the kind acknowledges nothing."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Acknowledged)
    except (FileNotFoundError, ValueError):
        return None
