"""The access log's rows: who asked what, how often in a minute; never what was answered.

A row is canonical JSON (RFC 8785), `at` the microseconds at which its minute begins:

    {"at":1740801600000000,"count":2,"person":"wang","role":"authority",
     "route":"/v1/enterprises/{uscc}/balance","subjects":["enterprise:91440300708461136T"],
     "token":"wang-1"}

A day of them has a digest: SHA-256 over its rows, each on one line, in the order of their bytes. A
row that came after its day was closed belongs to the next one.
"""

from collections.abc import Sequence
from hashlib import sha256
from typing import Final

from msgspec import Struct, to_builtins

from ledger.canon import encode
from meter.values.roles import Role
from meter.values.units import MICROSECONDS, day_of

MINUTE: Final = 60 * MICROSECONDS


class Access(Struct, frozen=True, kw_only=True):
    """What one reader asked in one minute, by one route, about the same subjects.

    `token` is the id of a token, or under which somebody signed in to the pages. `person` is whose
    it is, empty for a program's.
    """

    at: int
    token: str
    person: str
    role: Role
    route: str
    subjects: tuple[str, ...]
    count: int = 1


def minute_of(now: int) -> int:
    """Return when the minute of an instant began; both in microseconds."""
    return now - now % MINUTE


def day_of_access(at: int) -> int:
    """Return the Shanghai day of a row, from its microseconds."""
    return day_of(at // MICROSECONDS)


class DayDigest:
    """The digest of a day whose rows are added in parts, in the order of their `at` as text.

    A line begins with it, so the parts are in the order of lines.
    """

    def __init__(self) -> None:
        self.rows = 0
        self._hash = sha256()

    def add(self, rows: Sequence[Access]) -> None:
        """Add all rows of one minute, or of several."""
        self.rows += len(rows)
        for line in sorted(encode(to_builtins(row)) for row in rows):
            self._hash.update(line + b"\n")

    @property
    def hex(self) -> str:
        """The digest of what was added."""
        return self._hash.hexdigest()


def digest_of(rows: Sequence[Access]) -> str:
    """Return the hex digest of a day's rows, in whatever order they come."""
    digest = DayDigest()
    digest.add(rows)
    return digest.hex
