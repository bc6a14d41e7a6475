"""The access log, for auditors: who asked what and when, searched, and downloaded as CSV."""

from typing import Any, Final
from urllib.parse import urlencode

from aiohttp import web

from meter.api.access_responses import AccessView
from meter.api.cursor import Limit, PageQuery
from meter.api.get_access_log import AccessQuery, get_access_log
from meter.api.routes import Ask, answer
from meter.console import page
from meter.console.csv_file import csv_file
from meter.console.export import EXPORTED, everything
from meter.console.formats import Language
from meter.values.problems import Problem
from meter.values.strict import convert_query

LISTED: Final = 100  # rows of a page
FILTERS: Final = {  # by the name in the URL, the type of its field
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
    """Return the same rows as CSV."""
    query = _query(_sought(ask.query), "", EXPORTED)
    rows = [_row(each) for each in await everything(ask, get_access_log, "accesses", query)]
    return page.download(ask, "access-log.csv", csv_file(HEAD, rows))


def _sought(query: AccessShown) -> dict[str, str]:
    """Return the filters that are filled in, by their names in the URL."""
    given = {name: getattr(query, _FIELDS.get(name, name)).strip() for name in FILTERS}
    return {name: text for name, text in given.items() if text}


def _query(sought: dict[str, str], after: str, limit: int) -> AccessQuery:
    """Return the API's query. Raises `malformed`."""
    texts = sought | {"after": after, "limit": str(limit)}
    try:
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
