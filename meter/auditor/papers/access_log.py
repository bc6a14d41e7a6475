"""The work of `kashi audit access-log`: rows of the access log against the digests in the ledger.

    day,time,token,person,role,route,subjects,count
    2025-03-01,2025-03-01T12:00:00+08:00,firm,,enterprise,/v1/me,enterprise:91440300708461136T,1

The file is as the service gives it to auditors (`console/access_log.py`): whole days, with all
their rows, one day after the other. Each day's rows must have the digest (`wire/access_log.py`)
that the entry of the day names. One day is in memory at a time.
"""

import csv
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from msgspec import convert

from ledger.errors import Violation
from meter.auditor.papers.log import VerifiedLog
from meter.rules.entries import AccessDigested
from meter.values.units import MICROSECONDS, parse_date, parse_instant
from meter.values.worded import worded
from meter.wire.access_log import Access, digest_of

COLUMNS: Final = ("day", "time", "token", "person", "role", "route", "subjects", "count")
Day = tuple[str, list[Access]]


@dataclass(frozen=True, slots=True)
class GoodDay:
    """A day whose rows are those of its digest, the entry of that number."""

    day: str
    rows: int
    entry: int


def read_days(lines: Iterable[str]) -> Iterator[Day]:
    """Return the days of a file with their rows, one after the other. Raises `ValueError`.

    The days that it yields are in order, else it raises `ValueError` too.
    """
    rows = _rows(lines)
    head = next(rows, None)
    if head is None or tuple(head) != COLUMNS:
        columns = ",".join(COLUMNS)
        raise ValueError(worded(f"its first line must be {columns}"))
    return _days(rows)


def _rows(lines: Iterable[str]) -> Iterator[list[str]]:
    try:
        yield from csv.reader(lines, strict=True)
    except (ValueError, csv.Error) as error:
        raise ValueError(worded(f"not a CSV file: {error}")) from None


def _days(rows: Iterator[list[str]]) -> Iterator[Day]:
    day, held = "", list[Access]()
    for number, row in enumerate(rows, 2):
        try:
            of_day, access = _read(row)
        except ValueError as error:
            raise ValueError(worded(f"line {number}: {error}")) from None
        if of_day < day:
            raise ValueError(worded(f"line {number}: {of_day} comes after {day}"))
        if of_day > day and held:
            yield day, held
            held = []
        day = of_day
        held.append(access)
    if not held:
        raise ValueError(worded("it has no rows"))
    yield day, held


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


def check(log: VerifiedLog, days: Iterator[Day]) -> Iterator[GoodDay]:
    """Yield the days that are as the log says, in order.

    Raises `Violation` for one that is not, also for one that is left out between two others, and
    `ValueError` for one that has no digest yet, and for what is no file.
    """
    digests = {
        kept.entry.day: (kept.number, kept.entry)
        for kept in log.entries()
        if isinstance(kept.entry, AccessDigested)
    }
    newest, before = max(digests, default=""), ""
    for day, rows in days:
        if day > newest:
            raise ValueError(worded(f"{day} has no digest in the log yet"))
        for left_out in sorted(each for each in digests if "" < before < each < day):
            _compare(left_out, [], digests[left_out])
        if day not in digests:
            count = len(rows)
            detail = f"{day} has {count} rows, and had none when a later day was digested"
            raise Violation("access_log_changed", detail)
        yield _compare(day, rows, digests[day])
        before = day


def _compare(day: str, rows: list[Access], digest: tuple[int, AccessDigested]) -> GoodDay:
    """Return a day whose rows are those of its digest. Raises `Violation`."""
    (number, entry), count = digest, len(rows)
    stated = entry.rows
    if (count, digest_of(rows)) != (stated, entry.sha256):
        detail = f"{day} has {count} rows, which are not the {stated} of its digest"
        raise Violation("access_log_changed", detail, number)
    return GoodDay(day, count, number)
