"""The work of `kashi audit access-log`: rows of the access log against the digests in the ledger.

    day,time,token,person,role,route,subjects,count
    2025-03-01,2025-03-01T12:00:00+08:00,firm,,enterprise,/v1/me,enterprise:91440300708461136T,1

The file is as the service gives it to auditors (`console/access_log.py`): whole days, with all
their rows. Each day's rows must have the digest (`wire/access_log.py`) that the entry of the day
names.
"""

import csv
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from io import StringIO
from typing import Final

from msgspec import convert

from ledger.errors import Violation
from meter.auditor.papers.log import VerifiedLog
from meter.rules.entries import AccessDigested
from meter.values.units import MICROSECONDS, parse_date, parse_instant
from meter.values.worded import worded
from meter.wire.access_log import Access, digest_of

COLUMNS: Final = ("day", "time", "token", "person", "role", "route", "subjects", "count")
Days = dict[str, list[Access]]


@dataclass(frozen=True, slots=True)
class GoodDay:
    """A day whose rows are those of its digest, the entry of that number."""

    day: str
    rows: int
    entry: int


def read_days(data: bytes) -> Days:
    """Return the rows of a file by day. Raises `ValueError`."""
    try:
        head, *lines = csv.reader(StringIO(data.decode("utf-8-sig"), newline=""), strict=True)
    except (ValueError, csv.Error) as error:
        raise ValueError(worded(f"not a CSV file: {error}")) from None
    if tuple(head) != COLUMNS:
        columns = ",".join(COLUMNS)
        raise ValueError(worded(f"its first line must be {columns}"))
    days: Days = defaultdict(list)
    for number, line in enumerate(lines, 2):
        try:
            day, access = _read(line)
        except ValueError as error:
            raise ValueError(worded(f"line {number}: {error}")) from None
        days[day].append(access)
    if not days:
        raise ValueError(worded("it has no rows"))
    return dict(days)


def _read(line: list[str]) -> tuple[str, Access]:
    if len(line) != len(COLUMNS):
        count, expected = len(line), len(COLUMNS)
        raise ValueError(worded(f"{count} cells, not {expected}"))
    cells = dict(zip(COLUMNS, line, strict=True))
    day = cells.pop("day")
    parse_date(day)
    if not cells["count"].isascii() or not cells["count"].isdecimal():
        raise ValueError(worded(f"not a count: {cells['count']!r:.80}"))
    at = parse_instant(cells.pop("time")) * MICROSECONDS
    more = {"at": at, "subjects": cells["subjects"].split(), "count": int(cells["count"])}
    return day, convert({**cells, **more}, Access)


def check(log: VerifiedLog, days: Days) -> Iterator[GoodDay]:
    """Yield the days that are as the log says, in order.

    Raises `Violation` for one that is not, also for one that is left out between two others, and
    `ValueError` for one that has no digest yet.
    """
    digests = {
        kept.entry.day: (kept.number, kept.entry)
        for kept in log.entries()
        if isinstance(kept.entry, AccessDigested)
    }
    newest, first, last = max(digests, default=""), min(days), max(days)
    for day in sorted(days.keys() | {each for each in digests if first <= each <= last}):
        if day > newest:
            raise ValueError(worded(f"{day} has no digest in the log yet"))
        rows = days.get(day, [])
        count = len(rows)
        if day not in digests:
            detail = f"{day} has {count} rows, and had none when a later day was digested"
            raise Violation("access_log_changed", detail)
        number, entry = digests[day]
        stated = entry.rows
        if (count, digest_of(rows)) != (stated, entry.sha256):
            detail = f"{day} has {count} rows, which are not the {stated} of its digest"
            raise Violation("access_log_changed", detail, number)
        yield GoodDay(day, count, number)
