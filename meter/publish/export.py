"""Write a ledger out as a folder that anyone can verify offline (layout: `ledger.tiles`).

Beside each batch's entry lie its envelope, its receipt and the receipt's signature header. The
export is one snapshot of the database, and its root is computed again before it is signed.
"""

from pathlib import Path

from ledger import store as ledger_store
from ledger.folder import FolderWriter
from ledger.progress import Progress
from ledger.store import Head, Inconsistent
from meter.host.keys import Keys
from meter.tables import connections, load, segments
from meter.tables.sessions import Address


async def export(address: Address, keys: Keys, out: Path, progress: Progress | None = None) -> Head:
    """Export into a folder that is empty or not there; `progress` gets entries done and total.

    Raises `Inconsistent` where the stored entries do not give the stored root, and `Problem`
    `key_not_here` where a key that must sign is missing.
    """
    connection = await connections.connect(address)
    try:
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            return await _export(connection, keys, FolderWriter(out), progress)
    finally:
        await connection.close()


async def _export(
    connection: connections.Connection, keys: Keys, writer: FolderWriter, progress: Progress | None
) -> Head:
    head = await ledger_store.head(connection)
    async for segment in segments.with_attachments(connection, 0, head.size):
        writer.extend(segment)
        if progress is not None:
            progress(writer.size, head.size)
    if (writer.size, writer.root()) != (head.size, head.root):
        raise Inconsistent(f"the stored entries do not give the root of size {head.size}")
    state = await load.load_service_keys(connection)
    writer.finish(keys.checkpoint(state, head.size, head.root))
    return head
