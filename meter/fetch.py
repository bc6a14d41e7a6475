"""Fetch a published log into a folder, to be verified there.

Whatever serves the files of an export (a web server, an object store) will do. Nothing that comes
is trusted: the checkpoint's signature is checked before its size decides what else to fetch, and
the folder is then verified like any other.
"""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Final

import aiohttp

from ledger.errors import CannotCheck
from ledger.note import Verifier, open_checkpoint
from ledger.tiles import CHECKPOINT, Tile, level_tiles, tiles_of

MAX_AT_ONCE: Final = 8
TIMEOUT_SECONDS: Final = 60

Progress = Callable[[int, int], None]


async def fetch(
    url: str, verifier: Verifier, folder: Path, token: str | None, progress: Progress
) -> None:
    """Fetch all files of the log at `url`; `progress` hears files done and total.

    Raises `CannotCheck` where a file cannot be had, `BadNote` for a bad checkpoint.
    """
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    timeout = aiohttp.ClientTimeout(total=TIMEOUT_SECONDS)
    base = url.rstrip("/")
    async with aiohttp.ClientSession(headers=headers, timeout=timeout) as session:
        data = await _get(session, f"{base}/{CHECKPOINT}")
        if data is None:
            raise CannotCheck(f"there is no checkpoint at {base}")
        (folder / CHECKPOINT).write_bytes(data)
        checkpoint = open_checkpoint(data, verifier)
        tiles = [*tiles_of(checkpoint.size), *level_tiles("batches", checkpoint.size)]
        places = asyncio.Semaphore(MAX_AT_ONCE)
        done = 0

        async def fetch_tile(tile: Tile) -> None:
            nonlocal done
            async with places:
                await _fetch_tile(session, base, tile, folder)
            done += 1
            progress(done, len(tiles))

        await asyncio.gather(*map(fetch_tile, tiles))


async def _fetch_tile(session: aiohttp.ClientSession, base: str, tile: Tile, folder: Path) -> None:
    data = await _get(session, f"{base}/{tile.path}")
    if data is None:
        return  # a tile without batches has no such file; any other is missed by `verify`
    path = folder / tile.path
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


async def _get(session: aiohttp.ClientSession, url: str) -> bytes | None:
    try:
        async with session.get(url) as response:
            if response.status == 404:
                return None
            response.raise_for_status()
            return await response.read()
    except (aiohttp.ClientError, TimeoutError) as error:
        raise CannotCheck(f"{url}: {error or type(error).__name__}") from None
