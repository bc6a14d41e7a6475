"""Segments of the ledger with the files that are published beside them."""

from collections.abc import AsyncIterator

from ledger import store as ledger_store
from ledger.bundle import Segment
from meter.rules.snapshot import files_of
from meter.tables.connections import Connection
from meter.tables.write import _SQL


async def attachments(
    connection: Connection, first: int, stop: int
) -> AsyncIterator[tuple[int, list[bytes]]]:
    """Yield envelope, receipt and signature of the batch entries of `[first, stop)`, in order."""
    async for row in connection.cursor(_SQL["batches"], first, stop, prefetch=64):
        signature = row["signature"].encode("ascii")
        yield row["entry"], [row["envelope"], row["receipt"], signature]


async def _snapshots(
    connection: Connection, first: int, stop: int
) -> AsyncIterator[tuple[int, list[bytes]]]:
    """Yield the snapshot beside each digest of the state in `[first, stop)`, in order."""
    async for entry, snapshot in connection.cursor(
        _SQL["state_snapshots"], first, stop, prefetch=1
    ):
        yield entry, files_of(snapshot)


async def _files(
    connection: Connection, first: int, stop: int
) -> AsyncIterator[tuple[int, list[bytes]]]:
    """Yield all files beside the entries of `[first, stop)`, in order."""
    snapshots = _snapshots(connection, first, stop)
    following = await anext(snapshots, None)
    async for entry, files in attachments(connection, first, stop):
        while following is not None and following[0] < entry:
            yield following
            following = await anext(snapshots, None)
        yield entry, files
    while following is not None:
        yield following
        following = await anext(snapshots, None)


async def with_attachments(connection: Connection, first: int, stop: int) -> AsyncIterator[Segment]:
    """Yield the segments of `[first, stop)`, both ends of segments, with the files beside them."""
    attached = _files(connection, first, stop)
    following = await anext(attached, None)
    async for start, count, bundle in ledger_store.bundles(connection, first, stop):
        beside = []
        while following is not None and following[0] < start + count:
            beside.append((following[0] - start, following[1]))
            following = await anext(attached, None)
        yield Segment(count, bundle, beside)
