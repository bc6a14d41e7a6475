"""Bearer tokens, `<id>.<secret>`; the service keeps the id and the sha256 of the secret.

The id goes into the entries that the token's holder makes (`by`), the secret nowhere. A token has
a role; those of a provider and of an enterprise are bound to one subject. It may expire, and it can
be revoked.
"""

import hmac
import re
import secrets
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Final, assert_never

from meter.values import uscc
from meter.values.problems import Problem
from meter.values.roles import Role

SECRET_BYTES: Final = 32
TOKEN_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_HEADER: Final = re.compile(rf"Bearer ({TOKEN_ID.pattern})\.([A-Za-z0-9_-]{{1,128}})")


@dataclass(frozen=True, slots=True)
class Identity:
    """The holder of a token; `subject` is a provider's id or an enterprise's USCC, else empty."""

    token_id: str
    role: Role
    subject: str = ""


@dataclass(frozen=True, slots=True)
class KnownToken:
    """What the service keeps of a token; `expires_at` in microseconds."""

    identity: Identity
    digest: bytes
    expires_at: int | None
    revoked: bool

    def admits(self, digest: bytes, now: int) -> bool:
        """Return whether a secret of this digest is valid at `now` (microseconds)."""
        # In constant time, which shows nothing of the secret.
        right = hmac.compare_digest(self.digest, digest)
        return right and not self.revoked and (self.expires_at is None or now < self.expires_at)


@dataclass(frozen=True, slots=True)
class ListedToken:
    """What may be shown of a token; all times in microseconds, `used_at` to about a minute.

    Of somebody who `signs_in` to the pages, it is the id under which that is done.
    """

    identity: Identity
    made_at: int
    expires_at: int | None
    used_at: int | None
    revoked_at: int | None
    signs_in: bool


@dataclass(frozen=True, slots=True)
class Token:
    """A new token: the text for its holder, and what the service keeps."""

    id: str
    text: str = field(repr=False)  # holds the secret, so no log may
    digest: bytes


def new_token(token_id: str) -> Token:
    """Make a token with a fresh secret."""
    secret = secrets.token_urlsafe(SECRET_BYTES)
    return Token(token_id, f"{token_id}.{secret}", _digest(secret))


def has_fitting_subject(identity: Identity) -> bool:
    """Return whether the subject has the form that the role needs."""
    match identity.role:
        case "provider":
            return TOKEN_ID.fullmatch(identity.subject) is not None  # the form of all our ids
        case "enterprise":
            return uscc.is_valid(identity.subject)
        case "authority" | "auditor":
            return identity.subject == ""
        case unknown:
            assert_never(unknown)


def parse_header(header: str) -> tuple[str, bytes]:
    """Read an Authorization header: token id and digest of the secret. Raises `unauthorized`."""
    match = _HEADER.fullmatch(header)
    if match is None:
        raise Problem("unauthorized", "the Authorization header holds no bearer token")
    return match[1], _digest(match[2])


def _digest(secret: str) -> bytes:
    return sha256(secret.encode("ascii")).digest()
