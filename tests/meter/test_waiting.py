"""The queue before the sequencer: its bounds, the turns of its senders, and its end."""

import asyncio
from dataclasses import dataclass

import pytest

from meter.host.metrics import Metrics
from meter.host.queue import QUANTUM_BYTES, Queue
from meter.host.submission import COMMAND_BYTES, CommandSubmission
from meter.host.waiting import MAX_GROUP_BYTES, Waiting
from meter.rules.commands import FreezeContract
from meter.values.problems import Problem


@dataclass(frozen=True)
class Item:
    name: str
    size_bytes: int = 10

    @property
    def sender(self) -> str:
        return self.name[0]


def queued(*items: Item, max_bytes: int = 10**9) -> Queue[Item]:
    queue: Queue[Item] = Queue(max_bytes)
    for item in items:
        queue.put(item)
    return queue


def taken(queue: Queue[Item], max_bytes: int) -> list[str]:
    return [item.name for item in queue.take(max_bytes)]


def test_a_group_ends_with_the_item_that_reaches_its_bound():
    items = [Item(f"a{number}") for number in range(6)]
    queue = queued(*items)
    assert taken(queue, 20) == ["a0", "a1"]
    assert taken(queue, 11) == ["a2", "a3"]
    assert taken(queue, 10) == ["a4"]
    assert len(queue) == 1
    assert taken(queue, 10**9) == ["a5"]
    assert queue.size_bytes == 0


def test_one_item_may_exceed_the_bound_of_a_group():
    queue = queued(Item("a0", 10 * QUANTUM_BYTES), Item("a1"))
    assert taken(queue, 10) == ["a0"]


def test_senders_take_turns_by_bytes_and_keep_their_own_order():
    flood = [Item(f"a{number}", QUANTUM_BYTES // 2) for number in range(6)]
    queue = queued(*flood, Item("b0"), Item("c0"), Item("b1"))
    assert taken(queue, 10**9) == ["a0", "a1", "b0", "b1", "c0", "a2", "a3", "a4", "a5"]


def test_whoever_sends_much_at_once_waits_for_as_many_turns():
    small = [Item(f"b{number}", QUANTUM_BYTES) for number in range(4)]
    queue = queued(Item("a0", 2 * QUANTUM_BYTES + 1), *small)
    assert taken(queue, 10**9) == ["b0", "b1", "a0", "b2", "b3"]


def test_a_sender_whose_turn_a_group_cuts_short_goes_on_behind_the_others():
    queue = queued(*(Item(f"a{number}") for number in range(3)), Item("b0"))
    assert taken(queue, 10) == ["a0"]
    assert taken(queue, 10) == ["b0"]
    assert taken(queue, 10**9) == ["a1", "a2"]


def test_a_sender_with_nothing_left_saves_no_credit():
    queue = queued(Item("a0"))
    assert taken(queue, 10) == ["a0"]
    queue.put(Item("a1", QUANTUM_BYTES + 1))
    queue.put(Item("b0"))
    assert taken(queue, 10**9) == ["b0", "a1"]


def test_a_queue_that_is_full_to_the_byte_takes_nothing_more():
    queue = queued(Item("a0", 60), Item("b0", 40), max_bytes=100)
    with pytest.raises(Problem) as refused:
        queue.put(Item("c0", 1))
    assert refused.value.code == "busy"
    assert (len(queue), queue.size_bytes) == (2, 100)


async def test_whoever_waits_for_items_wakes_with_the_first_and_sleeps_when_all_are_taken():
    queue = queued()
    waiting = asyncio.create_task(queue.wait())
    await asyncio.sleep(0)
    assert not waiting.done()
    queue.put(Item("a0"))
    queue.put(Item("a1"))
    await waiting
    queue.take(10)
    await queue.wait()  # there is one left
    queue.take(10)
    waiting = asyncio.create_task(queue.wait())
    await asyncio.sleep(0)
    assert not waiting.done()
    waiting.cancel()


# Groups of submissions


def command(by: str = "authority-1") -> CommandSubmission:
    return CommandSubmission(FreezeContract(contract="A"), by, None, "00" * 16)


async def test_a_group_of_submissions_is_bounded_by_bytes():
    waiting, most = Waiting(Metrics()), MAX_GROUP_BYTES // COMMAND_BYTES
    for _ in range(2 * most + 1):
        waiting.put(command())
    for count in (most, most, 1):
        assert len(await waiting.next_group()) == count


async def test_a_flood_of_one_token_s_commands_leaves_another_s_its_turn():
    waiting, other = Waiting(Metrics()), command("clerk-1")
    for _ in range(2 * MAX_GROUP_BYTES // COMMAND_BYTES):
        waiting.put(command("firm"))
    waiting.put(other)
    assert (await waiting.next_group()).index(other) == QUANTUM_BYTES // COMMAND_BYTES


async def test_at_the_end_what_is_in_hand_what_waits_and_what_comes_is_refused():
    metrics = Metrics()
    waiting, submissions = Waiting(metrics), [command() for _ in range(3)]
    waiting.put(submissions[0])
    assert await waiting.next_group() == submissions[:1]
    for each in submissions[1:]:
        waiting.put(each)
    waiting.close("the end")
    with pytest.raises(Problem, match="the end") as refused:
        waiting.put(command())
    problems = [each.outcome.exception() for each in submissions] + [refused.value]
    assert [(problem.code, problem.detail) for problem in problems] == [
        ("unavailable", "the end")
    ] * 4
    assert len(waiting) == 0
    assert metrics.commands.labels("unavailable")._value.get() == 4


async def test_a_submission_has_one_outcome():
    waiting, submission = Waiting(Metrics()), command()
    waiting.put(submission)
    group = await waiting.next_group()
    waiting.refuse(group, "first")
    waiting.refuse(group, "second")
    assert submission.outcome.exception().detail == "first"
