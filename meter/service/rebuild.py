"""Make the read models anew from entry 0, in one transaction that excludes every writer.

For when a projection was damaged or its form changed. Entries and evidence are only read: the
entries must give the stored root, and every effect is computed by the rules again (`evolve`). What
was refused is read from the stored receipts.
"""

from typing import Final

from ledger import canon
from ledger import store as ledger_store
from ledger.book import Book
from ledger.log import Log
from ledger.progress import Progress
from ledger.store import Head
from ledger.tlog import Frontier
from meter.rules.entries import FLOORED_CLASSES, ContractAmended, RecordReleased, RecordVoided
from meter.rules.evolve import evolve
from meter.rules.kinds.table import read_entry
from meter.rules.state import State, Touched, add_streams
from meter.tables import connections, load, segments, write
from meter.tables.rows import Written, note_group, note_refused, note_rows
from meter.tables.sessions import Address
from meter.wire.batch import parse_batch
from meter.wire.dsse import BATCH_TYPE, parse
from meter.wire.receipt import parse_receipt

CHUNK_ENTRIES: Final = 10_000  # rows are written this often, so that memory stays bounded


async def rebuild(address: Address, progress: Progress | None = None) -> Head:
    """Rebuild; `progress` gets entries done and total. Raises `Inconsistent` or `Diverged`."""
    connection = await connections.connect(address)
    try:
        async with connection.transaction():
            head = await ledger_store.take_over(connection)
            await ledger_store.check_root(connection, head)
            await write.clear_projections(connection)
            log = Log(Frontier(), Book(FLOORED_CLASSES), 0)
            await _replay(connection, head, log, progress)
            await _read_receipts(connection, head)
            await ledger_store.replace_balances(connection, log.book.balances)
        return head
    finally:
        await connection.close()


async def _replay(
    connection: connections.Connection, head: Head, log: Log, progress: Progress | None
) -> None:
    done, state, written, waiting = 0, State(), Written(), Touched()
    async for first, held in ledger_store.segments(connection, 0, head.size):
        for number, data in enumerate(held, first):
            entry = read_entry(canon.decode(data))
            log.append(data, entry.at, entry.postings)
            if isinstance(entry, RecordVoided | RecordReleased):
                await _load_record(connection, state, entry)
            if isinstance(entry, ContractAmended):
                await _load_usage(connection, state, entry.contract, waiting)
            evolve(state, entry)
            note_rows(written, state, number, entry, data)
            if progress is not None:
                progress(number + 1, head.size)
        touched = state.take_touched()
        note_group(written, state, touched, first)
        waiting.update(touched)
        if state.size - done >= CHUNK_ENTRIES or state.size == head.size:
            log.take_group()  # only the frontier and the balances are needed on
            await write.write(connection, state, waiting, written)
            state.records.clear()
            state.usage_days.clear()
            done, written, waiting = state.size, Written(), Touched()


async def _read_receipts(connection: connections.Connection, head: Head) -> None:
    """Note what was refused: only the stored receipts and envelopes hold it."""
    written = Written()
    async for number, (envelope, receipt, _) in segments.attachments(connection, 0, head.size):
        answer = parse_receipt(receipt)
        batch = parse_batch(parse(envelope, BATCH_TYPE), envelope).batch
        note_refused(written, batch, number, [*answer.voids, *answer.results])
        if len(written.refused) >= CHUNK_ENTRIES:
            await write.write(connection, State(), Touched(), written)
            written = Written()
    await write.write(connection, State(), Touched(), written)


async def _load_usage(
    connection: connections.Connection, state: State, contract: str, waiting: Touched
) -> None:
    """Load a contract's usage by day: what is stored, and what waits to be."""
    await load.load_usage_days(connection, state, contract)
    add_streams(state.usage_days[contract], waiting.usage.get(contract, {}))


async def _load_record(
    connection: connections.Connection, state: State, entry: RecordVoided | RecordReleased
) -> None:
    """Load the record that an entry names, where an earlier chunk had it."""
    if (entry.provider, entry.id) not in state.records:
        await load.load_records(connection, state, [(entry.provider, entry.id)])
