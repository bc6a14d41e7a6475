"""The outbox of alerts: what is put there is sent, and only what was committed is there.

Crossings by entries are put there in the transaction of their entries. Those by time are put there
with the note that they stand, so that each is told once, whoever looks and however often.

A rebuild puts nothing there. A database that is rolled forward tells again what its backup had not
told yet, under the same ids: a receiver knows them.
"""

from collections.abc import Iterable, Sequence
from typing import Any, Final

from ledger.queries import load
from meter.tables.connections import Connection
from meter.tables.rows import columns_of
from meter.views.crossings import Crossing

_SQL: Final = load("meter.tables", "alerts.sql")


async def put(connection: Connection, crossings: Sequence[Crossing], at: int, size: int) -> None:
    """Put messages to all who chose to be told, within the caller's transaction.

    `at` is in microseconds; `size` is the ledger's after the crossings. Nothing is asked of the
    database where nothing crosses.
    """
    if crossings:
        rows = [row for each in crossings for row in _rows(each, at, size)]
        await connection.execute(_SQL["put_alerts"], *columns_of(rows, 4), at)


def _rows(crossing: Crossing, at: int, size: int) -> Iterable[tuple[Any, ...]]:
    held = crossing.key(size), crossing.kind, crossing.message(at, size)
    return ((*held, audience) for audience in crossing.audience)


async def put_standing(
    connection: Connection, standing: Sequence[Crossing], at: int, size: int
) -> None:
    """Keep what stands, and put messages about what did not stand before, all or nothing."""
    async with connection.transaction():
        rows = columns_of([(each.kind, each.about) for each in standing], 2)
        await connection.execute(_SQL["end_standing"], *rows)
        begun = {tuple(row) for row in await connection.fetch(_SQL["begin_standing"], *rows)}
        crossed = [each for each in standing if (each.kind, each.about) in begun]
        await put(connection, crossed, at, size)
