"""Writes of the service's tables: a group's rows, the set-up, and what a rebuild empties.

Functions take the caller's connection; `write` the caller's transaction, the one that appends the
group's entries. The read-model rows *are* the state: `load_state` reads them, `write` keeps them.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from ledger import store as ledger_store
from ledger.log import Group
from ledger.queries import load, script
from ledger.roles import Roles
from meter.rules.entries import Genesis
from meter.rules.month_book import Month
from meter.rules.state import (
    Award,
    Contract,
    CouponId,
    DeviceTimeId,
    PoolId,
    State,
    StreamDays,
    Touched,
)
from meter.rules.subjects import subjects_of
from meter.tables import outbox
from meter.tables.connections import Connection
from meter.tables.rows import QUARTERS, UsageDay, Written, columns_of, contract_total, note_group
from meter.views.crossings import gap_opened
from meter.wire.batch import SignedBatch

_SQL: Final = load("meter.tables")
# Without its status, which the database makes.
_RECORD: Final = (
    *("provider", "id", "entry", "contract", "day", "device"),
    *("voided", "released", "withheld", "to_review"),
)
_PROJECTIONS: Final = (
    "registration",
    "closed_proposal",
    "record",
    "withheld",
    "refused",
    "stream",
    "gap",
    "usage_day",
    "summary",
    "segment_subject",
    "device_time",
    "contract_total",
    "contract_segment",
    "contract_year",
    "contract_year_past",
    "contract_total_past",
    "coupon",
    "coupon_past",
    "coupon_day",
    "pool_day",
    "pool",
    "pool_past",
    "ledger_month",
    "month_booking",
)


async def create(connection: Connection, roles: Roles) -> None:
    """Make an empty ledger with the service's tables, whose roles are there."""
    async with connection.transaction():
        await ledger_store.create(connection, roles)
        await connection.execute(script("meter.tables", "schema.sql", roles.names))


async def drop(connection: Connection) -> None:
    """Remove a ledger that nobody has used, within the caller's transaction."""
    await connection.execute(_SQL["drop"])


async def commit(
    connection: Connection, epoch: int, group: Group, state: State, written: Written
) -> None:
    """Append a group's entries and write its rows, all or nothing.

    So it is with the alerts of what the group crosses; without a crossing there is no statement.
    Raises `LostEpoch`, and `Unconfirmed` where nobody knows whether it will stay.
    """
    touched = state.take_touched()
    note_group(written, state, touched, group.first)
    with ledger_store.confirmed(connection):
        async with connection.transaction():
            await ledger_store.append(connection, epoch, group)
            opened = await write(connection, state, touched, written)
            gaps = (gap_opened(state, *stream) for stream in opened)
            await outbox.put(connection, [*written.crossings, *gaps], state.last_at, state.size)


async def write(
    connection: Connection, state: State, touched: Touched, written: Written
) -> Sequence[tuple[str, str]]:
    """Write a group's rows and the totals that it touched, within the caller's transaction.

    Return the providers and streams that lack numbers, and lacked none.
    """
    await _copy(connection, "batch", written.batches)
    await _copy(connection, "registration", written.registrations)
    await _copy(connection, "state_snapshot", written.snapshots)
    await _copy(connection, "closed_proposal", written.closed_proposals)
    await _copy(connection, "record", written.records, _RECORD)
    await _copy(connection, "withheld", written.withheld)
    await _copy(connection, "refused", written.refused)
    await _copy(connection, "request", written.requests)
    await _copy(connection, "pool_past", written.past_pools)
    if written.voids:
        await connection.execute(_SQL["void_records"], *columns_of(written.voids, 3))
    if written.releases:
        await connection.execute(_SQL["release_records"], *columns_of(written.releases, 3))
    if written.summaries:
        newest = [(*day, entry) for day, entry in written.summaries.items()]
        await connection.execute(_SQL["put_summaries"], *columns_of(newest, 4))
    emptied = touched.contracts if written.voids else {name for name, _ in touched.amended}
    if emptied:  # of some segments
        await connection.execute(_SQL["clear_segments_of"], sorted(emptied))
    await _put_coupons(connection, state, touched.coupons)
    await _put_pools(connection, state, touched.pools)
    await _put_months(connection, touched.months)
    return await _put_group(connection, state, touched, written)


async def add_genesis(connection: Connection, genesis: Genesis, data: bytes) -> None:
    """Add the rows of entry 0, a group of its own."""
    await _copy(connection, "registration", [(0, genesis.kind, data)])
    subjects = sorted(subjects_of(State(), genesis))
    await _copy(connection, "segment_subject", [(subject, 0) for subject in subjects])


async def _copy(
    connection: Connection,
    table: str,
    rows: Sequence[tuple[Any, ...]],
    columns: Sequence[str] | None = None,
) -> None:
    if rows:
        await connection.copy_records_to_table(
            table, schema_name="meter", records=rows, columns=columns
        )


async def _put_group(
    connection: Connection, state: State, touched: Touched, written: Written
) -> Sequence[tuple[str, str]]:
    """Write sums in all, by day and by group, and numbers of batches; return as `write` does."""
    contracts = [state.contracts[name] for name in sorted(touched.contracts)]
    awards = [state.awards[name] for name in sorted(touched.awards)]
    tables = (
        (_usage_days(touched.usage, written.spans), 10),
        ([contract_total(each) for each in contracts], 7),
        (_contract_segments(contracts), 4),
        ([*_contract_years(contracts), *_award_years(awards)], 7),
        ([(*key, day, *sums) for (key, day), sums in written.coupon_days.items()], 6),
        ([(*key, day, *sums) for (key, day), sums in written.pool_days.items()], 6),
        (written.segment_subjects, 2),
        (written.past_shares, 6),
        (written.past_coupons, 5),
        (written.numbers, 3),
        (_device_times(state, touched.days), 5),
        (written.past_totals, 8),
    )
    if not any(rows for rows, _ in tables):
        return ()
    columns = (column for rows, count in tables for column in columns_of(rows, count))
    rows = await connection.fetch(_SQL["put_group"], *columns)
    return [(row["provider"], row["stream"]) for row in rows]


def _contract_segments(contracts: list[Contract]) -> list[tuple[Any, ...]]:
    return [
        (contract.registered.id, segment.year, segment.policy, str(segment.eligible))
        for contract in contracts
        for segment in contract.segments
        if segment.eligible
    ]


def _contract_years(contracts: list[Contract]) -> list[tuple[Any, ...]]:
    return [
        (
            contract.registered.id,
            year,
            contract.agreed.enterprise,
            contract.registered.programme,
            str(share.withheld),
            share.entitled,
            share.granted,
        )
        for contract in contracts
        for year, share in contract.shares.items()
    ]


def _award_years(awards: list[Award]) -> list[tuple[Any, ...]]:
    """Return awards as years of contracts: each is entitled to all that it is granted."""
    return [
        (
            *(award.made.id, award.made.year, award.made.enterprise, award.made.programme),
            *("0", award.amount, award.amount),
        )
        for award in awards
    ]


def _usage_days(
    added: Mapping[str, StreamDays], spans: Mapping[UsageDay, tuple[int, int]]
) -> list[tuple[Any, ...]]:
    return [
        (
            *(contract, day, device, stream),
            *(*map(str, device_times), records),
            *spans.get((contract, day, device), (None, None)),
        )
        for contract, days in added.items()
        for (day, device, stream), (*device_times, records) in days.items()
    ]


def _device_times(
    state: State, touched: Iterable[tuple[DeviceTimeId, int]]
) -> list[tuple[Any, ...]]:
    return [
        (*name, day, QUARTERS.pack(*state.in_use[name].days[day])) for name, day in sorted(touched)
    ]


async def _put_coupons(connection: Connection, state: State, touched: Iterable[CouponId]) -> None:
    rows = [(*coupon, state.coupons[coupon]) for coupon in touched]
    if rows:
        await connection.execute(_SQL["put_coupons"], *columns_of(rows, 4))


async def _put_pools(connection: Connection, state: State, touched: Iterable[PoolId]) -> None:
    pools = ((pool, state.pools[pool]) for pool in touched)
    rows = [
        (*name, pool.amount, pool.issued, pool.stated, pool.budget, " ".join(pool.programmes))
        for name, pool in pools
    ]
    if rows:
        await connection.execute(_SQL["put_pools"], *columns_of(rows, 7))


async def clear_projections(connection: Connection) -> None:
    """Empty the tables that `rebuild` makes anew, within the caller's transaction."""
    for table in _PROJECTIONS:
        await connection.execute(_SQL[f"clear_{table}"])


async def keep_seq_conflict(connection: Connection, signed: SignedBatch) -> None:
    """Keep a signed batch whose number is taken, as evidence."""
    batch = signed.batch
    name = (batch.provider, batch.stream, batch.seq)
    await connection.execute(
        _SQL["keep_seq_conflict"], signed.payload_sha256, *name, signed.envelope
    )


async def _put_months(connection: Connection, months: Mapping[str, Month]) -> None:
    """Write the months that are over since the last group."""
    ended = [(name, month.first, month.end) for name, month in months.items()]
    bookings = [
        (name, item, *booked)
        for name, month in months.items()
        for item, booked in month.booked.items()
    ]
    await _copy(connection, "ledger_month", ended)
    await _copy(connection, "month_booking", bookings)
