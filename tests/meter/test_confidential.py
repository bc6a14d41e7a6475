"""Confidential files are their owner's alone, whatever the umask and whatever was there before."""

import asyncio
import contextlib
import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from ledger.errors import BadFolder
from ledger.files import DISK, close_to_others, files_of, make_private, open_private, set_rights
from ledger.folder import FolderWriter
from ledger.verify import verify
from meter import client
from meter.agent.push import Reporter
from meter.auditor import receipts
from meter.auditor.fetch import fetch, open_source
from meter.auditor.monitor import Limits, Monitor, Trust
from meter.auditor.replay import Audit
from meter.cli.main import main
from meter.host.data_folder import DATABASE_VARIABLE, DataFolder
from meter.witness import witness
from tests.books import record, signer
from tests.services import HOUR, ORIGIN, Service, receipt_key, serving
from tests.sites import published

PROGRAM = [sys.executable, "-c", "from meter.cli.main import main; main()"]
# In a data folder, which nobody else can enter.
PUBLIC = ("*.vkey", "origin", "witnesses.policy")


@pytest.fixture(params=[0o000, 0o022, 0o027], ids=oct)
def umask(request) -> Iterator[None]:
    before = os.umask(request.param)
    yield
    os.umask(before)


def rights(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def open_to_others(root: Path) -> list[str]:
    """What below a folder, and the folder itself, somebody else has rights to."""
    assert root.exists()
    return [
        f"{path.relative_to(root)} {rights(path):o}"
        for path in (root, *root.rglob("*"))
        if rights(path) & 0o077 and not any(map(path.match, PUBLIC))
    ]


def wide(folder: Path) -> Path:
    """An empty folder that all may read and write."""
    folder.mkdir()
    folder.chmod(0o777)
    return folder


async def kashi(dsn: str, *words: object) -> Result:
    """Run a command beside a service."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv(DATABASE_VARIABLE, dsn)
        result = await asyncio.to_thread(CliRunner().invoke, main, [*map(str, words)])
    assert result.exit_code == 0, result.output
    return result


async def used(service: Service) -> None:
    await service.open_books()
    for seq in range(1, 4):
        records = [record(f"r{seq}.{number}", "A", *HOUR, 1_000) for number in range(100)]
        assert (await service.usage(records, seq=seq)).status == 200
    await service.published()


# What each program leaves behind


@pytest.mark.usefixtures("umask")
async def test_the_data_folder_and_the_published_log_are_the_owners_alone(database, tmp_path):
    async with serving(database, tmp_path) as service:
        await used(service)
        await kashi(database, "key", "new", "--data", service.folder.path, "log")
        await kashi(database, "key", "new", "--data", service.folder.path, "receipt")
        assert (service.folder.log / "tile/entries/000").exists()
        assert open_to_others(service.folder.path) == []


@pytest.mark.usefixtures("umask")
async def test_exports_and_backups_are_the_owners_alone_also_in_folders_that_were_open(
    database, tmp_path, caplog
):
    async with serving(database, tmp_path) as service:
        await used(service)
        data = ("--data", service.folder.path)
        for command in ("export", "backup"):
            for out in (tmp_path / command / "below", wide(tmp_path / f"wide-{command}")):
                was_open = out.exists()
                await kashi(database, command, *data, out)
                assert open_to_others(out) == []
                told = f"{out} was open to others, and is closed now" in caplog.messages
                assert told == was_open
            assert open_to_others(tmp_path / command) == []


@pytest.mark.usefixtures("umask")
async def test_what_was_left_open_is_closed_at_the_next_start_and_told(database, tmp_path, caplog):
    async with serving(database, tmp_path) as service:
        await used(service)
    data = service.folder
    for path in (data.path, *data.path.rglob("*")):
        path.chmod(0o777 if path.is_dir() else 0o666)
    async with serving(database, tmp_path):
        assert open_to_others(data.path) == []
    told = [each.getMessage() for each in caplog.records if each.name == "ledger.files"]
    for path in (data.path, data.log_key, data.receipt_key, data.token_of("authority"), data.log):
        assert f"{path} was open to others, and is closed now" in told


@pytest.mark.usefixtures("umask")
async def test_a_recovered_folder_is_the_owners_alone(database, spare, tmp_path):
    async with serving(database, tmp_path) as service:
        await used(service)
        await kashi(database, "backup", "--data", service.folder.path, tmp_path / "backup")
    new = wide(tmp_path / "new")
    for key in service.folder.path.glob("*.key"):
        (new / key.name).write_bytes(key.read_bytes())
    await kashi(spare, "recover", "--data", new, "--from", tmp_path / "backup")
    assert open_to_others(new) == []


@pytest.mark.usefixtures("umask")
async def test_an_auditors_copies_are_the_owners_alone(tmp_path):
    with published(tmp_path / "www") as site:
        site.post(150)
        site.publish()
        verifier = site.writer.signer.verifier
        cache, data = wide(tmp_path / "cache"), wide(tmp_path / "monitor")
        make_private(cache)
        await fetch(site.url, verifier, cache, None, lambda _done, _total: None)
        assert verify(cache, verifier, Audit()).ok
        assert open_to_others(cache) == []
        monitor = Monitor(data, Trust(verifier), Limits(3600, 3600), lambda _line: None)
        with contextlib.closing(monitor):
            async with open_source(site.url, None) as source:
                for _ in range(2):
                    await monitor.poll(source)
                    site.post()
                    site.publish()
        assert (data / "log/tile/entries/000").exists()
        assert open_to_others(data) == []


@pytest.mark.usefixtures("umask")
def test_a_command_says_that_it_has_closed_a_folder(tmp_path):
    with published(tmp_path / "www") as site:
        cache = wide(tmp_path / "cache")
        vkey = site.writer.signer.verifier.format()
        words = ["verify", site.url, "--vkey", vkey, "--cache", cache]
        words += ["--state", tmp_path / "state"]
        for told in (f"{cache} was open to others, and is closed now\n", ""):
            ended = subprocess.run([*PROGRAM, *map(str, words)], capture_output=True, text=True)
            assert (ended.returncode, ended.stderr) == (0, told)
        assert open_to_others(cache) == []
        assert rights(tmp_path / "state") == 0o600


@pytest.mark.usefixtures("umask")
async def test_a_providers_files_are_the_owners_alone(database, tmp_path):
    async with serving(database, tmp_path) as service:
        await service.open_books()
        key = tmp_path / "pcl.key"
        client.keygen(key, ORIGIN, "pcl", "pcl-1")
        assert rights(key) == 0o600
        stream = client.Stream(ORIGIN, None, "pcl", "main", "pcl-1", signer("pcl-1"))
        outbox = wide(tmp_path / "outbox")
        public = client.public_text(receipt_key_of(service))
        async with Reporter(service.url, stream, public, outbox) as reporter:
            good = record("a", "A", *HOUR, 1_000)
            report = await reporter.report([good, good | {"id": "b", "device": "abacus"}])
            assert [each.code for each in report.not_taken] == ["unknown_device"]
        assert {path.name for path in outbox.iterdir()} > {"refused.jsonl", "1.batch.json"}
        assert open_to_others(outbox) == []
        envelope = service.envelope(seq=9)
        answer = await client.post(service.url, envelope)
        receipts.keep(tmp_path / "kept.json", envelope, answer)
        assert rights(tmp_path / "kept.json") == 0o600


def receipt_key_of(service: Service):
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    key = Ed25519PrivateKey.from_private_bytes(
        client.dsse.decode_base64(service.folder.receipt_key.read_text().strip())
    )
    assert key.public_key().public_bytes_raw() == receipt_key(service)
    return key


def test_a_key_that_was_left_open_is_closed_when_it_is_read(tmp_path, caplog):
    key = tmp_path / "pcl.key"
    client.keygen(key, ORIGIN, "pcl", "pcl-1")
    key.chmod(0o644)
    client.load_key(key)
    assert rights(key) == 0o600
    assert f"{key} was open to others, and is closed now" in caplog.messages


@pytest.mark.usefixtures("umask")
def test_a_witnesss_folder_is_its_owners_alone(tmp_path):
    witness.initialise(wide(tmp_path / "witness"), "kashi.test/witness")
    assert open_to_others(tmp_path / "witness") == []


# A web server that may read the log


@pytest.mark.usefixtures("umask")
async def test_a_log_is_opened_to_the_group_only_where_that_is_asked_for(database, tmp_path):
    async with serving(database, tmp_path) as service:
        await used(service)
    data = DataFolder(service.folder.path, group_reads_log=True)
    for share in (True, True, False):
        with pytest.MonkeyPatch.context() as environment:
            environment.setenv(DATABASE_VARIABLE, database)
            DataFolder(data.path, share).close_to_others(is_in_use=False)
            async with serving(database, tmp_path, group_reads_log=share) as running:
                await running.usage([], seq=len(await running.entries()))
                await running.published()
                await kashi(database, "token", "list", "--data", data.path)
        folder, file = (0o750, 0o640) if share else (0o700, 0o600)
        for path in (data.log, *data.log.rglob("*")):
            assert rights(path) == (folder if path.is_dir() else file), path
        assert rights(data.path) == (0o710 if share else 0o700)
        assert {rights(path) for path in data.path.glob("*.key")} == {0o600}


# The operations


@pytest.mark.usefixtures("umask")
def test_what_is_made_is_private_whatever_the_umask(tmp_path):
    make_private(tmp_path / "a/b/c")
    assert open_to_others(tmp_path / "a") == []
    with open_private(tmp_path / "a/file") as file:
        file.write(b"x")
    DISK.append(tmp_path / "a/other", [b"x"])
    DISK.make_folder(tmp_path / "a/folder")
    assert open_to_others(tmp_path / "a") == []
    FolderWriter(tmp_path / "x/y").add(b"entry")
    assert open_to_others(tmp_path / "x") == []


@pytest.mark.parametrize("append", [False, True])
def test_a_file_that_was_open_is_closed_before_anything_is_written(tmp_path, append):
    path = tmp_path / "file"
    path.write_bytes(b"old")
    path.chmod(0o666)
    with open_private(path, append=append) as file:
        assert rights(path) == 0o600
        file.write(b"new")
    assert path.read_bytes() == (b"oldnew" if append else b"new")
    with pytest.raises(FileExistsError):
        open_private(path, new=True)


@pytest.mark.parametrize("mode", [0o755, 0o750, 0o777, 0o701, 0o770])
def test_a_folder_that_was_open_is_closed_and_that_is_told_once(tmp_path, caplog, mode):
    folder = tmp_path / "folder"
    folder.mkdir()
    folder.chmod(mode)
    for _ in range(2):
        make_private(folder)
        assert rights(folder) == 0o700
    assert caplog.messages == [f"{folder} was open to others, and is closed now"]


def test_what_is_closed_is_left_as_it_is(tmp_path, caplog):
    for mode in (0o700, 0o500):
        folder = tmp_path / oct(mode)
        folder.mkdir()
        folder.chmod(mode)
        assert close_to_others(folder) is False
        assert rights(folder) == mode
    assert caplog.messages == []


def test_an_open_folder_of_somebody_elses_is_refused(tmp_path, monkeypatch):
    folder = wide(tmp_path / "folder")

    def not_ours(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(Path, "chmod", not_ours)  # the kernel's answer to whoever is not the owner
    with pytest.raises(BadFolder, match="not ours to close"):
        make_private(folder)


def test_rights_are_set_on_all_that_a_folder_holds(tmp_path):
    FolderWriter(tmp_path / "log").add(b"entry")
    for share, folder, file in ((True, 0o750, 0o640), (False, 0o700, 0o600)):
        set_rights(tmp_path / "log", group_reads=share)
        for path in (tmp_path / "log", *(tmp_path / "log").rglob("*")):
            assert rights(path) == (folder if path.is_dir() else file)
        assert files_of(tmp_path / "log").file_mode == file
    assert files_of(tmp_path / "missing") is DISK
    (tmp_path / "log").chmod(0o755)  # the group could read it, but nobody asked for that
    assert files_of(tmp_path / "log") is DISK
    set_rights(tmp_path / "missing", group_reads=True)
    assert not (tmp_path / "missing").exists()
