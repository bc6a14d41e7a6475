"""Load the state from its rows: all that is registered, and the records that a group names."""

from array import array
from collections import defaultdict
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import NamedTuple

import asyncpg
from msgspec import UNSET

from ledger import canon
from ledger import store as ledger_store
from ledger.store import Head
from meter.host.breath import Breath
from meter.rules.capacity import Withheld
from meter.rules.commands import Asked, Propose
from meter.rules.contract_terms import eligible_usage
from meter.rules.entries import PurchaseAccepted, RecordReleased, UsageAccepted
from meter.rules.evolve import register
from meter.rules.kinds.table import BY_COMMAND, read_entry
from meter.rules.measure import added
from meter.rules.month_book import Month, Numbers
from meter.rules.people import People
from meter.rules.purchases import measured_purchase
from meter.rules.rating import entitle
from meter.rules.state import (
    AcceptedRecord,
    BatchId,
    DayOfStream,
    DeviceTimeId,
    RecordId,
    RequestId,
    Share,
    State,
    StoredBatch,
)
from meter.rules.two_persons import command_asked_for, proposed_command
from meter.tables.connections import Connection
from meter.tables.faults import told
from meter.tables.rows import QUARTERS, columns_of
from meter.tables.write import _SQL
from meter.values.problems import Problem
from meter.values.text import folded
from meter.values.units import day_of, parse_date
from meter.views.crossings import is_held_back
from meter.wire.batch import Batch
from meter.wire.receipt import EntryRange


class Answered(NamedTuple):
    """The answer to a command that carried an Idempotency-Key."""

    fingerprint: str
    entry: int
    answer: bytes


@dataclass(slots=True)
class Named:
    """What a group's submissions name, to be looked up before they are decided."""

    batches: set[BatchId] = field(default_factory=set)
    records: set[RecordId] = field(default_factory=set)
    requests: set[RequestId] = field(default_factory=set)
    amended: set[str] = field(default_factory=set)  # contracts whose terms change
    days: set[DayOfStream] = field(default_factory=set)  # that are summed up
    numbers: bool = False  # whether all streams' are needed

    def add_batch(self, batch: Batch) -> None:
        """Add what a signed batch names."""
        self.batches.add((batch.provider, batch.stream, batch.seq))
        self.records.update((batch.provider, item) for item in batch.item_ids)
        if batch.summary is not UNSET:
            day = day_of(parse_date(batch.summary.day))
            self.days.add((batch.provider, batch.stream, day))

    def add_command(self, state: State, asked: Asked, by: str, request: str | None) -> None:
        """Add what a command names, also one that is proposed, and its idempotency key."""
        if request is not None:
            self.requests.add((state.people.owner_of(by), request))
        with suppress(Problem):  # it will be refused
            command = command_asked_for(state, asked)
            if isinstance(command, Propose):  # it may be confirmed in the same group
                command = proposed_command(command)
            self.numbers |= BY_COMMAND[type(command)].names_numbers
            if BY_COMMAND[type(command)].names_record:
                self.records.add((command.provider, command.id))  # type: ignore[attr-defined]
            if BY_COMMAND[type(command)].changes_terms:
                self.amended.add(command.contract)  # type: ignore[attr-defined]


async def load_state(connection: Connection, head: Head, breath: Breath | None = None) -> State:
    """Load the state as of `head`, without records and batches (see `load_named`).

    With a breath, the process does other things meanwhile.
    """
    state = State(size=head.size, last_at=head.last_at)
    for number, data in await connection.fetch(_SQL["registrations"]):
        if breath is not None:
            await breath.take()
        register(state, number, read_entry(canon.decode(data)))
        state.add_registration(number, data)
    for proposal, closed in await connection.fetch(_SQL["closed_proposals"]):
        state.people.close(proposal, closed)
    for contract, used, *ineligible in await connection.fetch(_SQL["contract_totals"]):
        state.contracts[contract].used = int(used)
        state.contracts[contract].ineligible = list(map(int, ineligible))
    await _load_segments(connection, state)
    for contract, year, *numbers in await connection.fetch(_SQL["contract_years"]):
        if contract in state.contracts:  # an award's entries have its sums already
            state.contracts[contract].shares[year] = Share(*map(int, numbers))
    for enterprise, programme, year, issued, granted in await connection.fetch(_SQL["coupons"]):
        state.coupons[enterprise, programme, year] = issued
        state.granted[enterprise, programme, year] = int(granted)
    for programme, year, issued in await connection.fetch(_SQL["pools"]):
        state.pools[programme, year].issued = issued
    await _load_months(connection, state)
    for provider, id_, voided in await connection.fetch(
        _SQL["voided_records"], *columns_of(state.disputes, 2)
    ):
        state.disputes[provider, id_].ended = voided
    state.take_touched()
    state.noted = {name: (fen, state.granted[name]) for name, fen in state.coupons.items()}
    state.noted_pools = {name: pool.amount for name, pool in state.pools.items()}
    state.noted_withheld = {
        name for name, contract in state.contracts.items() if is_held_back(contract)
    }
    return state


async def _load_segments(connection: Connection, state: State) -> None:
    held = {
        (contract, year, policy): int(eligible)
        for contract, year, policy, eligible in await connection.fetch(_SQL["contract_segments"])
    }
    for name, contract in state.contracts.items():
        for segment in contract.segments:
            segment.eligible = held.get((name, segment.year, segment.policy), 0)
        contract.entitlement = entitle(eligible_usage(contract.segments), contract.terms)


async def load_service_keys(connection: Connection) -> State:
    """Load a state that knows entry 0 and the service's keys, and nothing else."""
    state = State()
    for number, data in await connection.fetch(_SQL["key_registrations"]):
        register(state, number, read_entry(canon.decode(data)))
    return state


async def load_people(connection: Connection) -> People:
    """Load who speaks for the authority."""
    state = State()
    for number, data in await connection.fetch(_SQL["people_registrations"]):
        register(state, number, read_entry(canon.decode(data)))
    return state.people


async def newest_state_digest(connection: Connection) -> int:
    """Return the number of the newest digest of the state, or 0. Raises `DatabaseFault`."""
    with told():
        number: int = await connection.fetchval(_SQL["newest_state_digest"])
    return number


async def load_named(
    connection: Connection, state: State, named: Named
) -> dict[RequestId, Answered]:
    """Load the known records and batches into the state; return the known requests."""
    await _load_batches(connection, state, named.batches)
    await _load_streams(connection, state, named.batches)
    await load_records(connection, state, named.records)
    for contract in named.amended:
        await load_usage_days(connection, state, contract)
    for day in named.days:
        await _load_stream_day(connection, state, day)
    if named.numbers:
        await _load_numbers(connection, state)
    if not named.requests:
        return {}
    rows = await connection.fetch(_SQL["known_requests"], *columns_of(named.requests, 2))
    return {(owner, key): Answered(*rest) for owner, key, *rest in rows}


async def _load_batches(connection: Connection, state: State, batches: Iterable[BatchId]) -> None:
    columns = columns_of(batches, 3)
    for provider, stream, seq, first, count, *rest in await connection.fetch(
        _SQL["known_batches"], *columns
    ):
        state.batches[provider, stream, seq] = StoredBatch(EntryRange(first, count), *rest)


async def _load_streams(connection: Connection, state: State, batches: Iterable[BatchId]) -> None:
    """Put the spelling of the named streams into the state, of those that it does not hold."""
    missing = {(provider, folded(stream)) for provider, stream, _ in batches} - state.streams.keys()
    if missing:
        rows = await connection.fetch(_SQL["known_streams"], *columns_of(missing, 2))
        state.streams.update({(provider, folded(stream)): stream for provider, stream in rows})


async def load_records(connection: Connection, state: State, records: Iterable[RecordId]) -> None:
    """Load those of some records that are known into the state, as they stand now."""
    ids: defaultdict[str, list[str]] = defaultdict(list)
    for provider, id_ in records:
        ids[provider].append(id_)
    for provider, named in ids.items():
        rows = await connection.fetch(_SQL["known_records"], provider, named)
        if rows:  # most batches have no known record
            await _load_records(connection, state, provider, rows)


async def _load_records(
    connection: Connection, state: State, provider: str, rows: list[asyncpg.Record]
) -> None:
    numbers = [row["entry"] for row in rows]
    numbers += [row["released"] for row in rows if row["released"] is not None]
    entries = await ledger_store.entries_at(connection, numbers)
    for row in rows:
        state.records[provider, row["id"]] = _record(row, entries)


def _record(row: asyncpg.Record, entries: dict[int, bytes]) -> AcceptedRecord:
    usage = read_entry(canon.decode(entries[row["entry"]]))
    if isinstance(usage, PurchaseAccepted):
        fits = measured_purchase(usage, by_days=usage.by_days).fits
        return AcceptedRecord(row["entry"], usage, fits, voided=row["voided"], stream=row["stream"])
    assert isinstance(usage, UsageAccepted), "meter.record points at accepted entries"
    fits = usage.fits
    if row["released"] is not None:
        release = read_entry(canon.decode(entries[row["released"]]))
        assert isinstance(release, RecordReleased), "meter.record points at release entries"
        fits = added([*fits, *release.withheld])
    columns = (row["quarters"], row["counts"], row["device_times"], row["limits"])
    withheld = [Withheld(*run) for run in zip(*columns, strict=True)]
    entry, voided, released = row["entry"], row["voided"], row["released"]
    return AcceptedRecord(entry, usage, fits, withheld, voided, released, row["stream"])


async def load_usage_days(connection: Connection, state: State, contract: str) -> None:
    """Load what is stored of a contract's usage by day."""
    state.usage_days[contract] = {
        (day, device): list(map(int, device_times))
        for day, device, *device_times in await connection.fetch(_SQL["usage_days"], contract)
    }


async def _load_stream_day(connection: Connection, state: State, name: DayOfStream) -> None:
    """Load what is stored of a stream's day, and the newest summary of it."""
    provider, stream, day = name
    if provider not in state.providers:  # the batch will be refused
        return
    contracts = state.providers[provider].contracts
    rows = await connection.fetch(_SQL["stream_day"], contracts, day, stream)
    state.stream_days[name] = {
        (contract, device): (records, int(time)) for contract, device, records, time in rows
    }
    entry = await connection.fetchval(_SQL["known_summary"], *name)
    if entry is not None:
        state.summaries[name] = entry


async def _load_numbers(connection: Connection, state: State) -> None:
    """Load which numbers all streams have."""
    state.numbers = {
        (provider, stream): Numbers(last)
        for provider, stream, last in await connection.fetch(_SQL["stream_numbers"])
    }
    for provider, stream, first, last in await connection.fetch(_SQL["missing_numbers"]):
        state.numbers[provider, stream].gaps.append((first, last, 0))


async def _load_months(connection: Connection, state: State) -> None:
    """Load what the months before the running one booked."""
    book = state.months
    for month, first, end in await connection.fetch(_SQL["ledger_months"]):
        book.over[month] = Month(first, end, {})
        book.first = end
    for month, item, *booked in await connection.fetch(_SQL["month_bookings"]):
        cost, granted = book.marks.get(item, (0, 0))
        book.marks[item] = cost + booked[0], granted + booked[1]
        book.over[month].booked[item] = booked[0], booked[1]
    for month in book.closed:
        book.over.pop(month, None)
    if state.size:
        book.begin(state.last_at, book.first, book.marks)


async def load_device_time(
    connection: Connection, state: State, named: Iterable[tuple[DeviceTimeId, int]]
) -> None:
    """Load the device-time in use of those days that the state does not hold."""
    missing = [(name, day) for name, day in named if day not in state.device_time(name).days]
    if not missing:
        return
    for name, day in missing:
        state.device_time(name).day(day)
    columns = columns_of(((*name, day) for name, day in missing), 4)
    for scope, subject, device, day, quarters in await connection.fetch(
        _SQL["device_time"], *columns
    ):
        state.device_time((scope, subject, device)).days[day] = array(
            "q", QUARTERS.unpack(quarters)
        )
