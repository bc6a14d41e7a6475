"""Make the read models anew from entry 0, in one transaction that shuts every writer out.

For when a projection was damaged or its form changed. Entries and evidence are only read: the
entries must give the stored root, and every effect is computed by the rules again (`evolve`).
"""

from collections.abc import Callable
from typing import Final

from ledger import canon
from ledger import store as ledger_store
from ledger.book import Book
from ledger.log import Log
from ledger.store import Head
from ledger.tlog import Frontier
from meter import store
from meter.entries import FLOORED_CLASSES, RecordReleased, RecordVoided, from_fields
from meter.evolve import evolve
from meter.state import State, Touched
from meter.store import Written, note_past, note_rows

CHUNK_RECORDS: Final = 10_000  # rows are written this often, so that memory stays bounded

Progress = Callable[[int, int], None]


async def rebuild(dsn: str, progress: Progress | None = None) -> Head:
    """Rebuild; `progress` hears entries done and total. Raises `Inconsistent` or `Diverged`."""
    connection = await store.connect(dsn)
    try:
        async with connection.transaction():
            head = await ledger_store.take_over(connection)
            await ledger_store.check_root(connection, head)
            await store.clear_projections(connection)
            log = Log(Frontier(), Book(FLOORED_CLASSES), 0)
            await _replay(connection, head, log, progress)
            await ledger_store.replace_balances(connection, log.book.balances)
        return head
    finally:
        await connection.close()


async def _replay(
    connection: store.Connection, head: Head, log: Log, progress: Progress | None
) -> None:
    state, written, waiting = State(), Written(), Touched()
    async for first, held in ledger_store.segments(connection, 0, head.size):
        for number, data in enumerate(held, first):
            entry = from_fields(canon.decode(data))
            log.append(data, entry.at, entry.postings)
            if isinstance(entry, RecordVoided | RecordReleased):
                await _load_record(connection, state, entry)
            evolve(state, entry)
            note_rows(written, state, number, entry, data)
            if progress is not None:
                progress(number + 1, head.size)
        touched = state.take_touched()
        note_past(written, state, touched)
        waiting.update(touched)
        if len(written.records) >= CHUNK_RECORDS or state.size == head.size:
            log.take_group()  # only the frontier and the balances are needed on
            await store.write(connection, state, waiting, written)
            state.records.clear()
            written, waiting = Written(), Touched()


async def _load_record(
    connection: store.Connection, state: State, entry: RecordVoided | RecordReleased
) -> None:
    """Bring back the record that an entry names, where its chunk is written and forgotten."""
    if (entry.provider, entry.id) not in state.records:
        await store.load_records(connection, state, [(entry.provider, entry.id)])
