"""Clients of the sequencer that wait and insist, and the writer's connection, held or ended."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager

import asyncpg

from tests.books import record
from tests.services import HOUR, Service, ask

CLIENTS = 64
WRITER = (
    "FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'kashi-writer'"
)


@asynccontextmanager
async def writer_held(database: str):
    """Hold the row that every commit moves: what comes meanwhile has to wait."""
    connection = await asyncpg.connect(database)
    try:
        async with connection.transaction():
            await connection.execute("SELECT 1 FROM ledger.head FOR UPDATE")
            yield connection
    finally:
        await connection.close()


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(20):
        while True:
            if await condition():
                return
            await asyncio.sleep(0.01)


async def until_it_waits(database: str) -> None:
    """Wait until the writer waits for a lock."""

    async def waits() -> bool:
        return bool(await ask(database, f"SELECT 1 {WRITER} AND wait_event_type = 'Lock'"))

    await until(waits)


async def end_the_writer(database: str) -> int:
    """End the backend of whoever writes; how many there were."""
    return len(await ask(database, f"SELECT pg_terminate_backend(pid) {WRITER}"))


async def until_queued(service: Service, count: int) -> None:
    async def queued() -> bool:
        return len(service.intake.waiting) >= count

    await until(queued)


async def segments(database: str) -> list[int]:
    return [row["count"] for row in await ask(database, "SELECT count FROM ledger.segment")]


def one(stream: str, milli_devices: int = 1_000, contract: str = "A") -> list[dict]:
    return [record(f"{stream}-1", contract, *HOUR, milli_devices)]
