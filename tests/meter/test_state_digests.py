"""Digests of the rules' state in the ledger, and the snapshots that are published beside them."""

import asyncio
from collections.abc import Callable
from hashlib import sha256
from itertools import pairwise
from pathlib import Path

import asyncpg
import pytest
from msgspec.structs import replace

from ledger import canon
from ledger.folder import FolderReader
from ledger.note import Verifier
from ledger.report import Report
from ledger.tiles import level_tiles
from ledger.verify import verify
from meter.auditor.replay import Audit, check_files
from meter.host.keys import Keys
from meter.publish.export import export
from meter.rules import commands
from meter.rules.entries import Entry, StateDigested
from meter.rules.kinds.access_digests import SERVICE
from meter.rules.snapshot import digest_of, write
from meter.service.rebuild import rebuild
from meter.service.state_digests import StateDigests
from meter.values.problems import Problem
from tests.books import record, void
from tests.fuzz.ledgers import goes_on, story
from tests.meter.test_meter_store import history
from tests.meter.test_persons import refusal
from tests.services import HOUR, Service, address_of, ask, authorization, check_sums, serving, until
from tests.writer import Told, Writer, bent

# The rules


def test_a_digest_is_of_the_state_after_all_entries_before_it():
    writer = story().twin()
    snapshot = write(writer.state)
    number = writer.digest_state()
    entry = writer.entries[number]
    assert entry.sha256 == sha256(snapshot).hexdigest()
    assert canon.decode(snapshot)["size"] == number
    assert (entry.by, entry.person, entry.postings) == (SERVICE, "", [])
    assert writer.files[number] == [snapshot]


def test_the_service_alone_puts_a_digest():
    writer = story().twin()
    assert refusal(writer.do, commands.DigestState(), "op-1") == "unauthorized"
    assert refusal(writer.propose, "state_digest") == "malformed"


def test_any_entry_may_come_before_and_after_a_digest():
    def go_on(writer: Writer) -> None:
        for _ in range(2):
            writer.digest_state()
        writer.post([record("n1", "A", 1_741_000_000, 1_741_003_600, 10)], [void("r2")])
        writer.digest_state()
        writer.confirm(writer.propose("person", id="chen"), "op-1")
        writer.digest_state()

    goes_on(go_on)


# What an auditor finds


def verified(writer: Writer, folder: Path) -> Report:
    return verify(writer.export(folder), writer.verifier, Audit())


def lied(change: Callable[[StateDigested], Told]) -> Callable[[int, Entry], Told]:
    """Return a lie about each digest."""
    return lambda _, entry: change(entry) if isinstance(entry, StateDigested) else entry


def found(writer: Writer, folder: Path, code: str) -> None:
    """Verify a ledger whose last digest is wrong."""
    number = max(n for n, each in enumerate(writer.entries) if isinstance(each, StateDigested))
    (finding,) = verified(writer, folder).findings
    assert (finding.code, finding.entry) == (code, number)


def test_a_wrong_digest_is_found_with_the_snapshot_of_the_state_or_with_its_own(tmp_path):
    for name, lie in (("one", b""), ("other", b"of another state")):
        writer = story().twin()
        wrong = digest_of(lie) if lie else "0e" * 32
        writer.tell = lied(lambda entry, wrong=wrong: replace(entry, sha256=wrong))
        writer.tell_files = lambda files, lie=lie: [lie] if lie else files
        writer.digest_state()
        writer.tell, writer.tell_files = lambda _, entry: entry, lambda files: files
        writer.person("chen")
        found(writer, tmp_path / name, "not_as_decided")


@pytest.mark.parametrize(
    "total",
    [
        lambda state: bent(state.contracts["A"], used=state.contracts["A"].used + 1),
        lambda state: bent(next(iter(state.pools.values())), issued=1),
        lambda state: bent(state.months, first=7),
        lambda state: bent(state, batches={}),
        lambda state: bent(state, registered=bytes(32)),
    ],
)
def test_a_digest_of_a_state_that_the_entries_do_not_lead_to_is_found(total, tmp_path):
    writer = story().twin()
    with total(writer.state):
        writer.digest_state()
    found(writer, tmp_path / "out", "not_as_decided")


@pytest.mark.parametrize(
    ("lie", "code"),
    [
        (lambda files: [files[0][:-1]], "wrong_snapshot"),
        (lambda files: [files[0].replace(b'"v":1', b'"v":2')], "wrong_snapshot"),
        (lambda files: [*files, b""], "wrong_snapshot"),
        (lambda files: [files[0][:9], files[0][9:]], "wrong_snapshot"),
        (lambda _: [], "missing_attachment"),
    ],
)
def test_another_snapshot_than_the_digest_names_is_found(lie, code, tmp_path):
    writer = story().twin()
    writer.tell_files = lie
    number = writer.digest_state()
    found(writer, tmp_path / "out", code)
    with pytest.raises(Exception, match=code):  # without deciding anything
        check_files(writer.leaves[number], writer.files.get(number, []))


def test_a_long_snapshot_lies_in_several_files(tmp_path, monkeypatch):
    goes_on(lambda writer: writer.digest_state())  # what is before has its snapshots in one file
    monkeypatch.setattr("meter.rules.snapshot.MAX_ATTACHMENT_BYTES", 100)
    writer = story().twin()
    number = writer.digest_state()
    assert {len(file) for file in writer.files[number][:-1]} == {100}
    assert b"".join(writer.files[number]) == files_beside(writer.export(tmp_path), number)
    goes_on(lambda writer: writer.digest_state())


# The service


def digests(service: Service, entries: int = 1) -> StateDigests:
    """Return what the leader runs, to be run when a test says so."""
    return StateDigests(service.running.readers, service.running.intake, entries)


def files_beside(folder: Path, number: int) -> bytes:
    """Return what a folder has beside an entry, in one piece."""
    reader = FolderReader(folder)
    size = int(reader.checkpoint().split(b"\n")[1])
    tile = next(
        each
        for each in level_tiles("entries", size)
        if each.first <= number < each.first + each.width
    )
    return b"".join(reader.attachments(tile.beside("batches"))[number - tile.first])


def check(folder: Path, service: Service) -> Report:
    """Verify a folder of a service."""
    verifier = Verifier.parse(service.folder.log_vkey.read_text().strip())
    report = verify(folder, verifier, Audit())
    assert report.findings == []
    return report


@pytest.mark.parametrize("seed", range(2))
async def test_a_service_comes_to_the_digests_of_an_auditor_whenever_it_started(
    database, tmp_path, seed
):
    now = "2026-01-10T12:00:00+08:00"
    async with serving(database, tmp_path, now) as service:
        await history(service, seed, 40)
        await service.usage([record("late", "A", *HOUR, 10)], stream="gaps", seq=7)
        numbers = [await digests(service).put()]
    async with serving(database, tmp_path, now) as service:
        numbers.append(await digests(service).put())
        service.clock.set("2026-02-03T12:00:00+08:00")
        await service.usage([record("later", "A", *HOUR, 10)], [void("late")], stream="gaps", seq=3)
        numbers.append(await digests(service).put())
        assert await service.published() == numbers[-1] + 1
        report = check(service.folder.log, service)
        assert report.size == numbers[-1] + 1
        for number in numbers:
            snapshot = files_beside(service.folder.log, number)
            assert canon.decode(snapshot)["size"] == number
        assert canon.decode(snapshot)["streams"][0] == ["pcl", "gaps", 7, [[1, 2], [4, 6]]]
        await export(address_of(database), Keys(service.folder), tmp_path / "out")
        assert check(tmp_path / "out", service).root == report.root
        assert files_beside(tmp_path / "out", numbers[0])
    await check_sums(database)
    await rebuild(address_of(database))
    await check_sums(database)


async def test_a_service_puts_a_digest_every_so_many_entries(database, tmp_path):
    async with serving(database, tmp_path) as service:
        await service.open_books()
        first = asyncio.create_task(digests(service, 12).run())
        for seq in range(1, 16):
            await service.usage([record(f"r{seq}", "A", *HOUR, 1)], seq=seq)

        async def are_put() -> bool:
            numbers = await put(database)
            return len(numbers) >= 2 and service.intake.watermark.size - numbers[-1] <= 13

        await until(are_put)
        first.cancel()
        numbers = [0, *(await put(database))]
        assert all(after - before > 12 for before, after in pairwise(numbers))
        # Another one goes on from the last.
        second = asyncio.create_task(digests(service, 12).run())
        for seq in range(16, 24):
            await service.usage([record(f"r{seq}", "A", *HOUR, 1)], seq=seq)

        async def goes_on() -> bool:
            return len(await put(database)) == len(numbers)

        await until(goes_on)
        second.cancel()
        numbers = [0, *(await put(database))]
        assert all(after - before > 12 for before, after in pairwise(numbers))
    await check_sums(database)


async def test_a_service_that_ends_puts_no_digest(database, tmp_path):
    async with serving(database, tmp_path) as service:
        await service.open_books()
        running = asyncio.create_task(digests(service, 1_000).run())
        await asyncio.sleep(0)
        await service.usage([record("r", "A", *HOUR, 1)])
        await asyncio.sleep(0.1)  # it waits
    assert await put(database) == []
    running.cancel()


async def put(database: str) -> list[int]:
    rows = await ask(database, "SELECT entry FROM meter.state_snapshot ORDER BY entry")
    return [row["entry"] for row in rows]


async def test_a_service_that_cannot_put_a_digest_tries_again(
    database, tmp_path, monkeypatch, caplog
):
    monkeypatch.setattr("meter.service.state_digests.PAUSE_SECONDS", 0.05)
    async with serving(database, tmp_path) as service:
        await service.open_books()
        refusing = digests(service)
        putting, waits = refusing.put, [Problem("unavailable", "not now")]

        async def put_later() -> int:
            if waits:
                raise waits.pop()
            return await putting()

        monkeypatch.setattr(refusing, "put", put_later)
        running = asyncio.create_task(refusing.run())
        await asyncio.sleep(0)
        await service.usage([record("r", "A", *HOUR, 1)])

        async def is_put() -> bool:
            return bool(await put(database))

        await until(is_put)
        running.cancel()
        assert "state_not_digested" in caplog.text


async def test_snapshots_are_for_officials_and_stay_as_they_are(database, tmp_path):
    async with serving(database, tmp_path) as service:
        await service.open_books()
        number = await digests(service).put()
        size = await service.published()
        path = f"/log/batches/000.p/{size}"
        answer = await service.get(path)
        assert (await ask(database, "SELECT snapshot FROM meter.state_snapshot"))[0][
            "snapshot"
        ] in answer.body
        header = await authorization(service, "p-1", "provider", "pcl")
        assert (await service.get(path, Authorization=header)).status == 403
        assert (await service.get(f"/v1/entries/{number}", Authorization=header)).status == 404
    for change in ("UPDATE meter.state_snapshot SET entry = 1", "DELETE FROM meter.state_snapshot"):
        with pytest.raises(asyncpg.PostgresError):
            await ask(database, change)
