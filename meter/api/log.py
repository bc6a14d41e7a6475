"""The published log under /log/: the files of the folder, as any web server could serve them.

The checkpoint and the hashes are public. Entry bundles and what lies beside entries hold
contracts and prices, and are for officials' tokens. A tile never changes, so it may be cached for
ever; the checkpoint changes several times a second. A web server that serves the files itself asks
here whose token may read entries (`deploy/nginx.conf`).
"""

from pathlib import Path
from typing import Final

from aiohttp import hdrs, web

from ledger.errors import BadFolder
from ledger.tiles import CHECKPOINT, parse_tile_path
from meter.api.responses import Status
from meter.api.routes import Ask, Route
from meter.values.problems import Problem
from meter.values.roles import OFFICIALS

BINARY: Final = "application/octet-stream"
_FOR_EVER: Final = "max-age=31536000, immutable"


async def get_checkpoint(ask: Ask) -> web.Response:
    """The newest checkpoint that all published files belong to."""
    headers = {hdrs.CONTENT_TYPE: "text/plain; charset=utf-8", hdrs.CACHE_CONTROL: "no-cache"}
    file = ask.context.log_folder / CHECKPOINT
    if not file.exists():
        raise Problem("unavailable", "nothing is published yet")
    return web.Response(body=file.read_bytes(), headers=headers)


async def get_hash_tile(ask: Ask) -> web.StreamResponse:
    """Hashes of the tree, 256 in a full tile."""
    return _tile(ask, f"tile/{ask.path('level')}/{ask.path('tile')}", public=True)


async def get_entry_bundle(ask: Ask) -> web.StreamResponse:
    """The entries of a tile."""
    return _tile(ask, f"tile/entries/{ask.path('tile')}", public=False)


async def get_attachments(ask: Ask) -> web.StreamResponse:
    """Envelopes, receipts and signatures of a tile's batches, and snapshots of the state."""
    return _tile(ask, f"batches/{ask.path('tile')}", public=False)


async def get_allowed(_ask: Ask) -> Status:
    """An empty response for a token that may read entries; others are refused before."""
    return Status("allowed")


def _tile(ask: Ask, path: str, *, public: bool) -> web.StreamResponse:
    """Send a file that has the path of a tile, and no other."""
    try:
        tile = parse_tile_path(path)
    except BadFolder:
        tile = None
    if tile is None or public != isinstance(tile.level, int):
        raise Problem("not_found", "no tile has this path")
    file: Path = ask.context.log_folder / tile.path
    if not file.is_file():
        raise Problem("not_found", "no published tile has this path")
    kind = "public" if public else "private"
    headers = {hdrs.CONTENT_TYPE: BINARY, hdrs.CACHE_CONTROL: f"{kind}, {_FOR_EVER}"}
    return web.FileResponse(file, headers=headers)


ROUTES: Final = [
    Route("GET", "/log/checkpoint", get_checkpoint, "Signed size and root", "text/plain"),
    Route(
        "GET",
        "/log/tile/entries/{tile}",
        get_entry_bundle,
        "Entries of the published log, by tile",
        BINARY,
        roles=OFFICIALS,
        takes_rest=True,
    ),
    Route(
        "GET",
        "/log/tile/{level}/{tile}",
        get_hash_tile,
        "Hashes of the published log, by tile",
        BINARY,
        takes_rest=True,
    ),
    Route(
        "GET",
        "/log/batches/{tile}",
        get_attachments,
        "Envelopes and receipts of the published log, by tile",
        BINARY,
        roles=OFFICIALS,
        takes_rest=True,
    ),
    Route(
        "GET",
        "/log/allowed",
        get_allowed,
        "Whether the token may read entries: for a web server that serves the log's files",
        Status,
        roles=OFFICIALS,
    ),
]
