"""The access log, for auditors: who asked what and when, searched, and downloaded as CSV.

An operator has the same file without a service (`service/access_export.py`).
"""

from collections.abc import AsyncIterator, Iterable
from typing import Any, Final
from urllib.parse import urlencode

from aiohttp import web

from meter.api.access_responses import AccessView
from meter.api.cursor import Limit, PageQuery
from meter.api.get_access_log import AccessQuery, get_access_log
from meter.api.routes import Ask, answer, answers
from meter.console import page
from meter.console.csv_file import csv_file, csv_lines
from meter.console.export import EXPORTED
from meter.console.formats import Language
from meter.values.problems import Problem
from meter.values.strict import convert_query
from meter.values.units import DAY_SECONDS, format_date, parse_date

LISTED: Final = 100  # rows of a page
FILTERS: Final = {  # by the name in the URL, the type of its field
    "day": "date",
    "from": "date",
    "until": "date",
    "token": "text",
    "person": "text",
    "subject": "text",
    "route": "text",
}
HEAD: Final = ("day", "time", "token", "person", "role", "route", "subjects", "count")
_FIELDS: Final = {"from": "starts", "until": "ends"}


class AccessShown(
    PageQuery, frozen=True, forbid_unknown_fields=False, rename={"starts": "from", "ends": "until"}
):
    """What is searched for: as a form sends it, where a field may be empty."""

    limit: Limit = LISTED
    day: str = ""
    starts: str = ""
    ends: str = ""
    token: str = ""
    person: str = ""
    subject: str = ""
    route: str = ""


async def show_access_log(ask: Ask, language: Language) -> web.StreamResponse:
    """Show who asked what, the oldest first."""
    sought = _sought(ask.query)
    found = await answer(ask, get_access_log, _query(sought, ask.query.after, ask.query.limit))
    return page.show(
        ask,
        "access_log.html",
        language,
        page=found,
        filters=FILTERS,
        sought=sought,
        link=urlencode(sought),
    )


async def export_access_log(ask: Ask, _language: Language) -> web.StreamResponse:
    """Send the same rows as CSV."""
    return await page.send_file(ask, "access-log.csv", _parts(ask))


async def _parts(ask: Ask) -> AsyncIterator[bytes]:
    """Yield a file page by page.

    Each is read by itself, so that nobody who reads slowly holds a connection of the database: to
    the access log, rows are only added.
    """
    query, begin = _query(_sought(ask.query), "", EXPORTED), file_begin()
    async for part in answers(ask, get_access_log, query):
        yield begin + file_lines(part.accesses)
        begin = b""


def file_begin() -> bytes:
    """Return the head of a file, with its byte order mark."""
    return csv_file(HEAD, [])


def file_lines(accesses: Iterable[AccessView]) -> bytes:
    """Return the lines of some accesses in a file."""
    return csv_lines(map(_row, accesses))


def _sought(query: AccessShown) -> dict[str, str]:
    """Return the filters that are filled in, by their names in the URL."""
    given = {name: getattr(query, _FIELDS.get(name, name)).strip() for name in FILTERS}
    return {name: text for name, text in given.items() if text}


def _query(sought: dict[str, str], after: str, limit: int) -> AccessQuery:
    """Return the API's query, for the one day that is named if one is. Raises `malformed`."""
    texts = sought | {"after": after, "limit": str(limit)}
    try:
        if "day" in texts:
            day = texts.pop("day")
            texts |= {"from": day, "until": format_date(parse_date(day) + DAY_SECONDS)}
        return convert_query(texts, AccessQuery)
    except ValueError as error:
        raise Problem("malformed", f"in the URL: {error}") from None


def _row(access: AccessView) -> list[str]:
    texts: list[Any] = [getattr(access, name) for name in HEAD]
    return [" ".join(each) if isinstance(each, list) else str(each) for each in texts]


ROUTES: Final = (
    *page.pages("access-log", show_access_log, ("auditor",), AccessShown),
    *page.pages("access-log.csv", export_access_log, ("auditor",), AccessShown),
)
