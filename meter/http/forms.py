"""Forms: where one may come from, and how its body is read.

A browser itself says where a request comes from, and no page can change that: `Sec-Fetch-Site`
(W3C Fetch Metadata, section 2.4). The form of a page with `no-referrer` has `Origin: null`, so a
browser that says the former need not say the latter.
"""

from collections.abc import Mapping
from email.parser import BytesParser
from email.policy import HTTP
from typing import Final
from urllib.parse import parse_qsl

from aiohttp import hdrs, web

from meter.host.sign_in import is_loopback
from meter.http.bodies import BODIES
from meter.values.problems import Problem

MAX_FORM_BYTES: Final = 512 * 1024
MAX_FIELDS: Final = 2_000  # of a claim with all its papers, and some more
TYPE: Final = "application/x-www-form-urlencoded"
WITH_FILES: Final = "multipart/form-data"
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


async def read_form(request: web.Request, *, with_files: bool = False) -> Form:
    """Return the fields of a form. Raises `malformed`, and what reading a body raises.

    Only who may send a file has one read: that takes longer than other forms of its size.
    """
    if request.content_type != TYPE and not (with_files and request.content_type == WITH_FILES):
        raise Problem("malformed", f"a form is sent as {WITH_FILES if with_files else TYPE}")
    body = await request.app[BODIES].read(request, MAX_FORM_BYTES)
    if request.content_type == TYPE:
        return parse_form(body)
    return parse_files(request.headers[hdrs.CONTENT_TYPE], body)


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


def parse_files(content_type: str, body: bytes) -> Form:
    """Return the fields of a form with files (RFC 7578), a file's as its text. Raises `malformed`.

    A spreadsheet in China writes a file as GB 18030 unless it is told otherwise.
    """
    # The parser of mail reads the same format (RFC 2046 section 5.1).
    head = f"Content-Type: {content_type}\r\n\r\n".encode("ascii", "replace")
    message = BytesParser(policy=HTTP).parsebytes(head + body)
    if not message.is_multipart() or message.defects:
        raise Problem("malformed", "the form is not encoded as forms with files are")
    found: dict[str, str] = {}
    for part in message.iter_parts():
        name = part.get_param("name", header="content-disposition")
        data = part.get_payload(decode=True)
        if not isinstance(name, str) or not isinstance(data, bytes):
            raise Problem("malformed", "a part of the form has no name")
        if name in found:
            raise Problem("malformed", "a field stands twice in the form")
        found[name] = _text(data)
    return found


def _text(data: bytes) -> str:
    for encoding in ("utf-8", "gb18030"):
        try:
            return data.decode(encoding)
        except UnicodeDecodeError:
            continue
    raise Problem("malformed", "a file is neither UTF-8 nor GB 18030")
