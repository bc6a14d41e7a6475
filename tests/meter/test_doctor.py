"""`kashi doctor` finds what would end a service, on real servers, and little else."""

import ast
import asyncio
import os
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest

from meter.host.clock import SYSTEM_CLOCK
from meter.host.data_folder import DATABASE_VARIABLE
from meter.service import doctor
from meter.service.doctor import Finding, certificate_until, disk, examine, published_log
from meter.tables import health
from meter.witness.witness import initialise, trust
from tests.books import record
from tests.commands import good, kashi
from tests.meter.test_client_tls import Authority, guarded
from tests.meter.test_failover import Pair, pair
from tests.meter.test_witnessed import Witness
from tests.services import HOUR, ask, moved, serving, until
from tests.test_readme import free_port

__all__ = ["pair"]  # a fixture

PAGE = (Path(__file__).parents[2] / "docs/operations.md").read_text(encoding="utf-8")
GIB = 1 << 30
SAFE = health.Settings("18.6", True, 100, True, "1", "1")


async def looked(service, database: str, **settings) -> dict[str, Finding]:
    """Return what doctor finds beside a running service, by code; what is well is left out."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv(DATABASE_VARIABLE, database)
        found = [each async for each in examine(service.folder, moved(service.clock), **settings)]
    assert all(each.remedy for each in found if not each.is_good)
    return {each.code: each for each in found if not each.is_good}


def waiting(*codes: str) -> dict[str, bool]:
    return dict.fromkeys(codes, True)


def by_code(found: dict[str, Finding]) -> dict[str, bool]:
    return {code: each.can_wait for code, each in found.items()}


def codes(findings: Iterator[Finding]) -> list[str]:
    return [each.code for each in findings if not each.is_good]


ALONE = ("no_standby", "no_witnesses", "backups_unnamed")


async def test_a_new_service_has_no_copies_yet_and_nothing_is_wrong(database, tmp_path):
    async with serving(database, tmp_path) as service:
        await service.open_books()
        assert by_code(await looked(service, database)) == waiting(*ALONE)
        told = await looked(
            service, database, urls=[service.url, f"http://127.0.0.1:{free_port()}"]
        )
        assert by_code(told) == waiting(*ALONE) | {"unreachable": False}


async def test_all_is_well_with_a_standby_a_witness_and_a_backup(pair: Pair, tmp_path):
    witness = Witness(tmp_path / "w", free_port())
    initialise(witness.folder, "university.test/w")
    await ask(pair.primary.dsn, "ALTER SYSTEM SET synchronous_standby_names = '*'")
    async with serving(pair.address, tmp_path, clock=SYSTEM_CLOCK) as service:
        await service.published()
        vkey = service.folder.log_vkey.read_text().strip()
        assert "not_synchronous" in await looked(service, pair.address)
        await ask(pair.primary.dsn, "SELECT pg_reload_conf()")

        async def is_synchronous() -> bool:
            return "not_synchronous" not in await looked(service, pair.address)

        await until(is_synchronous)
    trust(witness.folder, vkey)
    policy = f"log {vkey}\nwitness w {witness.verifier.format()} {witness.url}\nquorum w\n"
    service.folder.witnesses_policy.write_text(policy)
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv(DATABASE_VARIABLE, pair.address)
        words = ("doctor", "--data", service.folder.path, "--backups", tmp_path / "backups")
        async with witness.serving(), serving(pair.address, tmp_path, clock=SYSTEM_CLOCK) as again:
            await again.activate()
            await again.published()
            none = await asyncio.to_thread(kashi, *words)
            assert (none.exit_code, none.stdout.count("WRONG  no_backup: ")) == (1, 1)
            backup = ("backup", "--data", service.folder.path, tmp_path / "backups/1")
            (tmp_path / "backups").mkdir()
            good(await asyncio.to_thread(kashi, *backup))
            well = good(await asyncio.to_thread(kashi, *words, "--url", again.url))
            assert re.findall("(?m)^(?!good   )", well.rstrip()) == []
            assert "of 1 witnesses 1 have cosigned what is shown" in well
            slot = "SELECT pg_create_physical_replication_slot('old')"
            await ask(pair.primary.dsn, slot)
            both = await asyncio.to_thread(kashi, *words[:-2])
            said = re.findall(r"(?m)^(look |WRONG)  (\w+):", both.stdout)
            assert said == [("WRONG", "slot_idle"), ("look ", "backups_unnamed")]
            assert both.exit_code == 1
            # A login of its own sees that there are standbys, and not how they are.
            await ask(pair.primary.dsn, "CREATE ROLE plain")
            plain = await asyncpg.connect(pair.primary.dsn)
            await plain.execute("SET ROLE plain")
            found = await health.replication(plain)
            await plain.close()
            assert len(found.standbys) == 1
            assert codes(doctor.replication(found)) == ["slot_idle", "standbys_unseen"]


async def test_a_witness_that_does_not_cosign_is_named(database, tmp_path):
    away, here = (Witness(tmp_path / name, free_port()) for name in ("w0", "w1"))
    async with serving(database, tmp_path) as service:
        await service.published()
        vkey = service.folder.log_vkey.read_text().strip()
    lines = [f"log {vkey}"]
    for number, each in enumerate((away, here)):
        initialise(each.folder, f"w{number}.test/w")
        lines.append(f"witness w{number} {each.verifier.format()} {each.url}")
    trust(here.folder, vkey)
    for quorum, grave in (("any", {}), ("all", {"no_quorum": False})):
        policy = "\n".join([*lines, f"group g {quorum} w0 w1", "quorum g"])
        service.folder.witnesses_policy.write_text(policy + "\n")
        async with here.serving(), serving(database, tmp_path) as again:
            await again.activate()
            if quorum == "any":
                await again.published()
            told = by_code(await looked(again, database))
        expected = waiting("no_standby", "backups_unnamed", "not_cosigned")
        told.pop("log_behind", None)  # what lacks its quorum is held back
        assert told == expected | grave | {"unreachable": False}


async def test_a_clock_and_keys_that_stop_a_start_are_found_before(database, tmp_path):
    async with serving(database, tmp_path) as service:
        late = SYSTEM_CLOCK
        with pytest.MonkeyPatch.context() as environment:
            environment.setenv(DATABASE_VARIABLE, database)
            found = [each.code async for each in examine(service.folder, late)]
            assert "wrong_clock" in found
        service.folder.receipt_key.rename(tmp_path / "receipt.key")
        assert by_code(await looked(service, database))["wrong_keys"] is False
        (service.folder.path / "sign-in.toml").write_text("site = 1")
        assert by_code(await looked(service, database))["bad_sign_in"] is False
        (service.folder.path / "sign-in.toml").unlink()
        (service.folder.path / "alerts.toml").write_text("mail = 1")
        assert by_code(await looked(service, database))["bad_alerts"] is False
        (service.folder.path / "alerts.toml").unlink()
        gone = re.sub(r"/kashi_test_\w+", "/nowhere", database)
        assert by_code(await looked(service, gone)) == waiting("backups_unnamed") | {
            "no_database": False
        }


async def test_a_published_log_that_is_not_in_step_is_found(database, tmp_path):
    async with serving(database, tmp_path) as service:
        await service.published()
        checkpoint = service.folder.log / "checkpoint"
        shutil.copy(checkpoint, tmp_path / "old")
        await service.open_books()
        await service.usage([record("r1", "A", *HOUR, 1)])
        await service.published()
    shutil.copy(tmp_path / "old", checkpoint)
    doctor_before = doctor.PUBLISHING_SECONDS
    with pytest.MonkeyPatch.context() as quick:
        quick.setattr(doctor, "PUBLISHING_SECONDS", doctor_before / 30)
        assert by_code(await looked(service, database)) == waiting(*ALONE, "log_behind")
    checkpoint.unlink()
    assert by_code(await looked(service, database))["missing_file"] is False
    assert published_log(7, 7, 7).is_good
    assert published_log(9, 7, 9).is_good
    assert (published_log(9, 7, 8).code, published_log(6, 7, 8).code) == ("ahead", "log_behind")


async def test_a_certificate_is_looked_at_as_a_visitor_would(tmp_path, monkeypatch):
    own, other = Authority(tmp_path, "own"), Authority(tmp_path, "other")
    async with guarded(own.issue("server"), None) as url:
        monkeypatch.setenv("SSL_CERT_FILE", str(own.file))
        found = await doctor._reached(url)
        assert (found.code, found.can_wait) == ("certificate_ends", True)
        monkeypatch.setenv("SSL_CERT_FILE", str(other.file))
        found = await doctor._reached(url)
        assert (found.code, found.can_wait) == ("bad_certificate", False)
    assert (await doctor._reached(url)).code == "unreachable"
    assert certificate_until("https://a", 14 * 86_400, 0).is_good
    assert certificate_until("https://a", 14 * 86_400, 1).code == "certificate_ends"


def test_a_backup_counts_once_it_is_whole_and_not_older_than_a_day(tmp_path):
    def told(folder: Path) -> str:
        return doctor._newest_backup(folder, now).code

    now = time.time()
    assert told(tmp_path / "nowhere") == told(tmp_path) == "no_backup"
    backup = tmp_path / "2026-01-10"
    (backup / "log").mkdir(parents=True)
    (backup / "database.dump").write_bytes(b"")
    assert told(tmp_path) == "no_backup"
    (backup / "log/checkpoint").write_bytes(b"")
    (backup / "unfinished").write_bytes(b"")
    assert told(tmp_path) == "no_backup"
    (backup / "unfinished").unlink()
    assert told(tmp_path) == told(backup) == ""
    made = now - 26 * 3_600
    os.utime(backup / "database.dump", (made, made))
    assert told(tmp_path) == ""
    os.utime(backup / "database.dump", (made - 1, made - 1))
    assert told(tmp_path) == "backup_old"
    shutil.copytree(backup, tmp_path / "2026-01-11")
    os.utime(tmp_path / "2026-01-11/database.dump", (now, now))
    assert told(tmp_path) == ""


def test_a_disk_that_fills_and_a_server_that_is_set_so_are_found():
    place = Path("/srv")
    assert disk(place, 10 * GIB, GIB).is_good
    assert (disk(place, 10 * GIB, GIB - 1).code, disk(place, 11 * GIB, GIB).code) == (
        *("disk_full", "disk_low"),
    )
    assert codes(doctor.settings(SAFE)) == []
    worst = health.Settings("18.6", False, 11, False, "1", "2")
    assert codes(doctor.settings(worst)) == [
        *("read_only", "few_connections", "no_checksums", "collation_changed"),
    ]
    behind = health.Standby("b", "async", (64 << 20) + 1)
    near = health.Standby("a", "sync", 64 << 20)
    assert codes(doctor.replication(health.Replication([near], [], True))) == []
    assert codes(doctor.replication(health.Replication([near, behind], [], True))) == [
        "standby_behind"
    ]
    assert codes(doctor.replication(health.Replication([behind], ["x"], True))) == [
        *("slot_idle", "not_synchronous", "standby_behind"),
    ]


def test_the_embedded_database_needs_no_standby(tmp_path, monkeypatch):
    monkeypatch.delenv(DATABASE_VARIABLE, raising=False)
    data = tmp_path / "data"
    good(kashi("init", "--data", data, "--origin", "kashi.test/doctor", "--one-person"))
    looked_at = kashi("doctor", "--data", data)
    assert (looked_at.exit_code, re.findall(r"(?:look |WRONG)  (\w+):", looked_at.stdout)) == (
        *(3, ["no_witnesses", "backups_unnamed"]),
    )


def test_the_page_names_each_code_and_whether_it_can_wait():
    source = ast.parse(Path(doctor.__file__).read_text(encoding="utf-8"))
    real = {
        call.args[1].value: any(each.arg == "can_wait" for each in call.keywords)
        for call in ast.walk(source)
        if isinstance(call, ast.Call)
        and getattr(call.func, "id", "") == "Finding"
        and len(call.args) > 1
        and isinstance(call.args[1], ast.Constant)
    }
    (table,) = re.findall(r"(?s)\| doctor says \| exit code \|.*?\n\n", PAGE)
    listed = {
        code: status == "3"
        for names, status in re.findall(r"(?m)^\| (`.*`) \| ([13]) \|", table)
        for code in re.findall(r"`(\w+)`", names)
    }
    assert listed == real


def test_a_folder_without_a_ledger_ends_with_its_code(tmp_path):
    told = kashi("doctor", "--data", tmp_path)
    assert (told.exit_code, told.stderr.startswith("kashi: no_ledger: ")) == (1, True)
