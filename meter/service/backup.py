"""Copy a ledger's database and its published log, and restore a database from such a copy.

    OUT/database.dump              pg_dump's, of the ledger's tables and nothing else
    OUT/log/                       the published log
    OUT/origin, OUT/log.vkey, …    whose it is, and whom it asks to witness it
    OUT/unfinished                 only until all of that is there: the same backup begins again

The log is copied after the database, so it lacks only what was about to be published, and often has
more; `service.recover` rolls a database forward from it. Private keys are in no backup: a holder of
one could sign another history.

PostgreSQL's own programs do the work, in the server's major version: the server may not understand
the dump of a newer one.
"""

import asyncio
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Final, TypeVar
from urllib.parse import unquote, urlsplit

from ledger import store as ledger_store
from ledger.errors import LedgerError, MissingFile
from ledger.files import DISK, make_private, open_private
from ledger.folder import FolderReader
from ledger.note import claimed_checkpoint
from ledger.progress import Progress
from ledger.tiles import CHECKPOINT, Tile, level_tiles, tiles_of
from ledger.tlog import TILE_WIDTH
from meter.host.data_folder import DataFolder
from meter.host.postgres import find_program
from meter.tables import connections
from meter.tables.sessions import Address

DUMP: Final = "database.dump"
UNFINISHED: Final = "unfinished"

T = TypeVar("T")


class BackupFailed(LedgerError):  # noqa: N818 - the name says what is wrong
    """A backup cannot be made, or not be used."""

    code = "backup_failed"


async def back_up(
    address: Address, folder: DataFolder, out: Path, progress: Progress | None = None
) -> int:
    """Copy database and log into a folder that is empty or not there; return the log's size.

    `progress` gets the log's files done and total. Raises `BackupFailed` or `BadFolder`.
    """
    connection = await connections.connect(address)
    major = connection.get_server_version().major
    await connection.close()
    _begin(out)
    options = ("--format=custom", "--schema=ledger", "--schema=meter", f"--file={out / DUMP}")
    role = f"--role={address.roles.service}"
    open_private(out / DUMP).close()  # pg_dump writes into it as it is
    await _run(find_program("pg_dump", major), address.dsn, role, *options)
    for file in _public_files(folder.path):
        _copy(file, out / file.name)
    copy = partial(copy_log, folder.log, out / "log")
    size = await in_a_thread(copy, progress)
    DISK.remove(out / UNFINISHED)
    DISK.sync_folder(out)
    return size


def _begin(out: Path) -> None:
    """Make the folder, or empty it of a backup that did not come to its end.

    A dump holds contracts and prices: nobody else may enter.
    """
    make_private(out)
    if (out / UNFINISHED).exists():
        shutil.rmtree(out / "log", ignore_errors=True)
        for file in (out / DUMP, *_public_files(out)):
            file.unlink(missing_ok=True)
    if {file.name for file in out.iterdir()} - {UNFINISHED}:
        raise BackupFailed(f"{out} holds something already")
    DISK.append(out / UNFINISHED, [])
    DISK.sync_folder(out)


async def in_a_thread(copy: Callable[[Progress], T], progress: Progress | None = None) -> T:
    """Copy in a thread, which ends with us also where we are cancelled."""
    cancelled = threading.Event()

    def advance(done: int, total: int) -> None:
        if cancelled.is_set():
            raise BackupFailed("interrupted")
        if progress is not None:
            progress(done, total)

    try:
        return await asyncio.to_thread(copy, advance)
    except asyncio.CancelledError:
        cancelled.set()
        raise


def take_log(backup: Path, folder: DataFolder, progress: Progress | None = None) -> None:
    """Copy what a data folder lacks from a backup, except the database. Raises `BackupFailed`."""
    if (backup / UNFINISHED).exists():
        raise BackupFailed(f"{backup} did not come to its end: take another, or make it again")
    for file in _public_files(backup):
        if not (folder.path / file.name).exists():
            _copy(file, folder.path / file.name)
    kept, there = _published(backup / "log"), _published(folder.log)
    if there is None:
        copy_log(backup / "log", folder.log, progress)
    elif kept is not None and there < kept:
        raise BackupFailed(
            f"{folder.log} has {there} entries, and the backup {kept}: move the former away"
        )


async def restore(address: Address, backup: Path) -> None:
    """Restore the database of a backup into one without a ledger. Raises `BackupFailed`."""
    connection = await connections.connect(address, owner=True)
    try:
        if await ledger_store.exists(connection):
            raise BackupFailed(
                "the database holds a ledger: restore into an empty one, or run it without --from"
            )
        await ledger_store.check_server(connection)
        await ledger_store.make_roles(connection, address.roles)
        major = connection.get_server_version().major
    finally:
        await connection.close()
    options = (f"--role={address.roles.owner}", "--single-transaction", "--exit-on-error")
    await _run(find_program("pg_restore", major), address.dsn, *options, str(backup / DUMP))


def copy_log(source: Path, out: Path, progress: Progress | None = None) -> int:
    """Copy a published log while it grows, its checkpoint last; return its size.

    Partial tiles go once the full one is published. Raises `BadFolder` where files are missing.
    """
    reader, size = FolderReader(source), -1
    while True:
        _remove_edges(out, size)
        note = reader.checkpoint()
        size = claimed_checkpoint(note).size
        missing = _copy_tiles(source, out, size, progress)
        # Tiles that a checkpoint replaces go only when it is there.
        if claimed_checkpoint(reader.checkpoint()).size // TILE_WIDTH == size // TILE_WIDTH:
            break
    if missing:
        raise MissingFile(f"{source / missing[0].path} is missing")
    os.sync()
    DISK.append(out / CHECKPOINT, [note])
    DISK.sync_folder(out)
    return size


def _copy_tiles(source: Path, out: Path, size: int, progress: Progress | None) -> list[Tile]:
    """Copy the tiles that are not there yet; return those that a log of this size lacks."""
    missing, tiles = [], list(_tiles(size))
    for done, tile in enumerate(tiles, 1):
        target = out / tile.path
        if not target.exists():
            make_private(target.parent)
            try:
                _copy(source / tile.path, target)
            except FileNotFoundError:
                missing += [tile] if tile.level != "batches" else []
        if progress is not None:
            progress(done, len(tiles))
    return missing


def _copy(source: Path, target: Path) -> None:
    """Copy a file whole or not at all: where there is one, nobody copies it again."""
    draft = target.with_name(f"{target.name}.new")
    with source.open("rb") as file, open_private(draft) as copy:
        shutil.copyfileobj(file, copy)
    draft.replace(target)


def _remove_edges(out: Path, size: int) -> None:
    for tile in _tiles(max(size, 0)):
        if not tile.is_full:
            shutil.rmtree((out / tile.path).parent, ignore_errors=True)


def _tiles(size: int) -> Iterator[Tile]:
    return chain(tiles_of(size), level_tiles("batches", size))


def _published(log: Path) -> int | None:
    with suppress(MissingFile):
        return claimed_checkpoint(FolderReader(log).checkpoint()).size
    return None


def _public_files(folder: Path) -> list[Path]:
    patterns = ("origin", "log*.vkey", "witnesses.policy")
    return [file for pattern in patterns for file in folder.glob(pattern)]


async def _run(program: Path, dsn: str, *options: str) -> None:
    """Run one of PostgreSQL's programs on a database. Raises `BackupFailed`."""
    address, environment = _address(dsn)
    process = await asyncio.create_subprocess_exec(
        program,
        f"--dbname={address}",
        *options,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
        env=environment,
    )
    try:
        _, errors = await process.communicate()
    except asyncio.CancelledError:
        process.terminate()
        await process.wait()
        raise
    if process.returncode != 0:
        raise BackupFailed(" ".join(errors.decode(errors="replace").split()))


def _address(dsn: str) -> tuple[str, dict[str, str]]:
    """Return address and environment, the password in the latter: all can read arguments."""
    parts = urlsplit(dsn)
    if parts.password is None:
        return dsn, dict(os.environ)
    user, _, host = parts.netloc.rpartition("@")
    without = parts._replace(netloc=f"{user.partition(':')[0]}@{host}").geturl()
    return without, os.environ | {"PGPASSWORD": unquote(parts.password)}
