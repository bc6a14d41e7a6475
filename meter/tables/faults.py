"""What a database refuses or fails, as codes that stay: `kashi` ends with one line that tells both.

    kashi: no_database: there is no such database (database "ledger" does not exist)

The driver's exceptions go no further than to `told`, and to `connections.reading`, where a query is
answered 503 while the database is away.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import asyncpg

from ledger.errors import LedgerError

DRIVER: Final = (
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    ConnectionError,
)

# What is raised where the server cannot be reached, goes away, is not up yet, or has no room for
# one more: the same may succeed later. Two are the driver's, where it learns of that between two
# messages; a pooler between us raises class 08, and class 26 where it has dealt out our session.
AWAY: Final = (
    OSError,
    asyncpg.PostgresConnectionError,
    asyncpg.InsufficientResourcesError,
    asyncpg.OperatorInterventionError,
    asyncpg.InvalidSQLStatementNameError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
)

# SQLSTATE or its class (Appendix A of PostgreSQL's manual): code, what it means here. The longest
# one that fits is meant.
_MEANINGS: Final = {
    "08": ("unavailable", "the database went away"),
    "26": ("unsafe_server", "a pooler deals out our session"),
    "42P05": ("unsafe_server", "a pooler deals out sessions of others"),
    "28": ("login_refused", "the database refuses the login"),
    "25006": ("read_only", "the database takes no writes"),
    "3D000": ("no_database", "there is no such database"),
    "42501": ("missing_privilege", "the login or its role lacks a right"),
    "42704": ("missing_object", "the database lacks a role, an extension or a language"),
    "58P01": ("missing_object", "the database lacks an extension"),
    "42P01": ("wrong_schema", "the tables are not those of this version"),
    "42703": ("wrong_schema", "the tables are not those of this version"),
    "42883": ("wrong_schema", "the tables are not those of this version"),
    "3F000": ("wrong_schema", "the tables are not those of this version"),
    "22P05": ("wrong_encoding", "the database holds no such text"),
    "53": ("unavailable", "the database has no room"),
    "57": ("unavailable", "the database is not up, or ended what was asked"),
}
_OTHER: Final = ("database_failed", "the database failed")


class DatabaseFault(LedgerError):  # noqa: N818 - the name says what is wrong
    """The database refuses or fails what a command needs of it."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(" ".join(detail.split()))  # one line, whatever the server wrote
        self.code = code


@contextmanager
def told() -> Iterator[None]:
    """Turn what the driver raises into `DatabaseFault`, for a command that ends so."""
    try:
        yield
    except DRIVER as error:
        raise fault_of(error) from error


def fault_of(error: Exception) -> DatabaseFault:
    """Return the code and the sentence for what the driver or the system has raised."""
    if isinstance(error, asyncpg.ClientConfigurationError):
        return DatabaseFault("bad_database_url", str(error))
    if isinstance(error, OSError):
        return DatabaseFault("unavailable", f"the database cannot be reached: {error}")
    if isinstance(error, asyncpg.ProtocolViolationError) and "startup parameter" in str(error):
        return DatabaseFault("unsafe_server", f"a pooler refuses our settings: {error}")
    if not isinstance(error, asyncpg.PostgresError):
        return DatabaseFault("unavailable", f"the database went away: {error}")
    state = error.sqlstate or ""
    code, meaning = _MEANINGS.get(state) or _MEANINGS.get(state[:2]) or _OTHER
    return DatabaseFault(code, f"{meaning} ({error.args[0] if error.args else state})")
