"""The service's tables in PostgreSQL: load the state, look up what a group names, write a group.

Functions take the caller's connection; `write` the caller's transaction, the one that appends the
group's entries. The read-model rows *are* the state: `load_state` reads them, `write` keeps them.
"""

import asyncio
import json
from array import array
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final, cast

import asyncpg
from msgspec import UNSET

from ledger import canon
from ledger import store as ledger_store
from ledger.bundle import Segment
from ledger.errors import LedgerError
from ledger.log import Group
from ledger.queries import load, script
from ledger.store import Head
from meter.host.tokens import Identity, KnownToken
from meter.rules.capacity import Withheld
from meter.rules.entries import (
    BatchAccepted,
    CouponIssued,
    CouponWithdrawn,
    Entry,
    RecordReleased,
    RecordVoided,
    UsageAccepted,
    from_fields,
)
from meter.rules.evolve import register
from meter.rules.measure import Work, by_day, by_year
from meter.rules.rating import entitle
from meter.rules.state import (
    BatchId,
    CouponId,
    DeviceTimeId,
    Pool,
    PoolId,
    Record,
    RecordId,
    Share,
    State,
    StoredBatch,
    Touched,
)
from meter.rules.subjects import subjects_of, subjects_of_contracts
from meter.values.problems import Problem
from meter.values.units import MICROSECONDS
from meter.views.past import PastBalance, PastShare, advance
from meter.wire.batch import Batch, SignedBatch
from meter.wire.batch import Record as WireRecord
from meter.wire.receipt import Accepted, Duplicate, Rejected, Result

Connection = asyncpg.Connection
Readers = asyncpg.Pool

# Beside the writer's connection: each question takes one for some milliseconds.
MAX_READERS: Final = 8
SERVICE_ROLE: Final = "kashi_service"
WRITER: Final = "kashi-writer"
CONFLICT: Final = "conflict"  # stands for a code where a record's id holds another record

# What is raised where the server cannot be reached, goes away, or is not up yet; the last two by
# the driver, where it learns of that between two messages.
_AWAY: Final = (
    OSError,
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
)

_SQL: Final = load("meter")
_PROJECTIONS: Final = (
    "registration",
    "record",
    "withheld",
    "refused",
    "stream",
    "gap",
    "usage_day",
    "mention",
    "device_time",
    "contract_total",
    "contract_year",
    "contract_year_past",
    "coupon",
    "coupon_past",
    "pool",
)


class NoLedger(LedgerError):  # noqa: N818 - the name says what is wrong
    """The database holds no ledger that we may use."""

    code = "no_ledger"


@dataclass(frozen=True, slots=True)
class Answered:
    """The answer to a command that carried an Idempotency-Key."""

    fingerprint: str
    entry: int
    answer: bytes


@dataclass(slots=True)
class Named:
    """What a group's submissions name, to be looked up before they are decided."""

    batches: set[BatchId] = field(default_factory=set)
    records: set[RecordId] = field(default_factory=set)
    requests: set[str] = field(default_factory=set)

    def add_batch(self, batch: Batch) -> None:
        """Add what a signed batch names."""
        self.batches.add((batch.provider, batch.stream, batch.seq))
        self.records.update((batch.provider, void.id) for void in batch.voids)
        self.records.update((batch.provider, record.id) for record in batch.records)


@dataclass(slots=True)
class Written:
    """What a group adds, row by row in the order of the columns, beside what it touched."""

    batches: list[tuple[Any, ...]] = field(default_factory=list)
    registrations: list[tuple[int, str, bytes]] = field(default_factory=list)
    records: list[tuple[str, str, int, None, None, bool]] = field(default_factory=list)
    withheld: list[tuple[Any, ...]] = field(default_factory=list)
    voids: list[tuple[str, str, int]] = field(default_factory=list)
    releases: list[tuple[str, str, int]] = field(default_factory=list)
    requests: list[tuple[str, str, int, bytes]] = field(default_factory=list)
    past_shares: list[tuple[Any, ...]] = field(default_factory=list)
    past_coupons: list[tuple[Any, ...]] = field(default_factory=list)
    refused: list[tuple[Any, ...]] = field(default_factory=list)
    numbers: list[BatchId] = field(default_factory=list)
    # Thousandths of devices added by contract, device, start and end: a batch has few such spans.
    usage: dict[tuple[str, str, int, int], int] = field(default_factory=dict)
    subjects: set[str] = field(default_factory=set)  # of the group's entries
    mentions: list[tuple[str, int]] = field(default_factory=list)


def note_group(written: Written, state: State, touched: Touched, first: int) -> None:
    """Note what is kept once for a whole group: how totals stand after it, whom it concerns."""
    _note_past(written, state, touched)
    # What concerns a contract by its money alone was touched; `note_rows` has noted the rest.
    written.subjects |= subjects_of_contracts(state, touched.contracts)
    written.mentions += ((subject, first) for subject in sorted(written.subjects))
    written.subjects.clear()


def _note_past(written: Written, state: State, touched: Touched) -> None:
    for name in sorted(touched.contracts):
        terms = state.contracts[name].registered
        written.past_shares += (
            (
                terms.id,
                year,
                state.size,
                terms.enterprise,
                terms.programme,
                Decimal(share.withheld),
                share.entitled,
                share.granted,
            )
            for year, share in state.contracts[name].shares.items()
        )
    written.past_coupons += (
        (*coupon, state.size, state.coupons[coupon]) for coupon in sorted(touched.coupons)
    )


def note_rows(written: Written, state: State, number: int, entry: Entry, data: bytes) -> None:
    """Note the rows that an entry adds, beside the totals that it touches.

    `state` holds the record of a usage entry or of its void.
    """
    match entry:
        case UsageAccepted():
            withheld = entry.withheld is not UNSET
            written.records.append((entry.provider, entry.id, number, None, None, withheld))
            if withheld:
                written.withheld.append(_withheld_row(state.records[entry.provider, entry.id]))
            _note_usage(written, entry, 1)
            written.subjects.add("kind:usage")  # its contract is touched
        case RecordVoided():
            written.voids.append((entry.provider, entry.id, number))
            _note_usage(written, state.records[entry.provider, entry.id].usage, -1)
            written.subjects.add("kind:void")
        case _:
            _note_other(written, number, entry, data)
            written.subjects |= subjects_of(state, entry)


def _note_other(written: Written, number: int, entry: Entry, data: bytes) -> None:
    match entry:
        case BatchAccepted():  # the batch's own row needs what no entry holds
            written.numbers.append((entry.provider, entry.stream, entry.seq))
        case RecordReleased():
            written.releases.append((entry.provider, entry.id, number))
        case CouponIssued() | CouponWithdrawn():
            pass  # coupons are totals
        case _:
            written.registrations.append((number, entry.kind, data))


def note_batch(
    written: Written,
    signed: SignedBatch,
    number: int,
    stored: StoredBatch,
    results: list[Result],
) -> None:
    """Note a batch's own row, and what of it was refused; `number` is that of its entry."""
    batch = signed.batch
    name = (batch.provider, batch.stream, batch.seq)
    answer = (stored.receipt, stored.signature)
    written.batches.append((*name, number, stored.payload, signed.envelope, *answer))
    note_refused(written, batch, number, results)


def note_refused(written: Written, batch: Batch, number: int, results: list[Result]) -> None:
    """Note which of a batch's results say no: those of its voids first, then of its records.

    `number` is that of the batch's entry.
    """
    for place, result in enumerate(results):
        if isinstance(result, (Accepted, Duplicate)):
            continue
        code = result.code if isinstance(result, Rejected) else CONFLICT
        index = place - len(batch.voids)
        about = _about(batch.records[index]) if index >= 0 else ("void", *[None] * 4)
        what, *content = about
        key = (batch.provider, number, place, what, result.id)
        written.refused.append((*key, *content, code, result.detail))


def _about(record: WireRecord) -> tuple[Any, ...]:
    times = (record.start * MICROSECONDS, record.end * MICROSECONDS)
    return "record", record.contract, record.device, *times


def _note_usage(written: Written, usage: UsageAccepted, sign: int) -> None:
    span = (usage.contract, usage.device, usage.start, usage.end)
    written.usage[span] = written.usage.get(span, 0) + sign * usage.milli_devices


def _withheld_row(record: Record) -> tuple[Any, ...]:
    quarters, device_times, limits = _columns(
        ((part.quarter, part.device_time, part.limit) for part in record.withheld), 3
    )
    usage = record.usage
    return (
        usage.provider,
        usage.id,
        record.entry,
        usage.contract,
        usage.device,
        usage.milli_devices,
        usage.start,
        usage.end,
        quarters,
        device_times,
        limits,
    )


@dataclass(frozen=True, slots=True)
class Balance:
    """A coupon's row and its contracts' shares, at one size of the ledger; fen."""

    size: int
    last_at: int
    issued: int
    shares: list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class ContractTotals:
    """A contract's numerator and its years, at one size of the ledger; fen."""

    size: int
    last_at: int
    used: int
    years: list[dict[str, Any]]


async def connect(
    dsn: str, *, owner: bool = False, writer: bool = False, patience_seconds: float | None = None
) -> Connection:
    """Connect as the service, whose role may append but never change; `owner` may set up.

    A `writer` is known to the server as one, so that the next can end it where it hangs. A
    statement that takes longer than `patience_seconds` raises `TimeoutError`. Raises `NoLedger`,
    also where the server refuses us.
    """
    settings = {
        "application_name": WRITER if writer else "kashi",
        "synchronous_commit": "on",
        # Plans anew for each long list of ids cost more than what they find.
        "plan_cache_mode": "force_generic_plan",
    }
    if not owner:
        settings["role"] = SERVICE_ROLE
    try:
        connection = await asyncpg.connect(
            dsn, server_settings=settings, command_timeout=patience_seconds
        )
    except asyncpg.PostgresError as error:
        raise NoLedger(f"the database cannot be used: {error}") from error
    if not owner and not await ledger_store.exists(connection):
        await connection.close()
        raise NoLedger("the database holds no ledger: make one with kashi init")
    return connection


async def connect_readers(dsn: str) -> Readers:
    """Open connections for questions."""
    settings = {"application_name": "kashi-read", "role": SERVICE_ROLE}
    return await asyncpg.create_pool(
        dsn,
        min_size=0,
        max_size=MAX_READERS,
        server_settings=settings,
        connection_class=_Reader,
    )


class _Reader(asyncpg.Connection):
    """A connection for questions, which leave nothing behind that would have to be reset."""

    def get_reset_query(self) -> str:
        return ""


@asynccontextmanager
async def told_as_away() -> AsyncIterator[None]:
    """Turn what is raised where the server goes away into `NoLedger`, for a start that ends so."""
    try:
        yield
    except _AWAY as error:
        raise NoLedger(f"the database went away: {error}") from error


@asynccontextmanager
async def reading(readers: Readers, *, snapshot: bool = True) -> AsyncIterator[Connection]:
    """Take a connection for one question, in one snapshot; a single statement needs none.

    Raises `Problem` `unavailable`.
    """
    try:
        async with _taken(readers) as connection:
            if not snapshot:
                yield connection
                return
            async with connection.transaction(isolation="repeatable_read", readonly=True):
                yield connection
    except _AWAY as error:
        raise Problem("unavailable", "the database is away") from error


_given_back: Final[set["asyncio.Task[None]"]] = set()  # held until they are done


@asynccontextmanager
async def _taken(readers: Readers) -> AsyncIterator[Connection]:
    """Take a connection. To give it back takes turns of the event loop that no answer waits for."""
    connection = await readers.acquire()
    try:
        yield cast("Connection", connection)
    finally:
        giving = asyncio.create_task(_give_back(readers, connection))
        _given_back.add(giving)
        giving.add_done_callback(_given_back.discard)


async def _give_back(readers: Readers, connection: Any) -> None:
    with suppress(*_AWAY):  # who asked has heard of it
        await readers.release(connection)


async def create_roles(connection: Connection) -> None:
    """Make the roles that a restored ledger needs; they belong to the whole server."""
    await connection.execute(script("ledger", "roles.sql"))


async def create(connection: Connection) -> None:
    """Make an empty ledger with the service's tables."""
    async with connection.transaction():
        await ledger_store.create(connection)
        await connection.execute(script("meter", "schema.sql"))


async def load_state(connection: Connection, head: Head) -> State:
    """Load the state as of `head`, without records and batches (see `load_named`)."""
    state = State(size=head.size, last_at=head.last_at)
    for number, data in await connection.fetch(_SQL["registrations"]):
        register(state, number, from_fields(canon.decode(data)))
    for contract, used in await connection.fetch(_SQL["contract_totals"]):
        state.contracts[contract].used = int(used)
    for contract, year, *numbers in await connection.fetch(_SQL["contract_years"]):
        state.contracts[contract].shares[year] = Share(*map(int, numbers))
    for held in state.contracts.values():
        eligible_by_year = {year: share.eligible for year, share in held.shares.items()}
        held.entitlement = entitle(eligible_by_year, held.terms)
    for enterprise, programme, year, issued, granted in await connection.fetch(_SQL["coupons"]):
        state.coupons[enterprise, programme, year] = issued
        state.granted[enterprise, programme, year] = int(granted)
    for programme, year, amount, issued in await connection.fetch(_SQL["pools"]):
        state.pools[programme, year] = Pool(amount, issued)
    state.take_touched()
    return state


async def load_service_keys(connection: Connection) -> State:
    """Load a state that knows entry 0 and the service's keys, and nothing else."""
    state = State()
    for number, data in await connection.fetch(_SQL["key_registrations"]):
        register(state, number, from_fields(canon.decode(data)))
    return state


async def load_named(connection: Connection, state: State, named: Named) -> dict[str, Answered]:
    """Put the known records and batches into the state; give the known requests."""
    await _load_batches(connection, state, named.batches)
    await load_records(connection, state, named.records)
    if not named.requests:
        return {}
    rows = await connection.fetch(_SQL["known_requests"], list(named.requests))
    return {key: Answered(*rest) for key, *rest in rows}


async def _load_batches(connection: Connection, state: State, batches: Iterable[BatchId]) -> None:
    columns = _columns(batches, 3)
    for provider, stream, seq, *rest in await connection.fetch(_SQL["known_batches"], *columns):
        state.batches[provider, stream, seq] = StoredBatch(*rest)


async def load_records(connection: Connection, state: State, records: Iterable[RecordId]) -> None:
    """Put the known ones of some records into the state, as they stand now."""
    ids: defaultdict[str, list[str]] = defaultdict(list)
    for provider, id_ in records:
        ids[provider].append(id_)
    for provider, named in ids.items():
        rows = await connection.fetch(_SQL["known_records"], provider, named)
        if rows:  # of most batches no record is known
            await _load_records(connection, state, provider, rows)


async def _load_records(
    connection: Connection, state: State, provider: str, rows: list[asyncpg.Record]
) -> None:
    numbers = [row["entry"] for row in rows]
    numbers += [row["released"] for row in rows if row["released"] is not None]
    entries = await ledger_store.entries_at(connection, numbers)
    for row in rows:
        state.records[provider, row["id"]] = _record(row, entries)


def _record(row: asyncpg.Record, entries: dict[int, bytes]) -> Record:
    usage = from_fields(canon.decode(entries[row["entry"]]))
    assert isinstance(usage, UsageAccepted), "meter.record points at usage entries"
    eligible = usage.eligible
    if row["released"] is not None:
        release = from_fields(canon.decode(entries[row["released"]]))
        assert isinstance(release, RecordReleased), "meter.record points at release entries"
        eligible = by_year([*eligible, *release.eligible])
    parts = zip(row["quarters"], row["device_times"], row["limits"], strict=True)
    withheld = [Withheld(*part) for part in parts]
    return Record(row["entry"], usage, eligible, withheld, row["voided"], row["released"])


async def load_device_time(
    connection: Connection, state: State, named: Iterable[tuple[DeviceTimeId, int]]
) -> None:
    """Put the device-time in use of some days into the state, of those that it does not hold."""
    missing = [(name, day) for name, day in named if day not in state.device_time(name).days]
    if not missing:
        return
    for name, day in missing:
        state.device_time(name).day(day)
    columns = _columns(((*name, day) for name, day in missing), 4)
    for scope, subject, device, day, quarters in await connection.fetch(
        _SQL["device_time"], *columns
    ):
        state.device_time((scope, subject, device)).days[day] = array("q", quarters)


async def commit(
    connection: Connection, epoch: int, group: Group, state: State, written: Written
) -> None:
    """Append a group's entries and write its rows, all or nothing. Raises `LostEpoch`."""
    touched = state.take_touched()
    note_group(written, state, touched, group.first)
    async with connection.transaction():
        await ledger_store.append(connection, epoch, group)
        await write(connection, state, touched, written)


async def write(connection: Connection, state: State, touched: Touched, written: Written) -> None:
    """Write a group's rows and the totals that it touched, within the caller's transaction."""
    await _copy(connection, "batch", written.batches)
    await _copy(connection, "registration", written.registrations)
    await _copy(connection, "record", written.records)
    await _copy(connection, "withheld", written.withheld)
    await _copy(connection, "refused", written.refused)
    await _copy(connection, "mention", written.mentions)
    await _copy(connection, "contract_year_past", written.past_shares)
    await _copy(connection, "coupon_past", written.past_coupons)
    await _copy(connection, "request", written.requests)
    if written.voids:
        await connection.execute(_SQL["void_records"], *_columns(written.voids, 3))
    if written.releases:
        await connection.execute(_SQL["release_records"], *_columns(written.releases, 3))
    if written.numbers:
        await connection.execute(_SQL["put_streams"], *_columns(written.numbers, 3))
    await _put_usage_days(connection, written)
    await _put_device_time(connection, state, touched.days)
    await _put_contracts(connection, state, touched.contracts)
    await _put_coupons(connection, state, touched.coupons)
    await _put_pools(connection, state, touched.pools)


async def add_registration(connection: Connection, number: int, kind: str, data: bytes) -> None:
    """Add the rows of a registering entry that is a group of its own and concerns nobody."""
    await _copy(connection, "registration", [(number, kind, data)])
    await _copy(connection, "mention", [(f"kind:{kind}", number)])


async def _copy(connection: Connection, table: str, rows: list[tuple[Any, ...]]) -> None:
    if rows:
        await connection.copy_records_to_table(table, schema_name="meter", records=rows)


async def _put_contracts(connection: Connection, state: State, touched: Iterable[str]) -> None:
    contracts = [state.contracts[name] for name in sorted(touched)]
    if not contracts:
        return
    await connection.execute(
        _SQL["put_contract_totals"],
        [contract.registered.id for contract in contracts],
        [Decimal(contract.used) for contract in contracts],
    )
    rows = [
        (
            contract.registered.id,
            year,
            contract.registered.enterprise,
            contract.registered.programme,
            Decimal(share.eligible),
            Decimal(share.withheld),
            share.entitled,
            share.granted,
        )
        for contract in contracts
        for year, share in contract.shares.items()
    ]
    await connection.execute(_SQL["put_contract_years"], *_columns(rows, 8))


async def _put_usage_days(connection: Connection, written: Written) -> None:
    added: defaultdict[tuple[str, int, str], int] = defaultdict(int)
    for (contract, device, start, end), milli_devices in written.usage.items():
        work = Work(device, milli_devices, start // MICROSECONDS, end // MICROSECONDS)
        for day, device_time in by_day(work):
            added[contract, day, device] += device_time
    rows = [(*place, Decimal(device_time)) for place, device_time in added.items()]
    if rows:
        await connection.execute(_SQL["put_usage_days"], *_columns(rows, 4))


async def _put_device_time(
    connection: Connection, state: State, touched: Iterable[tuple[DeviceTimeId, int]]
) -> None:
    rows = [(*name, day, list(state.in_use[name].days[day])) for name, day in touched]
    if rows:
        await connection.executemany(_SQL["put_device_time"], rows)


async def _put_coupons(connection: Connection, state: State, touched: Iterable[CouponId]) -> None:
    rows = [(*coupon, state.coupons[coupon]) for coupon in touched]
    if rows:
        await connection.execute(_SQL["put_coupons"], *_columns(rows, 4))


async def _put_pools(connection: Connection, state: State, touched: Iterable[PoolId]) -> None:
    rows = [(*pool, state.pools[pool].amount, state.pools[pool].issued) for pool in touched]
    if rows:
        await connection.execute(_SQL["put_pools"], *_columns(rows, 4))


async def clear_projections(connection: Connection) -> None:
    """Empty what `rebuild` makes anew, within the caller's transaction."""
    for table in _PROJECTIONS:
        await connection.execute(_SQL[f"clear_{table}"])


async def keep_seq_conflict(
    connection: Connection, batch: BatchId, payload: str, envelope: bytes
) -> None:
    """Keep a signed batch whose number is taken, as evidence."""
    await connection.execute(_SQL["keep_seq_conflict"], payload, *batch, envelope)


async def balance(connection: Connection, coupon: CouponId) -> Balance:
    """Read a coupon's balance, as of the last commit."""
    row = await connection.fetchrow(_SQL["balance"], *coupon)
    assert row is not None, "the head is always there"
    return Balance(row["size"], row["last_at"], row["issued"], json.loads(row["shares"]))


async def past_balance(
    connection: Connection, state: State, coupon: CouponId, size: int
) -> PastBalance:
    """Read a coupon's balance as it stood when the ledger had some size."""
    start = await ledger_store.segment_start(connection, size)
    issued = await connection.fetchval(_SQL["past_coupon"], *coupon, start)
    balance = PastBalance(issued or 0)
    for contract, *numbers in await connection.fetch(_SQL["past_shares"], *coupon, start):
        balance.shares[contract] = PastShare(*map(int, numbers))
    async for _, data in ledger_store.entries(connection, start, size):
        advance(balance, state, coupon, from_fields(canon.decode(data)))
    return balance


async def contract_totals(connection: Connection, contract: str) -> ContractTotals:
    """Read a contract's totals, as of the last commit."""
    row = await connection.fetchrow(_SQL["contract"], contract)
    assert row is not None, "the head is always there"
    return ContractTotals(row["size"], row["last_at"], int(row["used"]), json.loads(row["years"]))


async def attachments(
    connection: Connection, first: int, stop: int
) -> AsyncIterator[tuple[int, list[bytes]]]:
    """Give envelope, receipt and signature of the batch entries of `[first, stop)`, in order."""
    async for row in connection.cursor(_SQL["batches"], first, stop, prefetch=64):
        signature = row["signature"].encode("ascii")
        yield row["entry"], [row["envelope"], row["receipt"], signature]


async def with_attachments(connection: Connection, first: int, stop: int) -> AsyncIterator[Segment]:
    """Give the segments of `[first, stop)`, both ends of segments, with the files beside them."""
    attached = attachments(connection, first, stop)
    following = await anext(attached, None)
    async for start, count, bundle in ledger_store.bundles(connection, first, stop):
        beside = []
        while following is not None and following[0] < start + count:
            beside.append((following[0] - start, following[1]))
            following = await anext(attached, None)
        yield Segment(count, bundle, beside)


async def token(connection: Connection, token_id: str) -> KnownToken | None:
    """Read a token."""
    row = await connection.fetchrow(_SQL["token"], token_id)
    if row is None:
        return None
    identity = Identity(token_id, row["role"], row["subject"])
    return KnownToken(identity, row["secret"], row["expires_at"], row["revoked"])


async def has_tokens(connection: Connection) -> bool:
    """Say whether anybody was ever given a token."""
    return bool(await connection.fetchval(_SQL["has_tokens"]))


async def add_token(
    connection: Connection, identity: Identity, digest: bytes, expires_at: int | None = None
) -> None:
    """Keep a token; `digest` is the sha256 of its secret, `expires_at` in microseconds."""
    await connection.execute(
        _SQL["add_token"],
        identity.token_id,
        identity.role,
        identity.subject,
        digest,
        expires_at,
    )


async def revoke_token(connection: Connection, token_id: str) -> bool:
    """Revoke a token; say whether there was one to revoke."""
    return await connection.execute(_SQL["revoke_token"], token_id) == "UPDATE 1"


def _columns(rows: Iterable[tuple[Any, ...]], count: int) -> list[list[Any]]:
    """Turn rows into the columns that `unnest` takes; of no rows, empty ones."""
    columns = [list(column) for column in zip(*rows, strict=True)]
    return columns or [[] for _ in range(count)]
