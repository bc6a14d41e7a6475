"""Backups are whole while the service works, and operators restore them by the documentation."""

import asyncio
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Self
from urllib.request import Request, urlopen

import pytest

from ledger.errors import BadFolder
from ledger.folder import FolderReader, FolderWriter
from ledger.note import Checkpoint, Signer, Verifier, claimed_checkpoint, sign
from ledger.tiles import tiles_of
from ledger.verify import verify
from meter.auditor.replay import Audit
from meter.host.data_folder import DATABASE_VARIABLE, DataFolder
from meter.host.postgres import PostgresError, find_program
from meter.service.backup import BackupFailed, _address, back_up, copy_log, restore
from meter.tables.faults import DatabaseFault
from tests.books import ALPHA, BETA, record, uscc_of
from tests.conftest import memory_folder
from tests.recovering import run
from tests.services import (
    HOUR,
    ORIGIN,
    Service,
    address_of,
    ask,
    check_sums,
    enterprise_body,
    serving,
    stored,
)

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
