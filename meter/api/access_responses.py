"""The access log as JSON."""

from msgspec import Struct

from meter.api.responses import Page
from meter.values.roles import Role


class AccessView(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What one reader asked in a minute by one route; `time` is when the minute began.

    `day` is the one whose digest it is in: of its minute, or a later one where it was written late.
    `token` is the id of a token, or under which somebody signed in to the pages. `person` is whose
    it is, if not a program's.
    """

    day: str
    time: str
    token: str
    person: str = ""
    role: Role
    route: str
    subjects: list[str]
    count: int


class DigestView(Struct, frozen=True, kw_only=True):
    """The entry that holds the number of a day's rows, and their digest."""

    day: str
    entry: int
    rows: int
    sha256: str


class AccessPage(Page, frozen=True, kw_only=True):
    """Rows of the access log, the oldest first; the digests of their days, as far as made."""

    accesses: list[AccessView]
    digests: list[DigestView]
