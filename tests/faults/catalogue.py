"""The faults: what each does to a stage, the ground that it needs, and its number in a run.

A fault is injected while the load runs, and makes sure that it took effect: one that missed would
prove nothing.
"""

import asyncio
import os
import signal
import tempfile
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import asyncpg

from meter.host.clock import TOLERANCE_SECONDS
from tests.faults.crowd import crowd
from tests.faults.processes import (
    PATIENCE_SECONDS,
    Service,
    SmallDisk,
    Stuck,
    fake_clock_library,
    kill_all,
    until,
)
from tests.faults.proxy import WRITER, Cut
from tests.faults.stage import STEPS, Ground, Stage

SAME_AT_ONCE = 64
SMALL_DISK_BYTES = 256 * 1024 * 1024  # a new cluster takes a quarter of it
FULL_SECONDS = 1.0
# Forth and back, ending near the start: the load bears some days of lateness.
DAY_SECONDS = 86_400
JUMPS_SECONDS = (3_600, -7_200, DAY_SECONDS, -5 * DAY_SECONDS, 2, -2, 4 * DAY_SECONDS, 3_600)
FORTH_SECONDS = (1, 60, 3_600, 6 * 3_600)


ON_ITS_OWN = Ground()


@dataclass(frozen=True)
class Fault:
    """`perform` injects it once, in a round or more, given the number of earlier times."""

    name: str
    title: str
    times: int
    perform: Callable[[Stage, int], Awaitable[None]]
    ground: Ground = ON_ITS_OWN

    def check_possible(self) -> None:
        """Raise `CannotInject` if this machine cannot do it."""
        if self.ground.disk_bytes is not None:
            with tempfile.TemporaryDirectory(prefix="kashi-faults-") as folder:
                SmallDisk(Path(folder) / "disk", size_bytes=65_536).try_out()
        if self.ground.fake_clock:
            fake_clock_library()


# Kills


async def kill_service(stage: Stage, _: int) -> None:
    await stage.round(lambda: _kill(stage.service))


async def kill_front(stage: Stage, number: int) -> None:
    await stage.round(lambda: _kill_part(stage.service, "front", number))


async def kill_leader(stage: Stage, number: int) -> None:
    await stage.round(lambda: _kill_part(stage.service, "leader", number))


async def _kill_part(service: Service, role: str, number: int) -> None:
    """Kill one process of a service with fronts, and wait until another has its place."""
    before = service.parts(role)
    killed = before[number % len(before)]
    os.kill(killed, signal.SIGKILL)
    await until(
        lambda: killed not in service.parts(role) and len(service.parts(role)) == len(before),
        f"another {role}",
    )


async def kill_postgres(stage: Stage, number: int) -> None:
    """Kill all processes of PostgreSQL at once; every other time the postmaster alone."""

    async def inject() -> None:
        stage.server.kill_postmaster() if number % 2 else stage.server.kill()
        await stage.server.restart()

    await stage.round(inject)


async def kill_backend(stage: Stage, _: int) -> None:
    """Kill the process of the service's writer; PostgreSQL starts its others anew."""

    async def inject() -> None:
        pid = await _writers_backend(stage.dsn)
        os.kill(pid, signal.SIGKILL)
        await until(lambda: not _lives(pid), "the end of a backend")

    await stage.round(inject)


async def kill_both(stage: Stage, _: int) -> None:
    async def inject() -> None:
        stage.server.kill()
        await _kill(stage.service)
        await stage.server.restart()

    await stage.round(inject)


async def kill_embedded(stage: Stage, number: int) -> None:
    """Kill in turn the service, the PostgreSQL that it runs itself, and both."""

    async def inject() -> None:
        service, ends = stage.service, len(stage.service.ends)
        postmaster = int((stage.data.postgres / "data" / "postmaster.pid").read_text().split()[0])
        if number % 3 != 0:
            kill_all(postmaster)
        if number % 3 != 1:
            service.send(signal.SIGKILL)
        end = await service.ended(ends + 1)
        if number % 3 == 1 and "database_ended" not in end.told:
            stage.found.wrong.append(f"without its database the service ended with {end}")

    await stage.round(inject)


async def stop_postgres(stage: Stage, _: int) -> None:
    async def inject() -> None:
        stage.server.stop_at_once()
        await stage.server.restart()

    await stage.round(inject)


async def _kill(service: Service) -> None:
    ends = len(service.ends)
    service.send(signal.SIGKILL)
    end = await service.ended(ends + 1)
    if end.code != -signal.SIGKILL:
        raise Stuck(f"before it could be killed, the service ended with {end}")


async def _writers_backend(dsn: str) -> int:
    connection = await asyncpg.connect(dsn)
    try:
        return await connection.fetchval(
            "SELECT pid FROM pg_stat_activity WHERE application_name = $1", WRITER
        )
    finally:
        await connection.close()


def _lives(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


# Cut connections


def cut_connection(cut: Cut) -> Callable[[Stage, int], Awaitable[None]]:
    """Return the fault that cuts the writer's connection around a COMMIT."""

    async def perform(stage: Stage, _: int) -> None:
        proxy = await stage.stand_between()

        async def inject() -> None:
            done = proxy.cut(cut)
            stage.injected.set()  # only the steps held back may still bring a COMMIT
            await done

        await stage.round(inject)

    return perform


# Two services


async def two_services(stage: Stage, _: int) -> None:
    """Start a second service; a supervisor starts again the one that was shut out."""
    first = stage.service

    async def inject() -> None:
        stage.clients.spread = True
        await stage.another_service()
        stage.injected.set()
        await until(lambda: first.ends or stage.service.ends, "one to be shut out")

    await stage.round(inject, steps=2 * STEPS)
    stage.clients.spread = False
    await stage.retire(first)
    _must_be_shut_out(stage, first, stage.service)


async def stop_until_replaced(stage: Stage, _: int) -> None:
    """Send SIGSTOP until another has taken over, then SIGCONT: the first must end by itself."""
    first, ends = stage.service, list(stage.service.ends)
    first.supervised = False

    async def replace() -> None:
        first.send(signal.SIGSTOP)
        await stage.another_service()

    async def go_on() -> None:
        first.send(signal.SIGCONT)
        await stage.clients.know(first.url)
        stage.injected.set()
        await first.ended(len(ends) + 1)

    await stage.round(replace)
    await stage.round(go_on)
    await stage.retire(first)
    _must_be_shut_out(stage, first)


def _must_be_shut_out(stage: Stage, *services: Service) -> None:
    """Check that a service ended because another took over, or was cut off at its start."""
    said = ("lost_epoch", "the database went away")
    for end in (end for service in services for end in service.ends):
        if end.code not in (0, -signal.SIGTERM) and not any(word in end.told for word in said):
            stage.found.wrong.append(f"a service that was shut out ended with {end}")


# The machine


async def fill_disk(stage: Stage, number: int) -> None:
    """Leave no room for tables; every other time none for the WAL, where PostgreSQL panics."""

    async def inject() -> None:
        refused = stage.evidence.unavailable
        stage.disk.fill()
        if number % 2:
            await _need_wal(stage.dsn)
        await until(lambda: stage.evidence.unavailable > refused, "a 503 on a full disk")
        await asyncio.sleep(FULL_SECONDS)
        stage.disk.empty()
        stage.injected.set()
        while not stage.worked.is_set():
            if not stage.server.runs:
                await stage.server.restart()
            await asyncio.sleep(0.05)

    await stage.round(inject, steps=3 * STEPS)


async def _need_wal(dsn: str) -> None:
    """Write new WAL segments until there is no room for another."""
    try:
        connection = await asyncpg.connect(dsn)
        for _ in range(16):
            await connection.execute(
                "SELECT pg_logical_emit_message(false, '', 'x'), pg_switch_wal()"
            )
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
        return


async def jump_clock(stage: Stage, number: int) -> None:
    """Set the clock forth and back, and confirm it, every third time by a restart."""
    await _jump(stage, JUMPS_SECONDS[number % len(JUMPS_SECONDS)], restart=number % 3 == 2)


async def jump_all_clocks(stage: Stage, number: int) -> None:
    """Set the monotonic clock too, which only goes forward."""
    await _jump(stage, FORTH_SECONDS[number % len(FORTH_SECONDS)])


async def _jump(stage: Stage, seconds: int, *, restart: bool = False) -> None:
    before, after = await _last_at(stage.dsn), 0

    async def inject() -> None:
        nonlocal after
        stage.clock.jump(seconds)
        after = stage.clock.now_seconds()
        if restart:
            await _kill(stage.service)
        elif abs(seconds) > TOLERANCE_SECONDS and not stage.ground.monotonic_too:
            await stage.service.ready(PATIENCE_SECONDS, wanted=False)
            stage.service.send(signal.SIGUSR1)

    await stage.round(inject)
    last_at = await _last_at(stage.dsn)
    if last_at < max(before, after):
        stage.found.wrong.append(f"`at` is {last_at}, it was {before}, the clock said {after}")


async def _last_at(dsn: str) -> int:
    """Return the last instant of the ledger, seconds since 1970 UTC."""
    connection = await asyncpg.connect(dsn)
    try:
        return await connection.fetchval("SELECT last_at FROM ledger.head") // 1_000_000
    finally:
        await connection.close()


# Clients


async def same_batch(stage: Stage, number: int) -> None:
    """Send each batch or command of one actor from many clients at once."""
    await stage.round(copied=number % len(stage.load.actors), copies=SAME_AT_ONCE)


async def bad_clients(stage: Stage, _: int) -> None:
    async def inject() -> None:
        kept = list(stage.evidence.receipts.values())[-8:]
        async with crowd(stage.service.port, kept, stage.worked) as complaints:
            stage.injected.set()
            await stage.worked.wait()
        stage.found.wrong += complaints

    await stage.round(inject)


FAULTS = (
    Fault("kill-service", "kill −9 of the service", 80, kill_service),
    Fault("kill-postgres", "kill −9 of PostgreSQL", 60, kill_postgres),
    Fault("kill-backend", "kill −9 of the writer's PostgreSQL process", 20, kill_backend),
    Fault("kill-both", "kill −9 of both", 40, kill_both),
    Fault(
        "kill-embedded",
        "kill −9 with the embedded PostgreSQL: service, PostgreSQL, both",
        21,
        kill_embedded,
        Ground(embedded=True),
    ),
    Fault("stop-postgres", "PostgreSQL stopped at once (SIGQUIT)", 20, stop_postgres),
    Fault("cut-before", "connection cut before COMMIT", 20, cut_connection(Cut.BEFORE)),
    Fault("cut-during", "connection cut with COMMIT on its way", 20, cut_connection(Cut.DURING)),
    Fault(
        "cut-after",
        "connection cut between COMMIT and its answer",
        20,
        cut_connection(Cut.AFTER),
    ),
    Fault(
        "stop-service",
        "service stopped (SIGSTOP) until another took over, then continued",
        20,
        stop_until_replaced,
    ),
    Fault("two-services", "two services on one database, both supervised", 10, two_services),
    Fault("disk-full", "disk full", 10, fill_disk, Ground(disk_bytes=SMALL_DISK_BYTES)),
    Fault("clock-jumps", "clock jumps forth and back", 24, jump_clock, Ground(fake_clock=True)),
    Fault(
        "all-clocks-jump",
        "monotonic clock jumps forth too",
        8,
        jump_all_clocks,
        Ground(fake_clock=True, monotonic_too=True),
    ),
    Fault("same-batch", f"the same batch from {SAME_AT_ONCE} clients at once", 20, same_batch),
    Fault("bad-clients", "slow, deaf, silent and half-closed clients", 10, bad_clients),
)

# Of a service with fronts, which the faults above know nothing of.
WITH_FRONTS = Ground(fronts=2)
FAULTS_OF_FRONTS = (
    Fault("kill-front", "kill −9 of a front", 20, kill_front, WITH_FRONTS),
    Fault("kill-leader", "kill −9 of the leader", 20, kill_leader, WITH_FRONTS),
    Fault("kill-all", "kill −9 of the keeper, with which all end", 20, kill_service, WITH_FRONTS),
    Fault("kill-postgres-of-fronts", "kill −9 of PostgreSQL", 20, kill_postgres, WITH_FRONTS),
    Fault(
        "kill-backend-of-fronts",
        "kill −9 of the writer's PostgreSQL process",
        20,
        kill_backend,
        WITH_FRONTS,
    ),
)
