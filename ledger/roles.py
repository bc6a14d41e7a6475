"""The names of a ledger's two database roles.

    kashi_owner_9f86d081884c7d65      owns the tables
    kashi_service_9f86d081884c7d65    may read, and append

Roles belong to the whole server, which may hold several ledgers: the first 16 hex digits of
the origin's SHA-256 keep their roles apart.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Self


@dataclass(frozen=True, slots=True)
class Roles:
    """The roles of one ledger; neither can log in."""

    owner: str
    service: str

    @classmethod
    def of(cls, origin: str) -> Self:
        """Return the roles of the ledger of this name."""
        digest = sha256(origin.encode()).hexdigest()[:16]
        return cls(f"kashi_owner_{digest}", f"kashi_service_{digest}")

    @property
    def names(self) -> Mapping[str, str]:
        """The names as scripts have them."""
        return {"owner": self.owner, "service": self.service}
