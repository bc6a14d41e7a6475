"""Who is signed in to the pages: a session is a secret in a cookie, and a row under its hash.

    Set-Cookie: __Host-kashi=<43 characters>; Path=/; Secure; HttpOnly; SameSite=Lax

The name's prefix makes browsers refuse the cookie without Secure, with a Domain, or from another
path, so that no neighbouring host can plant one (RFC 6265bis section 4.1.3.2). Browsers take Secure
on `http://127.0.0.1` too. SameSite is Lax because the return from an issuer comes from elsewhere.

The session's form token follows from the secret, and is kept nowhere.
"""

import hmac
import ipaddress
import re
import secrets
from base64 import urlsafe_b64encode
from collections import deque
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from meter.host.tokens import SECRET_BYTES, Identity
from meter.values.problems import Problem
from meter.values.roles import Role
from meter.values.units import MICROSECONDS

COOKIE: Final = "__Host-kashi"
MAX_SECONDS: Final = 12 * 3_600  # of a session, however much it is used
IDLE_SECONDS: Final[dict[Role, int]] = {
    "authority": 30 * 60,
    "auditor": 8 * 3_600,
    "provider": 8 * 3_600,
    "enterprise": 8 * 3_600,
}
LINK_SECONDS: Final = 3_600  # until a link that nobody opened is void
MAX_NAME: Final = 200  # characters of what pages call a person
MAX_FAILURES: Final = 10  # of sign-ins in a minute, of one address
_FAILURE_SECONDS: Final = 60
_MAX_ADDRESSES: Final = 10_000  # that are remembered, a few MB

# What a person does on the pages; what an official lets in or out stands beside the form's line.
DONE: Final = (
    *("sign_in", "sign_out", "form", "export"),
    *("person", "bind", "link", "end_sessions", "end", "token", "revoke"),
)

_HOST: Final = re.compile(r"(?:\[(?P<v6>[^\]]*)\]|(?P<name>[^:]*))(?::[0-9]+)?")
_SECRET: Final = re.compile(r"[A-Za-z0-9_-]{43}")
# A page: it begins with its language, so no other host and no other part of ours can be meant.
_PAGE: Final = re.compile(r"/(?:zh|en)/[!-\[\]-~]{0,2000}")


@dataclass(frozen=True, slots=True)
class Entrance:
    """Where people sign in: at `site`, an origin over HTTPS, or without one on this machine alone.

    There a link signs in too; at a site only where the operator lets `links` do so.
    """

    site: str = ""
    links: bool = False

    @property
    def takes_links(self) -> bool:
        """Return whether a link signs in."""
        return self.links or not self.site


@dataclass(frozen=True, slots=True)
class Person:
    """Who may sign in; `who.token_id` stands as `by` in the entries that the person makes.

    Of the authority it is an id that an entry names as a token's (docs/persons.md). A person with
    an `issuer` signs in there, as `subject_there`, and by no link. `ended_at` in microseconds.
    """

    who: Identity
    name: str
    issuer: str = ""
    subject_there: str = ""
    ended_at: int | None = None


@dataclass(frozen=True, slots=True)
class Session:
    """A browser in which a person is signed in; `ends_at` in microseconds, used or not."""

    person: Person
    digest: bytes
    form_token: str
    ends_at: int

    @property
    def who(self) -> Identity:
        """The identity under which its requests are answered."""
        return self.person.who


@dataclass(frozen=True, slots=True)
class Act:
    """What of `DONE` a person did on the pages; `at` in microseconds.

    Where an official lets somebody in or out, the path says whom, and as whom.
    """

    at: int
    person: str
    what: str
    path: str


def new_secret() -> str:
    """Return a fresh secret, of a session or of a link."""
    return secrets.token_urlsafe(SECRET_BYTES)


def is_secret(text: str) -> bool:
    """Return whether a text has the form of a secret."""
    return _SECRET.fullmatch(text) is not None


def digest_of(secret: str) -> bytes:
    """Return the hash under which a secret is kept."""
    return sha256(secret.encode("ascii")).digest()


def derived(secret: str, purpose: str) -> str:
    """Return a text that follows from a secret, and tells nothing of it."""
    digest = hmac.digest(secret.encode("ascii"), purpose.encode("ascii"), "sha256")
    return urlsafe_b64encode(digest).rstrip(b"=").decode("ascii")


def form_token(secret: str) -> str:
    """Return what each form of a session holds."""
    return derived(secret, "form")


def has_ended(role: Role, began_at: int, used_at: int, now: int) -> bool:
    """Return whether a session is too old, or was left alone for too long (microseconds)."""
    idle = now - used_at >= IDLE_SECONDS[role] * MICROSECONDS
    return idle or now - began_at >= MAX_SECONDS * MICROSECONDS


def local_page(text: str) -> str | None:
    """Return the path of a page of ours, with its query; None where it could lead elsewhere."""
    return text if _PAGE.fullmatch(text) else None


def is_loopback(host: str) -> bool:
    """Return whether a host, with or without port, is the machine itself."""
    found = _HOST.fullmatch(host)
    name = (found["v6"] or found["name"]) if found else host
    if name == "localhost":
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


class Failures:
    """Sign-ins that have failed within the last minute, by address. Owns the account."""

    def __init__(self) -> None:
        self._of: dict[str, deque[int]] = {}

    def check(self, address: str, now: int) -> None:
        """Raise `too_many_sign_ins` where an address has to wait; `now` in microseconds."""
        if len(self._recent(_network(address), now)) >= MAX_FAILURES:
            raise Problem("too_many_sign_ins", f"{MAX_FAILURES} have failed within a minute")

    def note(self, address: str, now: int) -> None:
        """Note that a sign-in has failed."""
        network = _network(address)
        failures = self._recent(network, now)
        failures.append(now)
        self._of.pop(network, None)
        self._of[network] = failures
        while len(self._of) > _MAX_ADDRESSES:
            del self._of[next(iter(self._of))]

    def _recent(self, network: str, now: int) -> deque[int]:
        failures = self._of.get(network, deque())
        while failures and now - failures[0] >= _FAILURE_SECONDS * MICROSECONDS:
            failures.popleft()
        return failures


def _network(address: str) -> str:
    """Return an address, of IPv6 the 64 bits that one subscriber has."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address
    if found.version == 4:
        return str(found)
    return str(ipaddress.ip_network((int(found) >> 64 << 64, 64)))
