"""Recovery: from yesterday's database and today's folder nothing is lost, or nothing starts."""

import asyncio
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Self
from urllib.request import Request, urlopen

import pytest
from click.testing import CliRunner, Result

from ledger import store as ledger_store
from ledger.errors import BadBundle, BadFolder, BadNote, Violation
from ledger.folder import FolderReader, FolderWriter
from ledger.note import Checkpoint, Signer, Verifier, claimed_checkpoint, sign
from ledger.publish import Ahead, OtherRoot
from ledger.store import LostEpoch
from ledger.tiles import level_tiles, tiles_of
from ledger.verify import by_entry, verify
from meter.auditor.replay import Audit
from meter.cli.main import main
from meter.host.data_folder import DATABASE_VARIABLE, DataFolder
from meter.host.postgres import PostgresError, find_program
from meter.publish.log_folder import LogMissing
from meter.rules.commands import DigestAccesses, DigestState, IssueCoupon, RegisterContract
from meter.rules.kinds.access_digests import SERVICE
from meter.rules.kinds.table import BY_NAME
from meter.rules.verified import verified
from meter.service.admin import new_key
from meter.service.backup import BackupFailed, _address, back_up, copy_log, restore
from meter.service.recover import OriginLost, publish_again, recover
from meter.tables import connections
from meter.tables.faults import DatabaseFault
from meter.values.policy import shipped_text
from meter.values.strict import decode
from tests.books import (
    ALPHA,
    BETA,
    DEVICE,
    lifted,
    line,
    purchase,
    record,
    summary,
    uscc_of,
    void,
)
from tests.conftest import memory_folder
from tests.papers import papers
from tests.services import (
    HOUR,
    ORIGIN,
    Service,
    address_of,
    ask,
    check_sums,
    contract_body,
    coupon_body,
    enterprise_body,
    key_body,
    projections,
    provider_body,
    serving,
    stored,
)

NOW = "2026-01-10T12:00:00+08:00"
YEAR_EDGE = ("2025-12-31T23:30:00+08:00", "2026-01-01T00:30:00+08:00")
DAY = 86_400_000_000  # microseconds
SECOND_USCC = uscc_of(10)
TOTALS_OF_GROUPS = ("meter.segment_subject", "meter.contract_year_past", "meter.coupon_past")
TOTALS_OF_GROUPS += ("meter.contract_total_past", "meter.pool_past")


ROUNDING = '\n[rounding]\nprorate = "days"\narticle = "none"\nstanding = "judgement"\n'


class Diary:
    """The requests to a service and its answers, to be asked again."""

    def __init__(self, known: Service) -> None:
        self.service = known
        self.commands: list[tuple[str, Any, str, bytes]] = []
        self.batches: list[tuple[bytes, bytes, str]] = []

    async def ask(self, path: str, **body: Any) -> None:
        names = {"starts": "from", "ends": "until", "applicant": "kind"}
        content, key = {names.get(k, k): v for k, v in body.items()}, f"diary-{len(self.commands)}"
        answer = await self.service.post(path, content, key)
        assert answer.status == 201, answer.body
        self.commands.append((path, content, key, answer.body))

    async def usage(self, records: Any = (), voids: Any = (), **changes: Any) -> None:
        envelope = self.service.envelope(records, voids, **changes)
        answer = await self.service.post("/v1/usage", envelope, None)
        assert answer.status == 200, answer.body
        self.batches.append((envelope, answer.body, answer.headers["Kashi-Signature"]))

    async def check(self, known: Service) -> None:
        """Ask everything again: the answers are the same, and nothing is done twice."""
        size = known.intake.watermark.size
        for path, content, key, body in self.commands:
            answer = await known.post(path, content, key)
            assert (answer.status, answer.body) == (201, body), path
            if not path.endswith("/confirm"):  # which has no body
                other = await known.post(path, content | {"reason": "other"}, key)
                assert other.code == "idempotency_conflict"
        for envelope, body, signature in self.batches:
            answer = await known.post("/v1/usage", envelope, None)
            assert (answer.status, answer.body) == (200, body)
            assert answer.headers["Kashi-Signature"] == signature
        assert known.intake.watermark.size == size


async def yesterday(diary: Diary) -> None:
    """Open books in which coupons and capacity run out; void something."""
    await diary.service.open_books(lifted(), issued="20.00")
    await diary.ask("/v1/enterprises", **enterprise_body(BETA, founded_on="2024-06-01"))
    await diary.ask("/v1/contracts", **contract_body("B", enterprise=BETA, amount="50.00"))
    await diary.ask("/v1/contracts", **contract_body("W", max_devices={DEVICE: 1}))
    await diary.usage([record("a1", "A", *HOUR, 4_000), record("b1", "B", *YEAR_EDGE, 900)])
    await diary.usage([record(f"w{n}", "W", *HOUR, 700) for n in range(4)], seq=2)
    await diary.usage([record("a2", "A", *HOUR, 100)], [void("a1"), void("w0")], seq=5)


async def today(diary: Diary) -> None:
    """Make at least one entry of every kind."""
    ask = diary.ask
    text = lifted(version="second", cap="9000000.00")
    await ask("/v1/policies", programme="training-coupon", version="second", content=text)
    await ask("/v1/providers", **provider_body("szu", uscc=SECOND_USCC, devices={DEVICE: 8}))
    later = {"batch": "2026-1", "from": "2026-01-01", "until": "2027-01-01"}
    await ask("/v1/providers/szu/enlistments", devices={DEVICE: 2}, enlisted=later)
    await ask("/v1/providers/szu/keys", **key_body("szu-1", "szu"))
    await ask("/v1/providers/pcl/keys", **key_body("pcl-2"))
    await ask("/v1/enterprises", **enterprise_body(uscc_of(3)))
    await ask("/v1/contracts", **contract_body("S", provider="szu"))
    await ask("/v1/contracts", **contract_body("F", enterprise=uscc_of(3)))
    await diary.usage([record("a3", "A", *HOUR, 64_000), record("no", "S", *HOUR, 1)], seq=3)
    await ask("/v1/coupons", **coupon_body(2025, "30.00"))
    await ask("/v1/coupons", **coupon_body(2026, "7.77", BETA))
    await ask("/v1/coupons/withdraw", **coupon_body(2026, "1.11", BETA))
    await ask("/v1/contracts/F/freeze", reason="asked about")
    await diary.usage([record("f1", "F", *HOUR, 1), record("a3", "A", *HOUR, 9)], seq=7)
    await ask("/v1/contracts/F/unfreeze")
    renamed = {"name": "另一名", "document": "通知书", "reason": "another name"}
    await ask(f"/v1/enterprises/{BETA}/amend", **renamed)
    await ask("/v1/providers/pcl/amend", **renamed)
    window = {"starts": "2025-12-01", "ends": "2025-12-08", "open_until": "2026-02-01"}
    await ask("/v1/contracts/A/late-window", reason="a long outage", **window)
    amendment = {"document": "协议", "reason": "as signed", "prices": {DEVICE: "4.00"}}
    signed = {"mode": "supplement", "effective": "2025-06-01", "signed_on": "2025-05-01"}
    await ask("/v1/contracts/A/amend", amount="900000.00", **signed, **amendment)
    await ask("/v1/contracts/W/amend", mode="correction", enterprise=BETA, **amendment)
    szu = {"provider": "szu", "stream": "gpu", "keyid": "szu-1"}
    await diary.usage([record("s1", "S", *YEAR_EDGE, 9_000), record("s1", "S", *HOUR, 1)], **szu)
    await ask("/v1/records/release", provider="pcl", id="w2", reason="seen")
    await diary.usage([record("a4", "A", *YEAR_EDGE, 50)], [void("w3"), void("w3")], seq=8)
    await ask("/v1/records/void", provider="pcl", id="a2", reason="not charged")
    await sell(diary)
    await award(diary)
    await claim(diary)
    await allocate(diary)
    await end_year(diary)
    await meet(diary)
    await rotate(diary)
    last = summary("2025-12-31", line("A", 1, "90.000"))
    await diary.usage([], seq=9, keyid="pcl-2", summary=last)
    await ask("/v1/keys/pcl-1/revoke", suspected_since="2026-01-01T00:00:00+08:00")
    await diary.usage([record("s2", "S", *HOUR, 1)], [void("s1")], seq=2, **szu)
    await answer(diary)


async def answer(diary: Diary) -> None:
    """Close a month, confirm it, and dispute records: one stands, one is voided."""
    diary.service.clock.now += 40 * DAY
    waiver = {"person": "authority", "reason": "streams were replaced"}
    await diary.ask("/v1/months/2026-01/close", waiver=waiver)
    await diary.ask("/v1/months/2026-01/confirm", enterprise=BETA)
    for contract, provider, id_ in (("A", "pcl", "a3"), ("S", "szu", "s2")):
        record = {"provider": provider, "id": id_, "reason": "it never ran"}
        await diary.ask("/v1/records/dispute", contract=contract, **record)
    await diary.ask("/v1/records/void", **record)
    await diary.ask("/v1/records/dispute/dismiss", **(record | {"provider": "pcl", "id": "a3"}))
    digest = DigestAccesses(day="2026-01-31", rows=1, sha256="0d" * 32)
    await diary.service.intake.command(digest, SERVICE, None)
    await diary.service.intake.command(DigestState(), SERVICE, None)


async def sell(diary: Diary) -> None:
    """Sell corpora, one by days of service, and take one back."""
    text = shipped_text("corpus-coupon", "2024-12") + ROUNDING
    policy = {"programme": "corpus-coupon", "version": "2024-12", "content": text}
    await diary.ask("/v1/policies", **policy)
    vendor = {"id": "szdex", "uscc": uscc_of(71), "name": "深圳数据交易所"}
    await diary.ask("/v1/providers", **vendor, serves=["corpus-coupon"])
    await diary.ask("/v1/providers/szdex/keys", **key_body("szdex-1", "szdex"))
    terms = contract_body("K", programme="corpus-coupon", provider="szdex", prices={})
    await diary.ask("/v1/contracts", **terms)
    dates = {"service_from": "2025-12-20", "service_until": "2026-01-09"}
    bought = [
        purchase("k1", "K", "20.01", "2026-01-09", **dates),
        purchase("k2", "K", "5.00", "2026-01-08"),
        purchase("k3", "K", "0.00", "2026-01-08"),
    ]
    szdex = {"provider": "szdex", "keyid": "szdex-1"}
    await diary.usage(purchases=bought, **szdex)
    await diary.usage([], [void("k1")], seq=2, **szdex)


async def meet(diary: Diary) -> None:
    """Let a person come, propose, confirm, and leave."""
    ask = diary.ask
    await ask("/v1/persons", id="li")
    await ask("/v1/tokens", id="li-1", holder="li")
    for last in ("confirm", "end"):
        number = diary.service.intake.watermark.size
        await ask("/v1/proposals", command="withdrawal", body=coupon_body(2026, "0.01", BETA))
        await ask(f"/v1/proposals/{number}/{last}")
    await ask("/v1/proposals", command="withdrawal", body=coupon_body(2026, "0.02", BETA))
    await ask("/v1/tokens/li-1/end")
    await ask("/v1/persons/li/end")


async def award(diary: Diary) -> None:
    """Fund a project by an award, and lower it."""
    ask = diary.ask
    await ask("/v1/policies", programme="adaptation", version="2024-12")
    budget = {"programme": "adaptation", "year": 2026, "amount": "100.00", "document": "12"}
    await ask("/v1/budgets", **budget)
    await ask("/v1/projects", id="P", title="适配")
    funds = {"reference": "7", "level": "district", "amount": "1.00", "document": "notice"}
    await ask("/v1/projects/P/funds", **funds)
    await ask("/v1/contracts/B/funds", **funds)
    await ask("/v1/enterprises", **enterprise_body(uscc_of(4)))
    merger = {"successor": BETA, "effective": "2026-01-01", "document": "notice"}
    await ask(f"/v1/enterprises/{uscc_of(4)}/succeed", **merger)
    await ask("/v1/projects/P/audit", amount="90.00", document="report")
    terms = {"programme": "adaptation", "enterprise": ALPHA, "project": "P", "year": 2026}
    await ask("/v1/awards", id="AW", base="80.00", amount="9.00", document="opinion", **terms)
    await ask("/v1/awards/AW/change", amount="8.00", reason="a smaller cost")


async def claim(diary: Diary) -> None:
    """Take every step of claims for contract A in 2025."""
    ask = diary.ask

    async def enter(name: str, number: str) -> None:
        await ask("/v1/claims", id=name, item="A", year=2025, **papers(number, name, "2026-01-09"))

    await enter("C1", "1" * 20)
    await ask("/v1/claims/C1/end", outcome="returned")
    for name, number in (("C2", "2" * 20), ("C3", "3" * 20)):
        await enter(name, number)
        await ask(f"/v1/claims/{name}/check")
        await ask(f"/v1/claims/{name}/approve", amount="1.00")
        if name == "C2":
            await ask("/v1/claims/C2/revoke", reason="a mistake")
    notice = {"starts": "2026-01-10", "ends": "2026-01-17", "url": "https://city.test/1"}
    await ask("/v1/claims/C3/notice", **notice)
    number = diary.service.intake.watermark.size
    await ask("/v1/claims/C3/objections", sha256="0f" * 32)
    outcome = {"outcome": "dismissed", "reason": "seen"}
    await ask(f"/v1/claims/C3/objections/{number}/resolve", **outcome)
    diary.service.clock.advance(8 * 86_400)
    await ask("/v1/claims/C3/order")
    await ask("/v1/claims/C3/payment", bank_reference="city-1", paid_on="2026-01-18")
    await ask("/v1/claims/C3/payment-return", returned_on="2026-01-18", reason="closed")
    red = {"number": "3" * 20, "red_number": "4" * 20, "confirmation": "red-1", "year": 2025}
    fen = {"amount": "999999.00", "refunded": "0.00", "issued_on": "2026-01-18"}
    await ask("/v1/invoices/red", **red, **fen)
    owed = {"year": 2025, "amount": "0.10"}
    await ask("/v1/items/A/forfeits", **owed, reason="a breach")
    await ask("/v1/recoveries", item="A", **owed, bank_reference="city-2")


async def allocate(diary: Diary) -> None:
    """Divide a pool of 3.00 among two, in a group that its entries do not end."""
    ask, name = diary.ask, "divided"
    text = lifted(programme=name, pool="3.00")
    section = '[allocation]\nmode = "proportional"\narticle = "1"\nstanding = "measures"\n'
    await ask("/v1/policies", programme=name, version="test", content=f"{text}\n{section}")
    for id_, uscc in (("D1", ALPHA), ("D2", BETA)):
        await ask("/v1/contracts", **contract_body(id_, programme=name, enterprise=uscc))
    requests = [[ALPHA, "2.00"], [BETA, "4.00"]]
    await ask("/v1/allocations", programme=name, year=2026, requests=requests)


async def end_year(diary: Diary) -> None:
    """End 2025 for a programme whose claims are open for a month."""
    ask, name = diary.ask, "brief"
    text = lifted(programme=name, claim_months=1)
    await ask("/v1/policies", programme=name, version="test", content=text)
    await ask("/v1/contracts", **contract_body("E", programme=name, enterprise=BETA))
    await ask("/v1/coupons", **coupon_body(2025, "2.22", BETA) | {"programme": name})
    diary.service.clock.set("2026-02-01T00:00:00+08:00")
    await ask("/v1/coupons/expire", programme=name, year=2025)
    await ask("/v1/years/close", programme=name, year=2025)


async def rotate(diary: Diary) -> None:
    """Change the service's own keys, with a batch in the overlap."""
    for kind in ("receipt", "log"):
        await diary.ask(f"/v1/{kind}-keys", **new_key(diary.service.folder, kind))
    await diary.usage([record("a5", "A", *HOUR, 10)], seq=10)
    await diary.ask("/v1/receipt-keys/retire", keyid="receipt-1")
    vkey = diary.service.folder.log_vkey.read_text().strip()
    await diary.ask("/v1/log-keys/retire", vkey=vkey)


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


def kashi(*words: object) -> Result:
    return CliRunner().invoke(main, [str(word) for word in words])


async def run(database: str, *words: object) -> Result:
    """Run a command on a database, in another thread than the test's loop."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv(DATABASE_VARIABLE, database)
        return await asyncio.to_thread(kashi, *words)


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


# Backups


async def test_a_backup_can_be_made_while_the_service_works(database, spare, tmp_path):
    async with serving(database, tmp_path) as known:
        await known.open_books()
        working = asyncio.create_task(post_for_ever(known))
        sizes = []
        for n in range(3):
            result = await run(database, "backup", "--data", known.folder.path, tmp_path / f"b{n}")
            assert result.exit_code == 0, result.output
            sizes.append(claimed_checkpoint((tmp_path / f"b{n}/log/checkpoint").read_bytes()).size)
        working.cancel()
        await known.published()
        whole = await stored(database)
    assert sizes == sorted(sizes)
    verifier = Verifier.parse((tmp_path / "b2" / "log.vkey").read_text().strip())
    for n in range(3):
        assert verify(tmp_path / f"b{n}" / "log", verifier, Audit()).findings == []
        assert not list((tmp_path / f"b{n}").glob("*.key"))
    new = DataFolder(tmp_path / "new")
    new.path.mkdir()
    result = await run(spare, "recover", "--data", new.path, "--from", tmp_path / "b2")
    assert result.exit_code == 0, result.output
    assert await stored(spare) == whole[: len(await stored(spare))]
    await check_sums(spare)


async def post_for_ever(known: Service) -> None:
    seq = 0
    while True:
        seq += 1
        records = [record(f"r{seq}:{n}", "A", *HOUR, 1) for n in range(40)]
        assert (await known.usage(records, seq=seq)).status == 200
        await asyncio.sleep(0)


def test_a_log_that_outgrows_its_copy_is_copied_on(tmp_path):
    signer = Signer.from_seed(ORIGIN, bytes(32))
    writer = FolderWriter(tmp_path / "log")

    def grow(count: int) -> None:
        for _ in range(count):
            writer.add(b"x%d" % writer.size, [b"y"] if writer.size % 100 == 0 else [])
        writer.finish(sign(Checkpoint(ORIGIN, writer.size, writer.root()).format(), signer))

    grow(700)
    grown = iter([100, 65_536, 3])

    def progress(done: int, _: int) -> None:
        if done == 3:
            grow(next(grown))

    size = copy_log(tmp_path / "log", tmp_path / "copy", progress)
    assert (size, writer.size) == (66_336, 66_339)
    assert claimed_checkpoint((tmp_path / "copy" / "checkpoint").read_bytes()).size == size
    files = FolderReader(tmp_path / "copy").files() - {"checkpoint"}
    tiles = {tile.path for tile in tiles_of(size)}
    assert {file for file in files if file.startswith("tile")} == tiles
    for file in files:
        assert (tmp_path / "copy" / file).read_bytes() == (tmp_path / "log" / file).read_bytes()
    (tmp_path / "log/tile/entries/001").unlink()
    with pytest.raises(BadFolder, match="001 is missing"):
        copy_log(tmp_path / "log", tmp_path / "again")
    assert not (tmp_path / "again" / "checkpoint").exists()


async def test_a_backup_says_what_is_wrong(database, tmp_path):
    async with serving(database, tmp_path) as known:
        (tmp_path / "full").mkdir()
        (tmp_path / "full" / "mine").touch()
        with pytest.raises(BackupFailed, match="holds something"):
            await back_up(address_of(database), known.folder, tmp_path / "full")
        with pytest.raises(DatabaseFault, match="does not exist"):
            await back_up(
                address_of(database.replace("kashi_test_", "no_")), known.folder, tmp_path / "out"
            )
        with pytest.raises(PostgresError, match="no pg_dump of PostgreSQL 99 was found"):
            find_program("pg_dump", 99)
    (tmp_path / "backup").mkdir()
    (tmp_path / "backup" / "database.dump").write_text("no dump")
    await ask(database, "DROP SCHEMA meter, ledger CASCADE")
    with pytest.raises(BackupFailed, match="pg_restore: "):
        await restore(address_of(database), tmp_path / "backup")


def test_no_password_stands_among_the_words_of_a_program():
    address, environment = _address("postgresql://kashi:p%40ss:w@db.example:5433/kashi?a=b")
    assert address == "postgresql://kashi@db.example:5433/kashi?a=b"
    assert environment["PGPASSWORD"] == "p@ss:w"
    for plain in ("postgresql://kashi@/postgres?host=/run/x", "postgresql:///kashi"):
        assert _address(plain) == (plain, dict(os.environ))


# The embedded database, as operators use it


def process(*words: object) -> subprocess.CompletedProcess:
    return subprocess.run(**of_process(*words), capture_output=True, timeout=60, check=False)


def of_process(*words: object) -> dict[str, Any]:
    kept = {name: value for name, value in os.environ.items() if name != DATABASE_VARIABLE}
    program = [sys.executable, "-c", "from meter.cli.main import main; main()", *map(str, words)]
    repository = str(Path(__file__).parents[2])
    return {"args": program, "text": True, "env": kept | {"PYTHONPATH": repository}}


class Serving:
    """`kashi serve` as a process of its own, killed at the end of the body."""

    def __init__(self, data: Path) -> None:
        words = ("serve", "--data", data, "--port", 0, "--log-level", "error")
        self.data = data
        self.process = subprocess.Popen(
            **of_process(*words), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        self.url = self.process.stdout.readline().rpartition(" ")[2].strip()
        assert self.url.startswith("http")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate()

    def register(self, name: str) -> int:
        """Register an enterprise; returns the number of its entry."""
        body = enterprise_body(name)
        body["kind"] = body.pop("applicant")
        token = (self.data / "authority.token").read_text().strip()
        headers = {"Authorization": f"Bearer {token}", "Idempotency-Key": name}
        request = Request(f"{self.url}/v1/enterprises", json.dumps(body).encode(), headers)
        with urlopen(request, timeout=30) as answer:
            return json.loads(answer.read())["entry"]

    def until_published(self, size: int) -> None:
        deadline = time.monotonic() + 20
        while True:
            with urlopen(f"{self.url}/log/checkpoint", timeout=30) as answer:
                if claimed_checkpoint(answer.read()).size == size:
                    return
            assert time.monotonic() < deadline
            time.sleep(0.02)


def test_an_operator_drills_it_with_the_commands_of_the_documentation():
    with memory_folder() as home:
        data, backup = home / "data", home / "backup"
        made = process("init", "--data", data, "--origin", "kashi.test/drill", "--one-person")
        assert made.returncode == 0, made.stderr
        with Serving(data) as serving:
            assert serving.register(ALPHA) == 1
            made = process("backup", "--data", data, backup)
            assert made.returncode == 0, made.stderr
            assert serving.register(BETA) == 2
            serving.until_published(3)
        (data / "postgres").rename(home / "broken")
        made = process("recover", "--data", data, "--from", backup)
        assert made.returncode == 0, made.stderr
        assert made.stdout.startswith("1 recovered: 3 entries")
        with Serving(data) as serving:
            assert (serving.register(ALPHA), serving.register(BETA)) == (1, 2)
            assert serving.register(uscc_of(3)) == 3
            serving.until_published(4)
        checked = process("verify", data / "log", "--vkey", data / "log.vkey")
        assert checked.returncode == 0, checked.stdout
