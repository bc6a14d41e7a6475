"""A session of the database: what it is asked for, and that it really has it.

A pooler between us and the server opens sessions itself and deals them out. One that drops our
settings would have us write as another role, or confirm what is not durable; one that gives a
session to several clients would mix theirs with ours. Both are refused (`UnsafeServer`).
"""

import secrets
from dataclasses import dataclass, field
from typing import Final

import asyncpg

from ledger.queries import load
from ledger.roles import Roles
from ledger.store import UnsafeServer
from meter.tables import faults

_SQL: Final = load("meter.tables")

NO_ROLE: Final = "none"  # as SET ROLE has it: the login's own

# For a second session, where a pooler may have only one.
SECOND_SECONDS: Final = 10.0


@dataclass(frozen=True, slots=True)
class Address:
    """Where a ledger's database is, and the roles there that are this ledger's."""

    dsn: str = field(repr=False)  # may hold a password
    roles: Roles


def settings_of(name: str, role: str) -> dict[str, str]:
    """Return what a session is asked for, by its name and its role."""
    return {
        "application_name": name,
        "role": role,
        "synchronous_commit": "on",
        "default_transaction_isolation": "read committed",
        # Plans anew for each long list of ids cost more than what they find.
        "plan_cache_mode": "force_generic_plan",
    }


async def open_session(
    address: Address, settings: dict[str, str], patience_seconds: float | None = None
) -> asyncpg.Connection:
    """Open a session that has its settings, and has them alone.

    Raises `UnsafeServer`, and `DatabaseFault` where the server refuses us or cannot be reached.
    """
    session = await _connect(address, settings, patience_seconds)
    try:
        await check_settings(session, settings)
        if await _is_pooled(session):
            await _check_not_shared(session, address, settings)
    except BaseException:
        session.terminate()
        raise
    return session


async def check_settings(session: asyncpg.Connection, settings: dict[str, str]) -> None:
    """Raise `UnsafeServer` unless the session has what it was asked for."""
    with faults.told():
        row = await session.fetchrow(_SQL["session"], list(settings))
    assert row is not None, "a statement without a table returns one row"
    found = dict(zip(settings, row["settings"], strict=True)) | {"role": row["role"]}
    for name, value in settings.items():
        if found[name] != value:
            raise UnsafeServer(
                f"the session has {name} = {found[name]}, and {value} was asked for: a pooler "
                "before the database drops settings"
            )


async def _connect(
    address: Address, settings: dict[str, str], patience_seconds: float | None = None
) -> asyncpg.Connection:
    try:
        with faults.told():
            return await asyncpg.connect(
                address.dsn, server_settings=settings, command_timeout=patience_seconds
            )
    except OSError as error:
        raise faults.fault_of(error) from error


async def _is_pooled(session: asyncpg.Connection) -> bool:
    """Return whether somebody else opened the session: then its process is not the one we know."""
    with faults.told():
        pid = await session.fetchval(_SQL["process"])
    return bool(pid != session.get_server_pid())


async def _check_not_shared(
    session: asyncpg.Connection, address: Address, settings: dict[str, str]
) -> None:
    """Raise `UnsafeServer` where a second connection finds itself in the session of the first."""
    mark = secrets.token_hex(8)
    with faults.told():
        await session.execute(_SQL["mark_session"], mark)
        second = await _connect(address, settings, SECOND_SECONDS)
        try:
            seen = await second.fetchval(_SQL["mark_of_session"])
        finally:
            second.terminate()
    if seen == mark:
        raise UnsafeServer(
            "two connections have one session: the pooler before the database must deal out "
            "sessions, not transactions or statements"
        )
