"""Fetch a published log into a folder, to be verified there.

A web server or an object store with the files of an export will do. Nothing fetched is trusted: the
checkpoint's signature is checked before its size decides what else to fetch, each file has a size
limit by its place, and the folder is then verified like any other.

A file gets its name only when it is whole, and is not fetched again, so an interrupted fetch goes
on where it stopped. A growing log drops a partial tile once the full one is there; the part is then
cut from the full one.
"""

import asyncio
import contextlib
import tempfile
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Final

import aiohttp

from ledger import bundle
from ledger.canon import MAX_ENTRY_BYTES
from ledger.errors import BadNote, CannotCheck, LedgerError, NoCheckpoint
from ledger.files import make_private, open_private
from ledger.folder import DRAFT
from ledger.note import MAX_NOTE_BYTES, Verifier, open_checkpoint, split_note
from ledger.progress import Done, Progress
from ledger.tiles import CHECKPOINT, Level, Tile, height_of, level_tiles, tiles_of
from ledger.tlog import HASH_BYTES, TILE_HEIGHT, TILE_WIDTH
from meter.client import open_session, plain_chunks
from meter.values.foreign_text import one_line
from meter.wire.batch import MAX_BATCH_BYTES

MAX_AT_ONCE: Final = 8
CHECKPOINT_SECONDS: Final = 20.0  # for a checkpoint, from the request to its last byte
TIMEOUT_SECONDS: Final = 600.0  # for any other file
STALL_SECONDS: Final = 30.0  # without a byte of it

_REFUSED: Final = (401, 403)  # there is no token, or one that may not read entries
_CHUNK_BYTES: Final = 1024 * 1024


async def fetch(
    url: str, verifier: Verifier, folder: Path, token: str | None, progress: Progress
) -> None:
    """Fetch all files of the log at `url`; `progress` gets files done and total.

    Raises `CannotCheck` where a file cannot be fetched, `BadNote` for a bad checkpoint.
    """
    _remove_drafts(folder)
    async with open_source(url, token) as source:
        note = await source.checkpoint()
        _check_note(note, url)  # or what answers would take the place of what is kept
        with open_private(folder / CHECKPOINT) as file:
            file.write(note)
        size = open_checkpoint(note, verifier).size
        total = sum(
            _count(level, size) for level in ("entries", "batches", *range(height_of(size)))
        )
        tiles = chain(tiles_of(size), level_tiles("batches", size))
        await source.fetch(tiles, folder, lambda done: progress(done, total))


@dataclass(frozen=True, slots=True)
class Limits:
    """How long an answer may take, whole and without a byte of it."""

    checkpoint_seconds: float = CHECKPOINT_SECONDS
    file_seconds: float = TIMEOUT_SECONDS
    stall_seconds: float = STALL_SECONDS

    def of(self, whole_seconds: float) -> aiohttp.ClientTimeout:
        return aiohttp.ClientTimeout(total=whole_seconds, sock_read=self.stall_seconds)


LIMITS: Final = Limits()


class BadCache(CannotCheck):
    """A file that was kept, and is not what the log serves."""

    code = "bad_cache"


async def check_kept(url: str, folder: Path, tiles: list[Tile], token: str | None) -> None:
    """Fetch tiles anew, and raise `BadCache` at the first that a folder holds otherwise."""
    with tempfile.TemporaryDirectory(prefix="kashi-verify-") as name:
        again = Path(name)
        async with open_source(url, token) as source:
            await source.fetch(tiles, again, lambda _: None)
        for tile in tiles:
            served, kept = again / tile.path, folder / tile.path
            if served.exists() and served.read_bytes() != kept.read_bytes():
                detail = f"{kept} is not what {url} serves: remove it, and verify again"
                raise BadCache(detail)


def _check_note(note: bytes, url: str) -> None:
    try:
        split_note(note)
    except BadNote as error:
        raise NoCheckpoint(f"what {url} answers with is none: {error.detail}") from None


class Source:
    """A published log; all methods raise `CannotCheck`."""

    def __init__(self, session: aiohttp.ClientSession, url: str, limits: Limits) -> None:
        self._session = session
        self._base = url.rstrip("/")
        self._limits = limits

    async def checkpoint(self) -> bytes:
        """Fetch the note; its signatures are not checked."""
        data = bytearray()
        async for chunk in self._chunks(
            CHECKPOINT, MAX_NOTE_BYTES, self._limits.checkpoint_seconds
        ):
            data += chunk
        if not data:
            raise CannotCheck(
                f"there is no checkpoint at {self._base}: a service has its log at /log"
            )
        return bytes(data)

    async def fetch(self, tiles: Iterable[Tile], folder: Path, progress: Done) -> None:
        """Fetch the tiles that the folder lacks; `progress` gets how many are there.

        Ends at the first required tile that the log lacks: the verification reports it, and a log
        may sign any size without ever making the tiles.
        """
        waiting, done, is_whole = iter(tiles), 0, True

        async def work() -> None:
            nonlocal done, is_whole
            for tile in waiting:
                if not await self._has(tile, folder / tile.path):
                    is_whole = False
                if not is_whole:
                    return
                done += 1
                progress(done)

        workers = [asyncio.create_task(work()) for _ in range(MAX_AT_ONCE)]
        try:
            await asyncio.gather(*workers)
        finally:
            for worker in workers:
                worker.cancel()

    async def _has(self, tile: Tile, path: Path) -> bool:
        """Return whether the tile is there, or is one of batches, which may have no file."""
        return _exists(path) or await self._fetch_tile(tile, path) or tile.level == "batches"

    async def _fetch_tile(self, tile: Tile, path: Path) -> bool:
        draft = path.with_name(path.name + DRAFT)
        make_private(path.parent)
        if await self._download(tile, draft):
            draft.rename(path)
            return True
        full = replace(tile, width=TILE_WIDTH)
        return not tile.is_full and await self._download(full, draft) and _cut(draft, tile, path)

    async def _download(self, tile: Tile, draft: Path) -> bool:
        """Return whether the log has the file; a missing one leaves no draft."""
        with open_private(draft) as file:
            limit_seconds = self._limits.file_seconds
            async for chunk in self._chunks(tile.path, _limit_bytes(tile), limit_seconds):
                file.write(chunk)
            found = file.tell() > 0
        if not found:
            _remove(draft)
        return found

    async def _chunks(
        self, path: str, limit_bytes: int, limit_seconds: float
    ) -> AsyncIterator[bytes]:
        """Yield a file's bytes, none where it is missing, and stop past the limit."""
        url, read_bytes = f"{self._base}/{path}", 0
        try:
            async with self._session.get(url, timeout=self._limits.of(limit_seconds)) as response:
                if response.status == 404:
                    return
                if response.status in _REFUSED:
                    raise CannotCheck(
                        f"{url} wants a token of an auditor or of the authority: add --token"
                    )
                response.raise_for_status()
                if response.content_type == "text/html":
                    raise CannotCheck(f"{url} is a web page: does this network ask for a sign-in?")
                async for chunk in plain_chunks(response, _CHUNK_BYTES):
                    yield chunk
                    read_bytes += len(chunk)
                    if read_bytes > limit_bytes:
                        return
        except aiohttp.ServerTimeoutError:
            told = f"nothing came for {self._limits.stall_seconds:g} s"
            raise CannotCheck(f"{url}: {told}") from None
        except TimeoutError:
            raise CannotCheck(f"{url}: not all came within {limit_seconds:g} s") from None
        except aiohttp.ClientError as error:
            raise CannotCheck(f"{url}: {one_line(f'{error}') or type(error).__name__}") from None


@asynccontextmanager
async def open_source(
    url: str, token: str | None, limits: Limits = LIMITS
) -> AsyncIterator[Source]:
    """Open connections to the log at `url`, whose entries may need a token."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    async with open_session(headers, limits.file_seconds) as session:
        yield Source(session, url, limits)


def _remove_drafts(folder: Path) -> None:
    for draft in folder.rglob(f"*{DRAFT}"):
        _remove(draft)


def _remove(path: Path) -> None:
    path.unlink()


def _exists(path: Path) -> bool:
    return path.exists()


def _count(level: Level, size: int) -> int:
    places = size >> TILE_HEIGHT * level if isinstance(level, int) else size
    return -(-places // TILE_WIDTH)


def _cut(full: Path, tile: Tile, path: Path) -> bool:
    """Cut a partial tile from a full one, which is removed; return whether that worked."""
    data, part = full.read_bytes(), b""
    full.unlink()
    with contextlib.suppress(LedgerError):
        part = _first_part(data, tile)
    if part:
        full.write_bytes(part)
        full.rename(path)
    return part != b""


def _first_part(data: bytes, tile: Tile) -> bytes:
    match tile.level:
        case "batches":
            found = bundle.decode_attachments(data)
            return bundle.encode_attachments({i: found[i] for i in found if i < tile.width})
        case "entries":
            return bundle.encode_bundle(bundle.decode_bundle(data, TILE_WIDTH)[: tile.width])
        case _:
            return data[: tile.width * HASH_BYTES]


def _limit_bytes(tile: Tile) -> int:
    """Return the largest size of a tile; no receipt is larger than the largest envelope."""
    match tile.level:
        case "batches":
            return tile.width * 2 * MAX_BATCH_BYTES
        case "entries":
            return tile.width * (2 + MAX_ENTRY_BYTES)
        case _:
            return tile.width * HASH_BYTES
