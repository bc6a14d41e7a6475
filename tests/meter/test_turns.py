"""Turns: no caller holds up another, and none gets more than its bounds, whatever it asks."""

import asyncio
from contextlib import AsyncExitStack

import pytest

from meter.host import turns
from meter.host.tokens import Identity
from meter.host.turns import NOBODY, Bounds, Debt, Share, Spare, Turns
from meter.values.problems import Problem

FIRM, OTHER = Identity("firm", "enterprise", "a"), Identity("other", "provider", "b")
CLERK, AUDITOR = Identity("clerk", "authority"), Identity("auditor", "auditor")
FEW = Bounds(seats=2, running=1, waiting=2, share=0.5, credit_seconds=1.0)


class Clock:
    """Seconds that pass when the test says so."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Held:
    """Turns that were asked for and are not given back yet."""

    def __init__(self, of: Turns) -> None:
        self._turns = of
        self._asked: list[tuple[asyncio.Task, asyncio.Event]] = []
        self.given: list[str] = []

    async def ask(self, who: Identity) -> None:
        ends = asyncio.Event()

        async def hold() -> None:
            async with self._turns.turn(who):
                self.given.append(who.token_id)
                await ends.wait()

        self._asked.append((asyncio.create_task(hold()), ends))
        await settle()

    async def give_back(self, number: int) -> None:
        task, ends = self._asked[number]
        ends.set()
        await task
        await settle()

    async def leave(self, number: int) -> None:
        """Cancel one, as where a client goes away."""
        task, _ = self._asked[number]
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await settle()

    async def end(self) -> None:
        for number in range(len(self._asked)):
            await self.leave(number)


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


@pytest.fixture
async def held():
    found = Held(Turns(FEW, FEW, Clock()))
    yield found
    await found.end()


async def test_a_token_has_so_many_reads_running_and_the_next_wait_in_order(held):
    await held.ask(FIRM)
    await held.ask(FIRM)
    assert held.given == ["firm"]
    await held.ask(OTHER)
    assert held.given == ["firm", "other"]
    await held.give_back(0)
    assert held.given == ["firm", "other", "firm"]


async def test_beyond_those_that_may_wait_a_read_is_busy(held):
    for _ in range(3):
        await held.ask(FIRM)
    with pytest.raises(Problem, match="busy"):
        async with held._turns.turn(FIRM):
            pytest.fail("a turn too many")
    await held.ask(OTHER)
    assert held.given == ["firm", "other"]


async def test_officials_and_others_take_no_seat_from_each_other(held):
    for who in (FIRM, OTHER, Identity("third", "enterprise", "c")):
        await held.ask(who)
    assert held.given == ["firm", "other"]
    await held.ask(CLERK)
    await held.ask(AUDITOR)
    assert held.given == ["firm", "other", "clerk", "auditor"]
    await held.give_back(1)
    assert held.given[-1] == "third"


async def test_a_client_that_goes_leaves_its_turn_and_its_place_in_the_line(held):
    for _ in range(3):
        await held.ask(FIRM)
    await held.leave(1)  # it waited
    await held.leave(0)  # it ran
    assert held.given == ["firm", "firm"]
    await held.ask(FIRM)
    await held.give_back(2)
    assert held.given == ["firm", "firm", "firm"]


async def test_what_reads_took_is_paid_before_the_next_and_others_do_not_wait(monkeypatch):
    slept = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        clock.now += seconds

    clock = Clock()
    shared = Turns(FEW, FEW, clock)
    monkeypatch.setattr(turns.asyncio, "sleep", sleep)
    for who, seconds in ((FIRM, 1.0), (FIRM, 3.0), (FIRM, 0.0), (OTHER, 0.0), (FIRM, 0.0)):
        async with shared.turn(who):
            clock.now += seconds
    # Three seconds are owed, for the first was forgiven meanwhile. One of them is credit; of the
    # others, half a second is forgiven in each second.
    assert slept == [4.0]


async def test_a_turn_that_does_not_come_in_time_is_busy(monkeypatch):
    monkeypatch.setattr(turns, "WAIT_SECONDS", 0.01)
    shared = Turns(FEW, FEW)
    async with shared.turn(FIRM):
        with pytest.raises(Problem, match="ask for less"):
            async with shared.turn(FIRM):
                pytest.fail("two at a time")
    async with shared.turn(FIRM):
        pass


async def test_a_token_has_two_large_responses_at_a_time_and_small_ones_beside_them(monkeypatch):
    monkeypatch.setattr(turns, "WAIT_SECONDS", 0.01)
    shared = Turns(FEW, FEW)
    async with AsyncExitStack() as stack:
        for _ in range(2):
            await stack.enter_async_context(shared.sending(FIRM))
        with pytest.raises(Problem, match="ask for less"):
            async with shared.sending(FIRM):
                pytest.fail("three at a time")
        async with shared.sending(OTHER), shared.turn(FIRM):
            pass
    async with shared.sending(FIRM):
        pass
    assert not shared._callers


async def test_callers_that_owe_nothing_are_forgotten():
    clock = Clock()
    shared = Turns(FEW, FEW, clock)
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(shared.turn(FIRM))
        clock.now += 1.0
    assert set(shared._callers) == {"firm"}
    clock.now += 2.0
    async with shared.turn(FIRM):
        pass
    assert not shared._callers


def test_a_debt_falls_by_its_share_and_not_below_nothing():
    clock = Clock()
    debt = Debt(0.25, 2.0, clock)
    debt.add(4.0)
    assert debt.seconds_to_pay() == 8.0
    clock.now += 4.0
    assert debt.seconds_to_pay() == 4.0
    clock.now += 4.0
    assert (debt.seconds_to_pay(), debt.is_paid()) == (0.0, False)
    clock.now += 1_000.0
    assert debt.is_paid()
    debt.add(2.5)
    assert debt.seconds_to_pay() == 2.0


def test_work_has_a_share_for_each_token_and_one_for_all_without():
    clock = Clock()
    share = Share(0.125, 1.0, clock)
    assert not share.is_used_up(NOBODY)
    share.charge(NOBODY, 1.0)
    assert not share.is_used_up(NOBODY)
    share.charge(NOBODY, 0.5)
    assert share.is_used_up(NOBODY)
    assert not share.is_used_up("pcl-1")
    clock.now += 3.0
    assert share.is_used_up(NOBODY)
    clock.now += 1.0
    assert not share.is_used_up(NOBODY)
    assert set(share._debts) == {NOBODY}
    clock.now += 8.0
    assert not share.is_used_up(NOBODY)
    assert not share._debts


def test_the_service_has_a_connection_for_each_seat_and_one_for_tokens():
    assert turns.OFFICIAL.seats + turns.SUBJECT.seats + 1 == turns.CONNECTIONS
    for bounds in (turns.OFFICIAL, turns.SUBJECT):
        assert bounds.running < bounds.seats  # one token never has all of its kind


async def test_what_is_spare_waits_while_others_are_at_work(monkeypatch):
    monkeypatch.setattr(turns, "SPARE_LOOK_SECONDS", 0.001)
    monkeypatch.setattr(turns, "SPARE_PIECE_SECONDS", 3.0)
    clock, at_work, given = Clock(), [True], []
    spare = Spare(share=0.5, credit_seconds=1.0, clock=clock)

    async def take(seconds: float) -> None:
        async with spare.turn(lambda: bool(at_work)):
            given.append(seconds)
            clock.now += seconds

    await take(9.0)  # on credit; it counts for 3 s
    waits = [asyncio.create_task(take(1.5)), asyncio.create_task(take(0.5))]
    await asyncio.sleep(0.02)
    assert given == [9.0]  # 3 s of debt, less 1 s of credit, at half of the time
    clock.now += 4.1
    async with asyncio.timeout(10):
        await waits[0]
    await asyncio.sleep(0.02)
    assert given == [9.0, 1.5]
    at_work.clear()
    async with asyncio.timeout(10):
        await waits[1]
    assert given == [9.0, 1.5, 0.5]


async def test_what_is_spare_is_done_one_at_a_time():
    spare, inside = Spare(), []

    async def take() -> None:
        async with spare.turn(lambda: False):
            inside.append(1)
            await asyncio.sleep(0)
            assert len(inside) == 1
            inside.pop()

    await asyncio.gather(*(take() for _ in range(5)))
