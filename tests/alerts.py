"""People who want alerts: targets of persons, straight in the database."""

import itertools
from typing import Any

import asyncpg

from meter.host.tokens import Identity
from meter.tables import alerts
from meter.values.roles import Role
from meter.views.crossings import KINDS
from tests.people import add
from tests.services import Service, address_of, ask

_numbers = itertools.count(1)


async def wanting(
    service: Service, role: Role, subject: str = "", owner: str = "", **chosen: Any
) -> alerts.Target:
    """Let somebody want alerts of all kinds; a new person unless an owner is named."""
    owner = owner or await add(service, role, subject)
    target = alerts.new_target(
        Identity(owner, role, subject),
        f"tgt_{next(_numbers)}",
        **{
            "means": "webhook",
            "address": "https://hooks.example/alerts",
            "language": "zh",
            "kinds": KINDS[role],
            "now": service.clock(),
        }
        | chosen,
    )
    connection = await asyncpg.connect(service.dsn)
    try:
        await alerts.add_target(connection, target)
    finally:
        await connection.close()
    return target


async def told(service: Service, target: alerts.Target) -> list[str]:
    """Return the kinds of the messages to a target, in their order."""
    sql = "SELECT kind FROM meter.alert WHERE target = $1 ORDER BY made_at, kind"
    return [row["kind"] for row in await ask(service.dsn, sql, target.id)]


__all__ = ["address_of", "told", "wanting"]
