"""A wrong clock is never accepted in silence: at a start, and while a service runs."""

import asyncio
import os
import signal

import pytest

from meter.host.clock import (
    SYSTEM_CLOCK,
    Clock,
    LastEntry,
    WatchedClock,
    clock_by_hand,
    clock_from,
    doubt_at_start,
)
from meter.host.data_folder import DATABASE_VARIABLE
from meter.service import running as service_running
from meter.service import setup
from meter.service.setup import SetupError
from meter.tables import connections
from meter.values.problems import Problem
from meter.values.units import DAY_SECONDS, MICROSECONDS, parse_instant
from tests.books import record
from tests.services import HOUR, NOON, ORIGIN, ask, serving, stored
from tests.services import Clock as HandClock

SECOND = MICROSECONDS
DAY = DAY_SECONDS * MICROSECONDS
AT = parse_instant(NOON) * MICROSECONDS
LAST = LastEntry(41, "usage", AT)


class Jumping:
    """A clock that a test sets, beside one that it does not."""

    def __init__(self) -> None:
        self.now, self.steady = AT, 5_000

    @property
    def clock(self) -> Clock:
        return Clock(lambda: self.now, lambda: self.steady)

    def pass_by(self, seconds: int) -> None:
        self.now += seconds * SECOND
        self.steady += seconds * SECOND


# At a start


@pytest.mark.parametrize("ahead", [-60 * SECOND, -1, 0, 1, DAY, 7 * DAY])
def test_a_clock_within_a_week_after_the_last_entry_is_believed(ahead):
    assert doubt_at_start(AT + ahead, LAST, None) is None


def test_a_clock_more_than_seven_days_ahead_is_doubted_and_the_last_entry_told():
    doubt = doubt_at_start(AT + 7 * DAY + 1, LAST, None)
    assert doubt == (
        "the clock says 2025-03-08T12:00:00.000001+08:00, more than 7 days ahead:"
        " the last entry, 41 (usage), is of 2025-03-01T12:00:00+08:00"
    )


def test_a_clock_behind_the_last_entry_is_doubted_and_the_last_entry_told():
    doubt = doubt_at_start(AT - 60 * SECOND - 1, LAST, None)
    assert doubt == (
        "the clock says 2025-03-01T11:58:59.999999+08:00, which is behind:"
        " the last entry, 41 (usage), is of 2025-03-01T12:00:00+08:00"
    )


@pytest.mark.parametrize("last", [None, LAST])
@pytest.mark.parametrize("off", [60 * SECOND, -60 * SECOND])
def test_the_clock_of_another_host_may_differ_by_a_minute(off, last):
    assert doubt_at_start(AT, last, AT + off) is None
    doubt = doubt_at_start(AT, last, AT + off + (1 if off > 0 else -1))
    assert doubt.startswith("the clock says 2025-03-01T12:00:00+08:00, the one of the database's")


@pytest.mark.parametrize(
    ("now", "told"),
    [
        ("2025-03-09T12:00:00+08:00", "more than 7 days ahead: the last entry, 0 (genesis), is of"),
        ("2025-02-28T12:00:00+08:00", "is behind: the last entry, 0 (genesis), is of"),
    ],
)
async def test_a_start_with_a_wrong_clock_is_refused_until_a_person_confirms_it(
    database, tmp_path, monkeypatch, now, told
):
    async with serving(database, tmp_path) as service:
        folder = service.folder
    monkeypatch.setenv(DATABASE_VARIABLE, database)
    epochs = "SELECT epoch FROM ledger.head"
    (before,) = await ask(database, epochs)
    with pytest.raises(SetupError) as refused:
        async with service_running.running(folder, clock=clock_from(parse_instant(now))):
            pass
    assert refused.value.code == "wrong_clock"
    assert told in refused.value.detail
    assert f"{NOON}; if the clock is right, add --clock-is-right" in refused.value.detail
    assert await ask(database, epochs) == [before]  # whoever serves now goes on
    async with serving(database, tmp_path, now=now) as service:  # its clock is confirmed
        await service.activate()


async def test_a_ledger_is_not_made_by_a_clock_far_from_its_databases(
    database, tmp_path, monkeypatch
):
    elsewhere = connections._SQL["time_elsewhere"].partition("WHERE")[0]
    monkeypatch.setitem(connections._SQL, "time_elsewhere", elsewhere)
    monkeypatch.setenv(DATABASE_VARIABLE, database)
    folder = setup.DataFolder(tmp_path / "kashi")
    with pytest.raises(SetupError) as refused:
        await setup.initialise(folder, ORIGIN, setup.TRIAL, clock_from(parse_instant(NOON)))
    assert refused.value.code == "wrong_clock"
    await setup.initialise(folder, ORIGIN, setup.TRIAL, SYSTEM_CLOCK)
    async with service_running.running(folder):
        pass


async def test_a_database_on_this_host_is_not_asked_for_its_time(database, tmp_path):
    async with (
        serving(database, tmp_path) as service,
        connections.reading(service.running.readers) as connection,
    ):
        assert await connections.time_elsewhere(connection) is None


# While it runs


@pytest.mark.parametrize("seconds", [60, -60, 1])
def test_a_small_step_is_no_jump(seconds):
    jumping = Jumping()
    watched = WatchedClock(jumping.clock)
    jumping.now += seconds * SECOND
    jumping.pass_by(100 * 86_400)
    assert watched.now() == jumping.now


@pytest.mark.parametrize("seconds", [61, -61, 40_000_000])
def test_a_clock_that_has_jumped_dates_nothing_until_that_is_gone_or_confirmed(seconds):
    jumping = Jumping()
    watched = WatchedClock(jumping.clock)
    jumping.now += seconds * SECOND
    for _ in range(2):
        assert not watched.is_right
        with pytest.raises(Problem) as refused:
            watched.now()
        assert refused.value.code == "unavailable"
        jumping.pass_by(3_600)
    assert watched.counted() == jumping.now - seconds * SECOND
    jumping.now -= seconds * SECOND
    assert (watched.is_right, watched.now()) == (True, jumping.now)
    jumping.now += seconds * SECOND
    watched.confirm()
    assert (watched.is_right, watched.now(), watched.counted()) == (True, jumping.now, jumping.now)


def test_small_steps_add_up_to_a_jump():
    jumping = Jumping()
    watched = WatchedClock(jumping.clock)
    found = []
    for _ in range(4):
        jumping.now += 30 * SECOND
        found.append(watched.is_right)
    assert found == [True, True, False, False]


def test_a_test_clock_moves_as_the_steady_one_and_one_moved_by_hand_never_jumps():
    hand = HandClock(NOON)
    for clock in (clock_from(parse_instant(NOON)), clock_by_hand(hand), SYSTEM_CLOCK):
        watched = WatchedClock(clock)
        hand.advance(1_000_000)
        assert watched.is_right


async def test_nothing_is_committed_while_the_clock_has_jumped(database, tmp_path):
    async with serving(database, tmp_path) as service:
        await service.open_books()
    jumping = Jumping()
    async with serving(database, tmp_path, clock=jumping.clock) as service:
        size = len(await stored(database))
        jumping.now += 400 * DAY
        usage = await service.usage([record("r1", "A", *HOUR, 64_000)])
        command = await service.post("/v1/contracts/A/freeze", {"reason": "late"})
        for answer in (usage, command):
            assert (answer.status, answer.code) == (503, "unavailable")
            assert "Retry-After" in answer.headers
        assert (await service.get("/readyz")).status == 503
        metrics = (await service.get("/metrics")).body.decode()
        assert "kashi_ready 0.0" in metrics
        ahead = next(line for line in metrics.splitlines() if line.startswith("kashi_clock_ahead"))
        assert round(float(ahead.split()[1])) == 400 * DAY_SECONDS
        assert len(await stored(database)) == size
        assert (await service.balance())["issued"] == "500000.00"  # questions are answered

        jumping.now -= 400 * DAY  # gone
        assert (await service.get("/readyz")).status == 200
        usage = await service.usage([record("r1", "A", *HOUR, 64_000)])
        assert usage.json["results"][0]["status"] == "accepted"

        jumping.now += 400 * DAY
        assert (await service.usage(seq=2)).status == 503
        service.running.clock.confirm()
        assert (await service.get("/readyz")).status == 200
        assert (await service.usage(seq=2)).status == 200
        assert (await service.entries())[-1].at == jumping.now


async def test_a_signal_confirms_the_clock(database, tmp_path):
    jumping = Jumping()
    async with serving(database, tmp_path, clock=jumping.clock) as service:
        running = service.running
        ending = service_running.until_interrupted(running.clock, running.ended)
        waiting = asyncio.create_task(ending)
        jumping.now -= DAY
        assert (await service.get("/readyz")).status == 503
        os.kill(os.getpid(), signal.SIGUSR1)
        assert (await service.get("/readyz")).status == 200
        assert not waiting.done()
        os.kill(os.getpid(), signal.SIGTERM)
        async with asyncio.timeout(10):
            await waiting
