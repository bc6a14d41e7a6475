"""Recovery: from yesterday's database and today's folder nothing is lost, or nothing starts."""

import asyncio
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from ledger import store as ledger_store
from ledger.errors import BadBundle, BadFolder, BadNote, Violation
from ledger.folder import FolderReader, FolderWriter
from ledger.note import Checkpoint, Signer, Verifier, claimed_checkpoint, sign
from ledger.publish import Ahead, OtherRoot
from ledger.store import LostEpoch
from ledger.tiles import level_tiles
from ledger.verify import by_entry, verify
from meter.auditor.replay import Audit
from meter.host.data_folder import DataFolder
from meter.publish.log_folder import LogMissing
from meter.rules.commands import IssueCoupon, RegisterContract
from meter.rules.kinds.table import BY_NAME
from meter.rules.verified import verified
from meter.service.backup import back_up, copy_log, restore
from meter.service.recover import OriginLost, publish_again, recover
from meter.tables import connections
from meter.values.strict import decode
from tests.books import lifted, record, void
from tests.recovering import NOW, Diary, run, today, yesterday
from tests.services import (
    HOUR,
    ORIGIN,
    address_of,
    ask,
    check_sums,
    contract_body,
    coupon_body,
    projections,
    serving,
    stored,
)

TOTALS_OF_GROUPS = (
    *("meter.segment_subject", "meter.contract_year_past", "meter.coupon_past"),
    *("meter.contract_total_past", "meter.pool_past"),
)


class Past:
    """A ledger, a backup of yesterday, the folder of today; its service has stopped."""

    def __init__(self, diary: Diary, backup: Path, size: int) -> None:
        self.diary, self.backup, self.size = diary, backup, size
        self.database = diary.service.dsn
        self.folder, self.clock = diary.service.folder, diary.service.clock

    def left(self, home: Path) -> DataFolder:
        """Return what a lost machine leaves: keys, the first token, a copy of the folder."""
        new = DataFolder(home / "kashi")
        new.path.mkdir(parents=True)
        for file in self.folder.path.glob("*.*"):
            shutil.copyfile(file, new.path / file.name)
        shutil.copyfile(self.folder.origin, new.origin)
        shutil.copytree(self.folder.log, new.log)
        return new


@pytest.fixture
async def past(database, tmp_path) -> Past:
    async with serving(database, tmp_path, NOW) as known:
        diary = Diary(known)
        await yesterday(diary)
        size = await known.published()
        assert await back_up(address_of(database), known.folder, tmp_path / "backup") == size
        await today(diary)
        kinds = {entry.kind for entry in (await known.entries())[size:]}
        assert kinds == BY_NAME.keys() - {"genesis", "person_recovery"}
        await known.published()
    return Past(diary, tmp_path / "backup", size)


async def rows(dsn: str) -> dict[str, Any]:
    """Return all rows of a ledger, except tokens and the epoch."""
    tables = {
        "ledger.segment": "first",
        "meter.batch": "entry",
        "meter.request": "owner, key",
        "meter.state_snapshot": "entry",
    }
    found: dict[str, Any] = {
        table: await ask(dsn, f"SELECT * FROM {table} ORDER BY {key}")
        for table, key in tables.items()
    }
    found["head"] = await ask(dsn, "SELECT size, root, frontier, last_at FROM ledger.head")
    return found | await projections(dsn)


def verdict(folder: DataFolder) -> int:
    """Verify the folder by every rule under its newest key; returns the number of its entries."""
    keys = sorted(folder.path.glob("log*.vkey"), key=lambda file: file.stat().st_mtime)
    report = verify(folder.log, Verifier.parse(keys[-1].read_text().strip()), Audit())
    assert report.findings == []
    return report.size


# The drill


async def test_yesterdays_database_and_todays_folder_lose_nothing(past, spare, tmp_path):
    new = past.left(tmp_path / "new")
    await restore(address_of(spare), past.backup)
    assert len(await stored(spare)) == past.size
    with pytest.raises(Ahead, match="run kashi recover"):
        async with serving(spare, tmp_path / "new"):
            pass
    result = await run(spare, "recover", "--data", new.path)
    assert result.exit_code == 0, result.output
    everything = await rows(past.database)
    count = len(await stored(past.database))
    assert f"{count - past.size} recovered: {count} entries" in result.stdout
    assert "tokens are those of the backup" in result.stdout
    assert await rows(spare) == everything
    await check_sums(spare)
    async with serving(spare, tmp_path / "new", clock=past.clock) as known:
        await past.diary.check(known)
        answer = await known.usage([record("new", "A", *HOUR, 1)], seq=11, keyid="pcl-2")
        assert answer.json["results"][0]["status"] == "accepted"
        assert await known.published() == verdict(known.folder) == count + 2
    await check_sums(spare)


async def test_the_folder_and_the_keys_alone_are_enough(past, spare, tmp_path):
    new = past.left(tmp_path / "new")
    old = new.token_of("authority").read_text()
    result = await run(spare, "recover", "--data", new.path)
    assert result.exit_code == 0, result.output
    assert f"a new token for authority:  {new.token_of('authority')}" in result.stdout
    assert await rows(spare) == await rows(past.database)
    async with serving(spare, tmp_path / "new", clock=past.clock) as known:
        assert new.token_of("authority").read_text().startswith("authority-1.")
        header = f"Bearer {old.strip()}"
        assert (await known.get("/v1/entries", Authorization=header)).code == "unauthorized"
        # Idempotency keys belong to a person, whose token has a new secret.
        await past.diary.check(known)
        await known.published()
        verdict(known.folder)
    await check_sums(spare)


async def test_a_backup_alone_is_restored_by_one_command(past, spare, tmp_path):
    new = DataFolder(tmp_path / "new" / "kashi")
    new.path.mkdir(parents=True)
    for file in past.folder.path.glob("*.key"):
        shutil.copyfile(file, new.path / file.name)
    new.write_secret(
        new.token_of("authority"), past.folder.token_of("authority").read_text().strip()
    )
    words = ("recover", "--data", new.path, "--from", past.backup)
    result = await run(spare, *words)
    assert result.exit_code == 0, result.output
    assert f"nothing to recover: {past.size} entries" in result.stdout
    again = await run(spare, *words)
    assert (again.exit_code, "backup_failed" in again.stderr) == (1, True)
    assert await stored(spare) == (await stored(past.database))[: past.size]
    async with serving(spare, tmp_path / "new", clock=past.clock) as known:
        await known.usage([record("new", "A", *HOUR, 1)], seq=11)
        await known.published()
        verdict(known.folder)
    await check_sums(spare)


async def test_a_backup_whose_log_is_newer_than_the_folder_says_so(past, spare, tmp_path):
    new = past.left(tmp_path / "new")
    newer = tmp_path / "newer"
    await back_up(address_of(past.database), past.folder, newer)
    shutil.rmtree(new.log)
    shutil.copytree(past.backup / "log", new.log)
    result = await run(spare, "recover", "--data", new.path, "--from", newer)
    assert result.exit_code == 1
    assert "move the former away" in result.stderr
    shutil.rmtree(new.log)
    assert (await run(spare, "recover", "--data", new.path, "--from", newer)).exit_code == 0
    assert await rows(spare) == await rows(past.database)


async def test_what_was_committed_together_is_recovered_together(database, spare, tmp_path):
    async with serving(database, tmp_path, NOW) as known:
        diary = Diary(known)
        await yesterday(diary)
        for seq in range(100, 160, 3):
            terms = contract_body(f"C{seq}")
            terms |= {"from": terms.pop("starts"), "until": terms.pop("ends")}
            contract = decode(json.dumps(terms).encode(), RegisterContract)
            records = [record(f"r{seq}.{n}", f"C{seq}", *HOUR, 30) for n in range(3)]
            envelopes = [
                known.envelope(records, seq=seq),
                known.envelope([], [void(f"r{seq}.1")], seq=seq + 1),
                known.envelope([record(f"t{seq}", "A", *HOUR, 7)], seq=seq + 2),
            ]
            keys = known.intake.state.keys
            await asyncio.gather(
                known.intake.command(contract, "authority-1", f"together-{seq}"),
                *(known.intake.batch(verified(keys, envelope)) for envelope in envelopes),
            )
        await known.published()
    segments = await ask(database, "SELECT first, count FROM ledger.segment")
    assert max(count for _, count in segments) > 8
    shutil.copytree(known.folder.path, tmp_path / "new" / "kashi")
    await recover(address_of(spare), DataFolder(tmp_path / "new" / "kashi"))
    assert await rows(spare) == await rows(database)
    await check_sums(spare)


async def test_commands_that_were_committed_together_may_come_back_one_by_one(
    database, spare, tmp_path
):
    async with serving(database, tmp_path, NOW) as known:
        await known.open_books(lifted(), issued=None)
        coupon = decode(json.dumps(coupon_body(2025, "1.00")).encode(), IssueCoupon)
        for n in range(5):
            keys = [f"key-{n}.{m}" for m in range(4)]
            await asyncio.gather(*(known.intake.command(coupon, "authority-1", k) for k in keys))
        await known.published()
    segments = await ask(database, "SELECT count FROM ledger.segment")
    assert [count for (count,) in segments][-5:] == [4] * 5
    shutil.copytree(known.folder.path, tmp_path / "new" / "kashi")
    await recover(address_of(spare), DataFolder(tmp_path / "new" / "kashi"))
    ours, theirs = await rows(spare), await rows(database)
    for table in ("ledger.segment", *TOTALS_OF_GROUPS):
        del ours[table], theirs[table]
    assert ours == theirs
    assert await stored(spare) == await stored(database)
    async with serving(spare, tmp_path / "new", clock=known.clock) as again:
        assert (await again.balance())["issued"] == "20.00"
        await again.published()
        verdict(again.folder)
    await check_sums(spare)


async def test_a_recovery_that_ends_in_the_middle_is_run_again(past, spare, tmp_path):
    new = past.left(tmp_path / "new")
    steps = 0

    def stop_after(done: int, _: int) -> None:
        nonlocal steps
        steps += 1
        raise InterruptedError(f"at {done}")

    size = -1
    while True:
        try:
            await recover(address_of(spare), new, stop_after)
            break
        except InterruptedError:
            connection = await connections.connect(address_of(spare))
            head = await ledger_store.head(connection)
            await connection.close()
            assert head.size > size
            size = head.size
    assert steps == len(await ask(past.database, "SELECT first FROM ledger.segment"))
    assert await rows(spare) == await rows(past.database)


async def test_there_is_nothing_to_recover_where_nothing_is_behind(past):
    before = await ask(past.database, "SELECT * FROM ledger.head")
    result = await run(past.database, "recover", "--data", past.folder.path)
    assert (result.exit_code, result.stdout[:18]) == (0, "nothing to recover")
    assert await ask(past.database, "SELECT * FROM ledger.head") == before


async def test_a_recovery_shuts_a_running_service_out(past, spare, tmp_path):
    old, new = past.left(tmp_path / "old"), past.left(tmp_path / "new")
    await restore(address_of(spare), past.backup)
    shutil.rmtree(old.log)
    copy_log(past.backup / "log", old.log)
    async with serving(spare, tmp_path / "old", clock=past.clock) as known:
        await recover(address_of(spare), new)
        assert (await known.usage([record("x", "A", *HOUR, 1)], seq=11)).code == "unavailable"
        with pytest.raises(LostEpoch):
            await known.running.ended
    assert await stored(spare) == await stored(past.database)


# Refusals


def flip(share: int, data: bytes) -> bytes:
    """Change one bit, at this many tenths of a file."""
    place = len(data) * share // 10
    return data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]


DAMAGE = {
    "changed": lambda data: flip(7, data),
    "changed near its end": lambda data: flip(9, data),
    "cut": lambda data: data[:-1],
    "empty": lambda _: b"",
    "gone": lambda _: None,
}


@pytest.mark.parametrize("level", ["entries", "batches", 0])
async def test_a_damaged_folder_is_refused_and_leaves_the_last_good_group(
    past, spare, tmp_path, level
):
    new, whole = past.left(tmp_path / "new"), await stored(past.database)
    bounds = {row["first"] for row in await ask(past.database, "SELECT first FROM ledger.segment")}
    file = new.log / next(iter(level_tiles(level, len(whole)))).path
    good = file.read_bytes()
    for damage in DAMAGE.values():
        file.unlink()
        if (bad := damage(good)) is not None:
            file.write_bytes(bad)
        await ask(spare, "DROP SCHEMA IF EXISTS meter, ledger CASCADE")
        await restore(address_of(spare), past.backup)
        with pytest.raises((Violation, OtherRoot, BadFolder, BadBundle)):
            await recover(address_of(spare), new)
        now = await stored(spare)
        assert len(now) in bounds
        assert now == whole[: len(now)]
        file.write_bytes(good)
        await recover(address_of(spare), new)
        assert await stored(spare) == whole
    assert await rows(spare) == await rows(past.database)


async def test_an_entry_that_the_rules_do_not_give_is_refused_even_under_our_own_key(
    past, spare, tmp_path
):
    new = past.left(tmp_path / "new")
    await restore(address_of(spare), past.backup)
    reader, size = FolderReader(past.folder.log), len(await stored(past.database))
    amount, higher = b'"amount":3000,', b'"amount":3001,'
    shutil.rmtree(new.log)
    writer = FolderWriter(new.log)
    for tile in level_tiles("entries", size):
        files = by_entry(reader.iter_attachments(tile.beside("batches")), tile.width)
        for data in reader.iter_entries(tile):
            writer.add(data.replace(amount, higher), next(files))
    keys = [Signer.parse(file.read_text().strip()) for file in new.path.glob("log-2.key")]
    writer.finish(sign(Checkpoint(ORIGIN, size, writer.root()).format(), *keys))
    with pytest.raises(Violation, match=r"^not_as_decided: entry \d+: ") as refusal:
        await recover(address_of(spare), new)
    whole = await stored(past.database)
    assert amount in whole[refusal.value.entry]
    assert await stored(spare) == whole[: refusal.value.entry]


async def test_an_entry_that_the_rules_would_give_too_is_refused_where_another_was_signed(
    past, spare, tmp_path
):
    new, whole = past.left(tmp_path / "new"), await stored(past.database)
    await restore(address_of(spare), past.backup)
    known = len(await stored(spare))
    number = next(n for n in range(known, len(whole)) if b'"salt":"' in whole[n])
    salt = whole[number].partition(b'"salt":"')[2][:32]
    file = new.log / next(iter(level_tiles("entries", len(whole)))).path
    file.write_bytes(file.read_bytes().replace(salt, salt[::-1]))
    with pytest.raises(OtherRoot, match="the folder is damaged"):
        await recover(address_of(spare), new)
    now = await stored(spare)
    assert known <= len(now) <= number
    assert now == whole[: len(now)]


async def test_a_database_of_another_history_is_left_alone(past, spare, tmp_path):
    other, new = past.left(tmp_path / "other"), past.left(tmp_path / "new")
    await restore(address_of(spare), past.backup)
    shutil.rmtree(other.log)
    copy_log(past.backup / "log", other.log)
    async with serving(spare, tmp_path / "other", clock=past.clock) as known:
        await known.usage([record("other", "A", *HOUR, 1)], seq=900)
        await known.published()
    before = await rows(spare)
    with pytest.raises(OtherRoot, match="another history"):
        await recover(address_of(spare), new)
    with pytest.raises(OtherRoot):
        await recover(address_of(past.database), other)
    assert await rows(spare) == before


async def test_a_checkpoint_that_is_not_ours_is_refused(past, spare, tmp_path):
    new = past.left(tmp_path / "new")
    note = new.log / "checkpoint"
    checkpoint = claimed_checkpoint(note.read_bytes())
    other = Signer.from_seed(ORIGIN, bytes(32))
    elsewhere = Signer.parse((new.path / "log-2.key").read_text().strip())
    named = Checkpoint("kashi.test/other", checkpoint.size, checkpoint.root).format()
    for forged in (sign(checkpoint.format(), other), sign(named, elsewhere)):
        note.write_bytes(forged)
        with pytest.raises(BadNote):
            await recover(address_of(spare), new)
    assert await ask(spare, "SELECT to_regclass('ledger.head')") == [(None,)]


# Without the folder


async def test_without_the_folder_nothing_goes_on_until_it_is_proved_that_nothing_is_lacking(
    past, spare, tmp_path
):
    newest = (past.folder.log / "checkpoint").read_bytes()
    await restore(address_of(spare), past.backup)
    new = past.left(tmp_path / "new")
    shutil.rmtree(new.log)
    for database in (past.database, spare):
        result = await run(database, "recover", "--data", new.path)
        assert (result.exit_code, "log_missing" in result.stderr) == (1, True)
    with pytest.raises(LogMissing):
        async with serving(spare, tmp_path / "new"):
            pass
    with pytest.raises(OriginLost, match="new ledger under a new origin"):
        await publish_again(address_of(spare), new, newest)
    assert not new.log.exists()
    (tmp_path / "witnessed").write_bytes(newest)
    words = ("recover", "--data", new.path, "--checkpoint", tmp_path / "witnessed")
    assert "origin_lost" in (await run(spare, *words)).stderr
    result = await run(past.database, *words)
    assert result.exit_code == 0, result.output
    assert verdict(new) == claimed_checkpoint(newest).size
    again = await run(past.database, *words)
    assert (again.exit_code, "bad_folder" in again.stderr) == (1, True)
    assert (await run(past.database, *words, "--from", past.backup)).exit_code == 2
    async with serving(past.database, tmp_path / "new", clock=past.clock) as known:
        await past.diary.check(known)


async def test_an_older_checkpoint_of_this_log_will_do_and_another_logs_will_not(past, tmp_path):
    new = past.left(tmp_path / "new")
    shutil.rmtree(new.log)
    older = (past.backup / "log" / "checkpoint").read_bytes()
    checkpoint = claimed_checkpoint(older)
    ours = Signer.parse((new.path / "log-2.key").read_text().strip())
    forked = Checkpoint(ORIGIN, checkpoint.size, bytes(32)).format()
    stranger = sign(checkpoint.format(), Signer.from_seed(ORIGIN, bytes(32)))
    for note, error in ((stranger, BadNote), (sign(forked, ours), OtherRoot), (b"", BadNote)):
        with pytest.raises(error):
            await publish_again(address_of(past.database), new, note)
    (new.path / "log.new").mkdir()  # of one that was interrupted
    (new.path / "log.new" / "rest").touch()
    head = await publish_again(address_of(past.database), new, older)
    assert head.size == verdict(new) > checkpoint.size
