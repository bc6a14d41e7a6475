"""Places in long responses: a page has a `next`, which the query for the next page has as `after`.

To a client the text means nothing. It is base64url (RFC 4648 section 5, unpadded) of the first
sixteen bytes of HMAC-SHA256 over query and place, then the place as a JSON list:

    ["/v1/providers/pcl/rejected",[]] and [41,3]  ->  "…WzQxLDNd"

Its key is DIR/cursor.key. So a place is one that this service came to: a text that was cut,
changed, made by others or taken from another query is refused. Whoever has the key can put any
number into it, and still meets no more than a refusal or another page.
"""

import base64
import hmac
import re
from collections.abc import Callable
from typing import Annotated, Any, Final, TypeVar

import msgspec
from msgspec import Meta, Struct

from ledger.canon import MAX_INTEGER
from ledger.store import Head
from meter.api.context import PART
from meter.api.responses import as_of
from meter.api.routes import Ask
from meter.tables.pages import Page
from meter.values.problems import Problem

MAX_PAGE: Final = 1_000  # items; so a response stays below some hundred kilobytes
TAG_BYTES: Final = 16
_PLACE_TEXT: Final = re.compile(r"[\x20-\x7e]{0,128}")

Place = TypeVar("Place", bound=tuple[int | str, ...])
T = TypeVar("T")
Limit = Annotated[int, Meta(ge=1, le=MAX_PAGE)]
Cursor = Annotated[str, Meta(max_length=400, pattern=r"^[A-Za-z0-9_-]*\Z")]


class PageQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """Which page: the items after a place, at most `limit` of them."""

    after: Cursor = ""
    limit: Limit = 100


# What says how much of a query's response is asked for, and not what the query is.
_OF_ANY_PAGE: Final = {*PageQuery.__struct_fields__, PART}


def place(ask: Ask, start: Place) -> Place:
    """Return the place after which the page begins, `start` by default. Raises `Problem`."""
    if not ask.query.after:
        return start
    found = _decode(ask)
    if found is None or list(map(type, found)) != list(map(type, start)):
        raise Problem("malformed", "after: not the `next` of a response to this query")
    return found  # type: ignore[return-value]  # its parts have the types of `start`


def page_fields(
    ask: Ask, head: Head, page: Page[T], key: Callable[[T], Place], after: Place
) -> dict[str, Any]:
    """Return a page's fields beside its items, which lie after a place; `key` is an item's."""
    last = key(page.items[-1]) if page.items else after
    return page_end(ask, head, last, more=page.more)


def page_end(ask: Ask, head: Head, last: tuple[int | str, ...], *, more: bool) -> dict[str, Any]:
    """Return a page's fields beside its items; `last` is the place that it came to."""
    return {"next": cursor(ask, last), "more": more, "as_of": as_of(head.size, head.last_at)}


def cursor(ask: Ask, place: tuple[int | str, ...]) -> str:
    """Write a place as `next`."""
    data = msgspec.json.encode(place)
    return base64.urlsafe_b64encode(_tag(ask, data) + data).rstrip(b"=").decode()


def _decode(ask: Ask) -> tuple[int | str, ...] | None:
    text = ask.query.after
    try:
        data = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
        found = msgspec.json.decode(data[TAG_BYTES:], type=tuple[int | str, ...])
    except ValueError:
        return None
    # Written again it must be the same text, so that each place has one spelling.
    good = hmac.compare_digest(cursor(ask, found), text) and all(map(_is_comparable, found))
    return found if good else None


def _is_comparable(part: int | str) -> bool:
    if isinstance(part, int):
        return -MAX_INTEGER <= part <= MAX_INTEGER
    return _PLACE_TEXT.fullmatch(part) is not None


def _tag(ask: Ask, data: bytes) -> bytes:
    filters = sorted(
        (name, value) for name, value in ask.request.query.items() if name not in _OF_ANY_PAGE
    )
    query: list[Any] = [ask.request.path, filters]
    text = msgspec.json.encode(query) + data
    return hmac.digest(ask.context.cursor_key, text, "sha256")[:TAG_BYTES]
