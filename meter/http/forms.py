"""Forms: where one may come from, and how its body is read.

A browser itself says where a request comes from, and no page can change that: `Sec-Fetch-Site`
(W3C Fetch Metadata, section 2.4). The form of a page with `no-referrer` has `Origin: null`, so a
browser that says the former need not say the latter.
"""

from collections.abc import Mapping
from typing import Final
from urllib.parse import parse_qsl

from aiohttp import hdrs, web

from meter.host.sign_in import is_loopback
from meter.http.bodies import BODIES
from meter.values.problems import Problem

MAX_FORM_BYTES: Final = 512 * 1024
MAX_FIELDS: Final = 2_000  # of a claim with all its papers, and some more
TYPE: Final = "application/x-www-form-urlencoded"
SEC_FETCH_SITE: Final = "Sec-Fetch-Site"
FORWARDED_FOR: Final = "X-Forwarded-For"

Form = Mapping[str, str]


def own_origin(request: web.Request, site: str) -> str:
    """Return the origin under which browsers see us: the configured `site`, else the loopback's.

    Raises `insecure` where a request came elsewhere.
    """
    if site:
        return site
    if not is_loopback(request.host):
        raise Problem("insecure", "plain HTTP is for 127.0.0.1; elsewhere name `site`")
    return f"{request.scheme}://{request.host}"


def check_origin(request: web.Request, site: str) -> None:
    """Raise `foreign_form` unless one of our own pages sends the form."""
    own = own_origin(request, site)
    origin = request.headers.get(hdrs.ORIGIN, "null")
    sender = request.headers.get(SEC_FETCH_SITE)
    if sender not in (None, "same-origin"):
        raise Problem("foreign_form", "it comes from another site")
    if origin != own and (origin != "null" or sender is None):
        raise Problem("foreign_form", f"it does not come from {own}")


def sender_of(request: web.Request) -> str:
    """Return the address that asks; a server before us, on this machine, says whose it is."""
    peer = request.remote or ""
    if not is_loopback(peer):
        return peer
    return request.headers.getall(FORWARDED_FOR, [peer])[-1].rpartition(",")[2].strip()


async def read_form(request: web.Request) -> Form:
    """Return the fields of a form. Raises `malformed`, and what reading a body raises."""
    if request.content_type != TYPE:
        raise Problem("malformed", f"a form is sent as {TYPE}")
    return parse_form(await request.app[BODIES].read(request, MAX_FORM_BYTES))


def parse_form(body: bytes) -> Form:
    """Return the fields of a form's body. Raises `malformed`."""
    try:
        fields = parse_qsl(
            body.decode("ascii"),
            keep_blank_values=True,
            errors="strict",
            max_num_fields=MAX_FIELDS,
        )
    except ValueError:
        raise Problem("malformed", "the form is not encoded as forms are") from None
    if len(dict(fields)) != len(fields):
        raise Problem("malformed", "a field stands twice in the form")
    return dict(fields)
