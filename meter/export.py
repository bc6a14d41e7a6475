"""Write a ledger out as a folder that anyone can verify offline (layout: `ledger.tiles`).

Beside each batch's entry lie its envelope, its receipt and the receipt's signature header. The
export is one snapshot of the database, and its root is computed again before it is signed.
"""

from collections.abc import AsyncIterator, Callable
from pathlib import Path

from ledger import store as ledger_store
from ledger.folder import FolderWriter
from ledger.note import Checkpoint, Signer, sign
from ledger.store import Head, Inconsistent
from ledger.tlog import Frontier, leaf_hash
from meter import store

Progress = Callable[[int, int], None]


async def export(dsn: str, signer: Signer, out: Path, progress: Progress | None = None) -> Head:
    """Export into a folder that is empty or not there; `progress` hears entries done and total.

    Raises `Inconsistent` where the stored entries do not give the stored root.
    """
    connection = await store.connect(dsn)
    try:
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            return await _export(connection, signer, FolderWriter(out), progress)
    finally:
        await connection.close()


async def _export(
    connection: store.Connection, signer: Signer, writer: FolderWriter, progress: Progress | None
) -> Head:
    head = await ledger_store.head(connection)
    frontier = Frontier()
    async for number, data, files in _with_attachments(connection, head.size):
        frontier.append(leaf_hash(data))
        writer.add(data, files)
        if progress is not None:
            progress(number + 1, head.size)
    if (frontier.size, frontier.root()) != (head.size, head.root):
        raise Inconsistent(f"the stored entries do not give the root of size {head.size}")
    writer.finish(sign(Checkpoint(signer.name, head.size, head.root).format(), signer))
    return head


async def _with_attachments(
    connection: store.Connection, size: int
) -> AsyncIterator[tuple[int, bytes, list[bytes]]]:
    """Join entries and attachments, both in order of their numbers."""
    attached = store.attachments(connection, 0, size)
    following = await anext(attached, None)
    async for number, data in ledger_store.entries(connection, 0, size):
        if following is not None and following[0] == number:
            yield number, data, following[1]
            following = await anext(attached, None)
        else:
            yield number, data, []
