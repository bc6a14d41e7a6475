"""How the database's server is set and who copies it, for an operator's look."""

from dataclasses import dataclass
from typing import Final

from ledger import store as ledger_store
from ledger.queries import load
from meter.tables.connections import Connection

_SQL: Final = load("meter.tables", "health.sql")


@dataclass(frozen=True, slots=True)
class Settings:
    """A server's settings; `made_with` and `collation` are versions of the database's collation."""

    version: str
    takes_writes: bool
    connections: int
    has_checksums: bool
    made_with: str
    collation: str


@dataclass(frozen=True, slots=True)
class Standby:
    """A copy that follows: `kind` is PostgreSQL's word (async, sync, quorum, potential)."""

    name: str
    kind: str
    behind_bytes: int

    @property
    def is_synchronous(self) -> bool:
        return self.kind in {"sync", "quorum"}


@dataclass(frozen=True, slots=True)
class Replication:
    """All standbys, unless our login may not see how they are, and slots that nobody reads."""

    standbys: list[Standby]
    idle_slots: list[str]
    are_seen: bool


async def settings(connection: Connection) -> Settings:
    """Return how the server is set."""
    row = await connection.fetchrow(_SQL["settings"])
    assert row is not None, "a statement without a table returns one row"
    made_with, now = await ledger_store.collation_versions(connection)
    takes_writes = await ledger_store.takes_writes(connection)
    return Settings(
        row["version"], takes_writes, row["connections"], row["has_checksums"], made_with, now
    )


async def replication(connection: Connection) -> Replication:
    """Return who copies the server, as far as the connection's role may see."""
    rows = await connection.fetch(_SQL["standbys"])
    slots = await connection.fetch(_SQL["idle_slots"])
    standbys = [Standby(row["name"], row["kind"] or "", row["behind"] or 0) for row in rows]
    are_seen = all(row["kind"] is not None for row in rows)
    return Replication(standbys, [row["slot_name"] for row in slots], are_seen)
