"""GET: the proof of an entry, or of a batch with its receipt, by the published checkpoint.

The proof of an entry holds only hashes of public tiles, so it is for anyone. A stored receipt also
holds the batch and entries, and is for the batch's provider. Few are made at a time, for publishing
needs the same threads.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

from aiohttp import hdrs, web

from ledger import store as ledger_store
from ledger.errors import MissingFile
from ledger.folder import FolderReader
from ledger.note import claimed_checkpoint
from ledger.proof import Proof
from ledger.tlog import TiledTree
from meter.api.get import entry_number
from meter.api.routes import Ask, Route
from meter.host.metrics import Metrics
from meter.host.tokens import Identity
from meter.host.turns import NOBODY, Share
from meter.rules.state import State
from meter.tables import connections, pages
from meter.values.problems import Problem
from meter.values.roles import OFFICIALS
from meter.wire import stored_receipt
from meter.wire.dsse import BATCH_TYPE, parse, parse_signature_header
from meter.wire.stored_receipt import StoredReceipt

_HEADERS: Final = {
    hdrs.CONTENT_TYPE: "text/plain; charset=utf-8",
    hdrs.CACHE_CONTROL: "no-cache",  # the next one is by another checkpoint
}


PROOFS_AT_ONCE: Final = 2
MAX_WAITING: Final = 64  # proofs; each waits for some milliseconds
# Of the time, for proofs that anybody asks for. Whoever needs more makes them from the tiles.
PUBLIC_SHARE: Final = 0.25
PUBLIC_CREDIT_SECONDS: Final = 5.0

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Published:
    """A published checkpoint, and the tree of its size."""

    note: bytes
    tree: TiledTree


class Proving:
    """The proofs that are being made, each in a thread. Owns the account of the public ones."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._places = asyncio.Semaphore(PROOFS_AT_ONCE)
        self._waiting = 0
        self._public = Share(PUBLIC_SHARE, PUBLIC_CREDIT_SECONDS)

    async def make(self, who: Identity | None, prove: Callable[[], T]) -> T:
        """Return what `prove` makes, or raise its `Problem`; `busy` where too many are made."""
        if self._waiting >= MAX_WAITING or (who is None and self._public.is_used_up(NOBODY)):
            raise Problem("busy", "too many proofs are asked for")
        self._waiting += 1
        try:
            await self._places.acquire()
        finally:
            self._waiting -= 1
        # A thread goes on where its client has gone, so its place is taken until its end.
        making = asyncio.ensure_future(asyncio.to_thread(_timed, prove))
        making.add_done_callback(partial(self._end, who))
        made, _ = await asyncio.shield(making)
        if isinstance(made, Problem):
            raise made
        return made

    def _end(self, who: Identity | None, making: "asyncio.Future[tuple[object, float]]") -> None:
        """Free the place, and charge a public proof."""
        self._places.release()
        if making.cancelled() or making.exception() is not None or who is not None:
            return
        _, seconds = making.result()
        self._public.charge(NOBODY, seconds)
        self._metrics.anonymous_seconds.labels("proof").inc(seconds)


PROVING: Final = web.AppKey("proving", Proving)


def _timed(prove: Callable[[], T]) -> tuple[T | Problem, float]:
    """Return what was made, or the problem, and the time that this thread took."""
    began = time.thread_time()
    try:
        made = prove()
    except Problem as problem:
        return problem, time.thread_time() - began
    return made, time.thread_time() - began


async def get_entry_proof(ask: Ask) -> web.Response:
    """The proof of an entry by the newest published checkpoint (C2SP tlog-proof)."""
    number = entry_number(ask.path("entry"))
    if number >= ask.context.registry.now.size:
        await ask.context.catch_up()
    committed = ask.context.registry.now.size
    prove = partial(_prove_entry, ask.context.log_folder, number, committed)
    proof = await ask.request.app[PROVING].make(ask.who, prove)
    return web.Response(body=proof, headers=_HEADERS)


def _prove_entry(folder: Path, number: int, committed: int) -> bytes:
    published = _open_published(folder, number, committed)
    hashes = published.tree.inclusion_proof(number, published.tree.size)
    return Proof(number, tuple(hashes), published.note).format()


async def get_stored_receipt(ask: Ask) -> StoredReceipt:
    """A batch, its receipt, and the proof of both by the newest published checkpoint."""
    async with ask.reading() as connection:
        stored, numbers = await _load_stored(ask, connection)
        entries = await ledger_store.entries_at(connection, numbers)
    # The checkpoint may be newer than the rows that were read: the entries are the same.
    committed = ask.context.registry.now.size
    prove = partial(_prove_receipt, ask.context.log_folder, stored, entries, committed)
    return await ask.request.app[PROVING].make(ask.who, prove)


async def _load_stored(
    ask: Ask, connection: connections.Connection
) -> tuple[StoredReceipt, list[int]]:
    """Return a batch with its receipt, and the numbers of the entries that belong to them."""
    digest = ask.path("digest")
    found = await pages.receipt(connection, digest)
    if found is None:
        raise Problem("not_found", f"no batch {digest}")
    ask.must_be_theirs(provider=found.provider)
    sent = await pages.envelope(connection, digest)
    assert sent is not None, "they are committed together"
    stored = stored_receipt.store(sent[1], found.receipt, found.signature)
    _, known = await ask.context.snapshot(connection)
    keys = _key_entries(known.state, sent[1], found.signature)
    return stored, [found.entry, *keys]


def _key_entries(state: State, envelope: bytes, signature: str) -> list[int]:
    """Return the numbers of the entries that name the keys of batch and receipt."""
    signers = [keyid for keyid, _ in parse_signature_header(signature)]
    receipt_keys = [state.receipt_keys[keyid].entry for keyid in signers]
    return [*receipt_keys, state.keys[parse(envelope, BATCH_TYPE).keyid].entry]


def _prove_receipt(
    folder: Path, stored: StoredReceipt, entries: dict[int, bytes], committed: int
) -> StoredReceipt:
    published = _open_published(folder, max(entries), committed)
    return stored_receipt.with_proof(stored, published.note, published.tree, entries)


def _open_published(folder: Path, last: int, committed: int) -> _Published:
    """Return what is published, if it covers an entry. Raises `not_published` or `not_found`."""
    reader = FolderReader(folder)
    try:
        note = reader.checkpoint()
        size = claimed_checkpoint(note).size
    except MissingFile:
        note, size = b"", 0
    if last >= committed:
        raise Problem("not_found", f"no entry {last}")
    if last >= size:
        raise Problem("not_published", f"entry {last} is not published yet")
    return _Published(note, reader.tree(size))


ROUTES: Final = [
    Route(
        "GET",
        "/v1/entries/{entry}/proof",
        get_entry_proof,
        "The proof that an entry is in the published log (`.tlog-proof`)",
        "text/plain",
        codes=("not_published", "busy"),
    ),
    Route(
        "GET",
        "/v1/batches/{digest}/proof",
        get_stored_receipt,
        "A batch and its receipt, with the proof to verify them offline",
        StoredReceipt,
        roles=(*OFFICIALS, "provider"),
        is_large=True,
        codes=("not_published",),
    ),
]
