"""The folder that a service publishes under /log/, whole at every moment."""

import asyncio
import shutil
import threading

import pytest
from click.testing import CliRunner

from ledger.errors import BadFolder, LedgerError
from ledger.note import Verifier, open_checkpoint
from ledger.publish import Ahead, OtherRoot
from ledger.tiles import level_tiles, tiles_of
from ledger.verify import verify
from meter.auditor.replay import Audit
from meter.cli.main import main
from meter.host.data_folder import DATABASE_VARIABLE
from meter.host.tokens import Identity
from meter.publish.log_folder import LogMissing, run_to_end
from meter.service.admin import add_token, publish_again_in
from tests.books import ALPHA, record
from tests.services import HOUR, ask, full_disk, publishing_here, serving, stored


def verdict(service) -> int:
    """Verify the folder by every rule; returns the number of its entries."""
    verifier = Verifier.parse(service.folder.log_vkey.read_text().strip())
    report = verify(service.folder.log, verifier, Audit())
    assert report.findings == []
    return report.size


async def test_what_is_committed_is_published_and_verifies(database, tmp_path):
    async with serving(database, tmp_path) as service:
        await service.open_books()
        assert await service.published() == verdict(service)
        for seq in range(1, 40):
            records = [record(f"r{seq}:{n}", "A", *HOUR, 1_000) for n in range(9)]
            assert (await service.usage(records, seq=seq)).status == 200
        assert await service.published() == verdict(service) == len(await stored(database)) > 256
        metrics = (await service.get("/metrics")).body.decode()
        assert f"kashi_published_entries {float(verdict(service))}" in metrics
    async with serving(database, tmp_path) as service:
        assert await service.published() == verdict(service)


async def test_the_files_are_served_as_what_they_are_and_to_whom_they_are_for(database, tmp_path):
    async with serving(database, tmp_path) as service:
        await service.open_books()
        await service.usage([record("r", "A", *HOUR, 1_000)])
        size = await service.published()
        authority = service.http.headers.pop("Authorization")
        note = await service.get("/log/checkpoint")
        assert note.headers["Content-Type"] == "text/plain; charset=utf-8"
        assert note.headers["Cache-Control"] == "no-cache"
        for tile in [*tiles_of(size), *level_tiles("batches", size)]:
            public = isinstance(tile.level, int)
            answer = await service.get(f"/log/{tile.path}")
            assert answer.status == (200 if public else 401), tile
            answer = await service.get(f"/log/{tile.path}", Authorization=authority)
            assert answer.body == (service.folder.log / tile.path).read_bytes()
            assert answer.headers["Content-Type"] == "application/octet-stream"
            whose = "public" if public else "private"
            assert answer.headers["Cache-Control"] == f"{whose}, max-age=31536000, immutable"
        service.http.headers["Authorization"] = authority
        for path in (
            *("tile/0/000", "tile/0/001.p/1", f"tile/0/000.p/{size + 1}", "tile/9/000.p/1"),
            *("tile/entries/000", "batches/000", "tile/0/%2e%2e/checkpoint", "tile/entries/.."),
            *("tile/0/000.p/007", "batches/x000/000", "checkpoint.tmp", "tile/0/000.tmp"),
        ):
            answer = await service.get(f"/log/{path}")
            assert (answer.status, answer.code) == (404, "not_found"), path


async def test_an_auditor_verifies_the_running_service_by_its_url(database, tmp_path, monkeypatch):
    async with serving(database, tmp_path) as service:
        await service.open_books()
        await service.usage([record("r", "A", *HOUR, 1_000)])
        await service.published()
        token = service.folder.token_of("authority").read_text().strip()
        words = ["verify", f"{service.url}/log", "--vkey", str(service.folder.log_vkey)]
        result = await asyncio.to_thread(CliRunner().invoke, main, [*words, "--token", token])
        assert result.exit_code == 0, result.output
        monkeypatch.setenv(DATABASE_VARIABLE, service.dsn)
        other = await add_token(service.folder, Identity("firm", "enterprise", ALPHA))
        for refused in ([], ["--token", other]):
            result = await asyncio.to_thread(CliRunner().invoke, main, [*words, *refused])
            assert (result.exit_code, "add --token" in result.stderr) == (2, True)


async def test_an_auditor_who_names_the_service_is_led_to_its_log(database, tmp_path):
    async with serving(database, tmp_path) as service:
        words = ["verify", service.url, "--vkey", str(service.folder.log_vkey)]
        result = await asyncio.to_thread(CliRunner().invoke, main, words)
        assert (result.exit_code, "has its log at /log" in result.stderr) == (2, True)


async def test_without_a_folder_nothing_begins(database, tmp_path):
    async with serving(database, tmp_path) as service:
        assert verdict(service) == 1  # from the beginning there is one
    shutil.rmtree(service.folder.log)
    with pytest.raises(LogMissing, match="kashi recover"):
        async with serving(database, tmp_path):
            pass
    assert not service.folder.log.exists()


async def test_a_damaged_folder_ends_the_service_and_is_written_again_under_its_checkpoint(
    database, tmp_path, monkeypatch
):
    async with serving(database, tmp_path) as service:
        await service.open_books()
        size = await service.published()
    (service.folder.log / f"tile/0/000.p/{size}").unlink()
    async with serving(database, tmp_path) as service:
        with pytest.raises(BadFolder):
            await asyncio.wait_for(service.running.ended, 10)
    damaged = service.folder.log.rename(tmp_path / "damaged")
    monkeypatch.setenv(DATABASE_VARIABLE, database)
    await publish_again_in(service.folder, (damaged / "checkpoint").read_bytes())
    async with serving(database, tmp_path) as service:
        assert await service.published() == verdict(service) == size


@pytest.mark.parametrize("kind", [Ahead, OtherRoot])
async def test_a_folder_that_the_database_does_not_lead_to_is_refused(database, tmp_path, kind):
    async with serving(database, tmp_path) as service:
        await service.open_books()
        await service.published()
    if kind is Ahead:
        change = "size = size - 1"
    else:
        change = "epoch = epoch"
        await ask(database, "ALTER TABLE ledger.segment DISABLE TRIGGER append_only")
        await ask(database, "UPDATE ledger.segment SET root = sha256('x')")
    await ask(database, "ALTER TABLE ledger.head DISABLE TRIGGER only_forward")
    await ask(database, f"UPDATE ledger.head SET {change}")
    note = (service.folder.log / "checkpoint").read_bytes()
    with pytest.raises(LedgerError) as refusal:
        async with serving(database, tmp_path):
            pass
    assert isinstance(refusal.value, kind)
    assert (service.folder.log / "checkpoint").read_bytes() == note


async def test_a_checkpoint_that_others_signed_is_refused(database, tmp_path):
    async with serving(database, tmp_path) as service:
        await service.open_books()
        await service.published()
    checkpoint = service.folder.log / "checkpoint"
    verifier = Verifier.parse(service.folder.log_vkey.read_text().strip())
    size = open_checkpoint(checkpoint.read_bytes(), verifier).size
    changed = checkpoint.read_bytes().replace(b"\n%d\n" % size, b"\n%d\n" % (size - 1))
    checkpoint.write_bytes(changed)
    with pytest.raises(LedgerError, match="does not fit the text"):
        async with serving(database, tmp_path):
            pass


async def test_a_publish_that_is_cancelled_is_waited_for():
    began, may_end, written = threading.Event(), threading.Event(), []

    def write():
        began.set()
        may_end.wait(10)
        written.append("whole")

    publishing = asyncio.create_task(run_to_end(write))
    await asyncio.to_thread(began.wait, 10)
    publishing.cancel()
    await asyncio.sleep(0.05)
    assert not publishing.done()
    may_end.set()
    with pytest.raises(asyncio.CancelledError):
        await publishing
    assert written == ["whole"]


async def test_a_disk_that_fails_holds_up_publishing_and_nothing_else(
    database, tmp_path, monkeypatch
):
    publishing_here(monkeypatch)
    monkeypatch.setattr("meter.publish.folder.RETRY_SECONDS", 0.05)
    async with serving(database, tmp_path) as service:
        await service.open_books()
        await service.published()
        with full_disk(monkeypatch):
            assert (await service.usage([record("r", "A", *HOUR, 1_000)])).status == 200
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.3):
                    await service.running.published.beyond(service.intake.watermark.size - 1)
            assert (await service.usage([record("s", "A", *HOUR, 1_000)], seq=2)).status == 200
        await service.published()
        assert verdict(service) == service.intake.watermark.size
