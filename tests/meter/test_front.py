"""One front and one leader, each before a peer that hangs, lies, or takes nothing."""

import asyncio
import time
from contextlib import asynccontextmanager

import pytest

from meter.host.data_folder import DataFolder
from meter.host.handover import (
    Connection,
    Frames,
    FromFront,
    FromLeader,
    Moved,
    Stored,
    batch_message,
    frame,
    outcome_message,
)
from meter.host.merged_metrics import counted, merged
from meter.host.metrics import Metrics
from meter.rules.state import StoredBatch
from meter.rules.verified import verified
from meter.service import front, leader
from meter.service.front import Forwarding, SocketWay, Way
from meter.service.leader import short_path
from meter.tables import connections
from meter.tables.registry import Registry
from meter.values.problems import Problem
from meter.wire.receipt import EntryRange
from tests.books import record
from tests.services import HOUR, Service, address_of, serving, until

RECEIPT = StoredBatch(EntryRange(9, 1), "00", b"{}", "sig")


class Peer:
    """A leader that says what the test says, and keeps what it hears."""

    def __init__(self) -> None:
        self.heard_messages = []
        self.connection = None

    def meet(self, connection: Connection) -> "Peer":
        self.connection = connection
        connection.say(Moved(0, 0, 0, ready=True))
        return self

    def heard(self, message) -> None:
        self.heard_messages.append(message)

    def lost(self) -> None:
        self.connection = None

    async def hears(self, count: int) -> None:
        async def has() -> bool:
            return len(self.heard_messages) >= count

        await until(has)


@asynccontextmanager
async def forwarding(database: str, folder: DataFolder, way: Way | None = None):
    """A front's port, before a leader that is the test's."""
    peer = Peer()
    with short_path(folder.leader_socket) as name:
        server = await asyncio.get_running_loop().create_unix_server(
            lambda: Connection(FromFront, peer.meet), name
        )
    readers = await connections.connect_readers(address_of(database))
    port = Forwarding(way or SocketWay(folder), Registry(), readers, Metrics())
    tasks = [asyncio.create_task(port.stay_connected()), asyncio.create_task(port.follow())]

    async def is_there() -> bool:
        return port.ready

    await until(is_there)
    yield port, peer
    for each in tasks:
        each.cancel()
    server.close()
    await readers.close()


def signed(service: Service, seq: int = 1):
    envelope = service.envelope([record("r1", "A", *HOUR, 1)], seq=seq)
    return verified(service.intake.state.keys, envelope)


async def refusal(asked) -> str:
    """Return the code of a refusal, which comes long before the deadline of a post."""
    with pytest.raises(Problem) as caught:
        async with asyncio.timeout(20):
            await asked
    return caught.value.code


@pytest.fixture
async def service(database, tmp_path):
    async with serving(database, tmp_path) as made:
        await made.open_books()
        yield made


async def test_a_leader_that_hangs_gets_no_more_than_a_front_may_hold(
    service, database, monkeypatch
):
    batch = signed(service)
    monkeypatch.setattr(front, "MAX_WAITING_BYTES", 2 * len(batch.envelope))
    monkeypatch.setattr(front, "DEADLINE_SECONDS", 0.5)
    async with forwarding(database, service.folder) as (port, peer):
        waiting = [asyncio.create_task(port.batch(batch)) for _ in range(2)]
        await peer.hears(2)
        assert await refusal(port.batch(batch)) == "busy"
        first, second = peer.heard_messages
        seconds = (first.deadline - time.monotonic_ns()) / 1e9
        assert 0 < seconds <= 0.5
        peer.connection.say(outcome_message(second.number, RECEIPT))
        assert await waiting[1] == RECEIPT
        assert await refusal(waiting[0]) == "unavailable"  # when its deadline was over
        # What comes too late is for nobody, and there is room again.
        peer.connection.say(outcome_message(first.number, RECEIPT))
        later = asyncio.create_task(port.batch(batch))
        await peer.hears(3)
        peer.connection.say(outcome_message(peer.heard_messages[2].number, RECEIPT))
        assert await later == RECEIPT


async def test_a_leader_that_says_nothing_takes_no_posts_until_it_does(
    service, database, monkeypatch
):
    monkeypatch.setattr(front, "SILENT_SECONDS", 0.2)
    async with forwarding(database, service.folder) as (port, peer):

        async def is_away() -> bool:
            return not port.ready

        await until(is_away)
        assert await refusal(port.batch(signed(service))) == "unavailable"
        assert peer.heard_messages == []
        peer.connection.say(Moved(0, 0, 0, ready=False))
        await asyncio.sleep(0.05)
        assert not port.ready  # it is there, and cannot commit
        peer.connection.say(Moved(0, 0, 0, ready=True))

        async def is_there() -> bool:
            return port.ready

        await until(is_there)


async def test_who_waits_hears_that_the_leader_went_and_the_front_finds_it_again(service, database):
    async with forwarding(database, service.folder) as (port, peer):
        for nonsense in (b"", b"\x00\x00\x00\x01\xc1"):
            heard = len(peer.heard_messages)
            waiting = asyncio.create_task(port.batch(signed(service)))
            await peer.hears(heard + 1)
            if nonsense:
                peer.connection._transport.write(nonsense)
            else:
                peer.connection.end()
            assert await refusal(waiting) == "unavailable"

            async def is_there() -> bool:
                return port.ready

            await until(is_there)


async def test_a_front_shows_a_size_once_it_knows_what_is_registered(service, database):
    size = service.intake.watermark.size
    async with forwarding(database, service.folder) as (port, peer):
        peer.connection.say(Moved(size, size - 1, service.intake.writer._registry.newest + 1, True))
        await port.watermark.beyond(size - 1)
        assert port._registry.now.receipt_key() == service.intake.writer._registry.now.receipt_key()
        assert (port._registry.now.size, port.published.size) == (size, size - 1)
        # The ledger of a leader that follows is never smaller: no watermark goes back.
        peer.connection.say(Moved(size - 1, 0, 0, ready=True))
        await asyncio.sleep(0.05)
        assert (port.watermark.size, port.published.size) == (size, size - 1)


# The leader's side


@asynccontextmanager
async def leading(service: Service):
    """A leader's socket, and a front's end of it as plain streams."""
    intake = service.intake
    parts = (intake, intake.writer._registry, service.running.published, intake._metrics)
    async with leader.serving_fronts(service.folder, *parts) as fronts:
        with short_path(service.folder.leader_socket) as name:
            reader, writer = await asyncio.open_unix_connection(name)
        yield fronts, reader, writer
        writer.close()


async def answers(reader: asyncio.StreamReader, count: int) -> list:
    """Return the next answers, without what is told meanwhile."""
    frames, found = Frames(FromLeader), []
    async with asyncio.timeout(20):
        while len(found) < count:
            data = await reader.read(65_536)
            assert data
            found += [each for each in frames.feed(data) if not isinstance(each, Moved)]
    return found


FAR = 2**62


async def test_what_is_too_late_is_not_begun(service):
    async with leading(service) as (_, reader, writer):
        late, early = signed(service, seq=1), signed(service, seq=2)
        writer.write(frame(batch_message(1, time.monotonic_ns() - 1, late)))
        writer.write(frame(batch_message(2, FAR, early)))
        (answer,) = await answers(reader, 1)
        assert (type(answer), answer.number) == (Stored, 2)
    assert (await service.usage([], seq=1)).status == 200  # its number is still free


async def test_only_our_account_reaches_the_socket_and_nonsense_ends_a_connection(service):
    async with leading(service) as (fronts, reader, writer):
        assert service.folder.leader_socket.stat().st_mode & 0o777 == 0o600
        writer.write(b"\x00\x00\x00\x01\xc1")
        async with asyncio.timeout(20):
            while await reader.read(65_536):
                pass
        assert not fronts._connected
        assert (await service.usage()).status == 200


async def test_a_front_that_takes_no_answer_is_cut_off(service, monkeypatch):
    monkeypatch.setattr(leader, "MAX_UNTAKEN_BYTES", 100_000)
    async with leading(service) as (fronts, _, writer):
        for number in range(2_000):  # a duplicate has the stored receipt as its answer
            writer.write(frame(batch_message(number, FAR, signed(service))))

        async def is_gone() -> bool:
            return not fronts._connected

        await until(is_gone)


# Metrics of several processes


def test_the_metrics_of_processes_add_up_and_counts_outlive_their_process():
    ours, theirs = Metrics(), Metrics()
    ours.batches.labels("ok").inc(3)
    ours.entries.set(7)
    theirs.batches.labels("ok").inc(2)
    theirs.batches.labels("bad_batch").inc()
    theirs.event_streams.set(2)
    theirs.signature_seconds.labels("verify").observe(0.00012)
    assert merged([ours.text()]) == ours.text()
    lines = merged([ours.text(), theirs.text()]).decode().splitlines()
    for line in (
        'kashi_batches_total{outcome="ok"} 5.0',
        'kashi_batches_total{outcome="bad_batch"} 1.0',
        "kashi_ledger_entries 7.0",
        "kashi_event_streams 2.0",
        'kashi_signature_seconds_bucket{le="0.0002",operation="verify"} 1.0',
        'kashi_signature_seconds_bucket{le="0.0001",operation="verify"} 0.0',
    ):
        assert line in lines
    left = merged([ours.text(), counted(theirs.text())]).decode()
    assert 'kashi_batches_total{outcome="ok"} 5.0' in left
    assert "kashi_event_streams 0.0" in left
    assert merged([b"", left.encode()]) == left.encode()


class SlowWay(SocketWay):
    """A way that is asked whom it leads to, and answers only when the test lets it."""

    drops_silent = True

    def __init__(self, folder: DataFolder) -> None:
        super().__init__(folder)
        self.asked, self.may_answer = asyncio.Event(), asyncio.Event()

    async def leads_to(self, _leader: str) -> bool:
        self.asked.set()
        await self.may_answer.wait()
        return False


async def test_a_leader_that_is_lost_while_the_database_is_asked_for_it_is_found_again(
    service, database
):
    way = SlowWay(service.folder)
    async with forwarding(database, service.folder, way) as (port, peer):
        await asyncio.wait_for(way.asked.wait(), 20)
        first = peer.connection
        first.end()

        async def is_lost() -> bool:
            return port._connection is None

        await until(is_lost)
        way.may_answer.set()

        async def is_back() -> bool:
            return port.ready and peer.connection is not first

        await until(is_back)


async def test_a_leader_of_another_machine_that_says_nothing_is_left(
    service, database, monkeypatch
):
    monkeypatch.setattr(front, "SILENT_SECONDS", 0.3)
    way = SlowWay(service.folder)
    async with forwarding(database, service.folder, way) as (_, peer):
        first = peer.connection  # which says one word, and no more

        async def is_left() -> bool:
            return peer.connection is not None and peer.connection is not first

        await until(is_left)


async def test_a_deadline_is_an_instant_of_the_leaders_clock(service, database):
    async with forwarding(database, service.folder) as (port, peer):
        ahead = 10**15
        for late in (50, 0, 30):
            peer.connection.say(
                Moved(0, 0, 0, ready=True, clock=time.monotonic_ns() + ahead - late * 10**9)
            )
        await asyncio.sleep(0.1)
        asking = asyncio.create_task(port.batch(signed(service)))
        await peer.hears(1)
        left = peer.heard_messages[0].deadline - time.monotonic_ns() - ahead
        assert 0 < left / 1e9 <= front.DEADLINE_SECONDS
        assert left / 1e9 > front.DEADLINE_SECONDS - 25
        asking.cancel()
