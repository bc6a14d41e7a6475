"""The rows that a group of entries adds, noted while it is decided and written at its commit."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from struct import Struct
from typing import Any, Final, Literal, TypeVar, assert_never

from msgspec import UNSET, Raw
from msgspec.structs import astuple

from meter.rules.entries import ProposalEnded, UsageAccepted
from meter.rules.kinds.table import BY_ENTRY
from meter.rules.plain import Run
from meter.rules.state import (
    AcceptedRecord,
    BatchId,
    Contract,
    CouponId,
    DayOfStream,
    PoolId,
    State,
    StoredBatch,
    Touched,
)
from meter.rules.subjects import subjects_of, subjects_of_contracts, subjects_of_person
from meter.values.units import DAY_SECONDS, MICROSECONDS, day_of, parse_date
from meter.views.crossings import (
    Crossing,
    awaited,
    held_back,
    is_held_back,
    levels_crossed,
    month_closed,
)
from meter.wire.batch import Batch, SignedBatch
from meter.wire.receipt import Accepted, Conflict, Duplicate, RecordCode, Rejected, Result, VoidCode

T = TypeVar("T")

_ENTRY: Final = 2  # the places in a row of `Written.records`
_USAGE_DAY: Final = slice(3, 6)
QUARTERS: Final = Struct("<96q")  # of a row of device-time
CONFLICT: Final = "conflict"  # stands for a code where a record's id holds another record
UsageDay = tuple[str, int, str]  # contract, Shanghai day since 1970-01-01, device kind
RefusedCode = RecordCode | VoidCode | Literal["conflict"]


@dataclass(slots=True)
class Written:
    """What a group adds, row by row in the order of the columns, beside what it touched."""

    batches: list[tuple[Any, ...]] = field(default_factory=list)
    registrations: list[tuple[int, str, bytes]] = field(default_factory=list)
    snapshots: list[tuple[int, bytes]] = field(default_factory=list)
    closed_proposals: list[tuple[int, int, bool]] = field(default_factory=list)
    records: list[tuple[Any, ...]] = field(default_factory=list)
    spanned: int = 0  # of the records, those that are in `spans`
    spans: dict[UsageDay, tuple[int, int]] = field(default_factory=dict)
    withheld: list[tuple[Any, ...]] = field(default_factory=list)
    voids: list[tuple[str, str, int]] = field(default_factory=list)
    releases: list[tuple[str, str, int]] = field(default_factory=list)
    requests: list[tuple[str, str, str, int, bytes]] = field(default_factory=list)
    past_shares: list[tuple[Any, ...]] = field(default_factory=list)
    past_coupons: list[tuple[Any, ...]] = field(default_factory=list)
    past_totals: list[tuple[Any, ...]] = field(default_factory=list)
    past_pools: list[tuple[Any, ...]] = field(default_factory=list)
    coupon_days: dict[tuple[CouponId, int], list[int]] = field(default_factory=dict)
    pool_days: dict[tuple[PoolId, int], list[int]] = field(default_factory=dict)
    refused: list[tuple[Any, ...]] = field(default_factory=list)
    numbers: list[BatchId] = field(default_factory=list)
    summaries: dict[DayOfStream, int] = field(default_factory=dict)
    subjects: set[str] = field(default_factory=set)  # of the group's entries
    segment_subjects: list[tuple[str, int]] = field(default_factory=list)
    crossings: list[Crossing] = field(default_factory=list)  # for the outbox


def note_group(written: Written, state: State, touched: Touched, first: int) -> None:
    """Note the rows of a whole group: the totals after it, and its subjects."""
    _note_past(written, state, touched)
    _note_money(written, state, touched)
    _note_withheld(written, state, touched)
    _note_spans(written)
    # `touched` has the contracts whose money changed; `note_rows` has noted the other subjects.
    written.subjects |= subjects_of_contracts(state, touched.contracts)
    written.segment_subjects += ((subject, first) for subject in sorted(written.subjects))
    written.subjects.clear()


def _note_past(written: Written, state: State, touched: Touched) -> None:
    for name in sorted(touched.contracts):
        contract = state.contracts[name]
        written.past_shares += (
            (name, year, state.size, str(share.withheld), share.entitled, share.granted)
            for year, share in contract.shares.items()
        )
        _, *numerators = contract_total(contract)
        written.past_totals.append((name, state.size, *numerators))
    # After an amendment within the group, which no entry tells in full.
    written.past_shares += (
        (name, year, size, str(share.withheld), share.entitled, share.granted)
        for (name, size), shares in touched.amended.items()
        if size < state.size
        for year, share in shares.items()
    )
    awards = [state.awards[name] for name in sorted(touched.awards)]
    written.past_shares += (
        (each.made.id, each.made.year, state.size, "0", each.amount, each.amount) for each in awards
    )
    written.past_coupons += (
        (*coupon, state.size, state.coupons[coupon]) for coupon in sorted(touched.coupons)
    )
    pools = ((name, state.pools[name]) for name in sorted(touched.pools))
    written.past_pools += (
        (*name, state.size, each.amount, each.issued, each.stated, each.budget, [*each.programmes])
        for name, each in pools
    )


def contract_total(contract: Contract) -> tuple[str, ...]:
    """Return a contract's id and its numerators: all, and those that count for nothing."""
    return contract.registered.id, *map(str, (contract.used, *contract.ineligible))


def _note_money(written: Written, state: State, touched: Touched) -> None:
    """Note by how much coupons and pools have changed on the Shanghai day of a group.

    All entries of a group are of one day.
    """
    day = day_of(state.last_at // MICROSECONDS)
    for coupon in sorted(_coupons_of(state, touched)):
        now = state.coupons[coupon], state.granted.get(coupon, 0)
        before = state.noted.get(coupon, (0, 0))
        if now != before:
            state.noted[coupon] = now
            written.crossings += levels_crossed(state, coupon, before, now)
            issued, granted = now[0] - before[0], now[1] - before[1]
            _, programme, year = coupon
            pool = state.pool_id(programme, year)
            _add(written.coupon_days, (coupon, day), [issued, granted])
            _add(written.pool_days, (pool, day), [0, issued, granted])
    for pool in sorted(touched.pools):
        amount = state.pools[pool].amount
        change = amount - state.noted_pools.get(pool, 0)
        state.noted_pools[pool] = amount
        if change:
            _add(written.pool_days, (pool, day), [change, 0, 0])


def _note_withheld(written: Written, state: State, touched: Touched) -> None:
    """Note the contracts that have something withheld, and had nothing."""
    for name in sorted(touched.contracts):
        contract = state.contracts[name]
        if not is_held_back(contract):
            state.noted_withheld.discard(name)
        elif name not in state.noted_withheld:
            state.noted_withheld.add(name)
            written.crossings += held_back(state, contract)


def _note_spans(written: Written) -> None:
    """Note between which entries the records of a group lie, for the days on which they begin."""
    records = written.records[written.spanned :]
    written.spanned = len(written.records)
    if not records:
        return
    first, last = records[0][_ENTRY], records[-1][_ENTRY]
    for day in {record[_USAGE_DAY] for record in records}:
        held = written.spans.get(day, (first, last))
        written.spans[day] = min(held[0], first), max(held[1], last)


def _coupons_of(state: State, touched: Touched) -> set[CouponId]:
    """Return the coupons that a group may have changed."""
    contracts = (state.contracts[name] for name in touched.contracts)
    found = {contract.coupon_id(year) for contract in contracts for year in contract.shares}
    return (found & state.coupons.keys()) | touched.coupons


def _add(sums: dict[T, list[int]], key: T, changes: list[int]) -> None:
    held = sums.get(key, [0] * len(changes))
    sums[key] = [a + b for a, b in zip(held, changes, strict=True)]


def note_rows(written: Written, state: State, number: int, entry: Any, data: bytes) -> None:
    """Note the rows that an entry adds, beside the totals that it touches.

    `state` holds the record of a usage entry or of its void.
    """
    match BY_ENTRY[type(entry)].rows:
        case "usage":
            _note_record(written, state, number, entry)
            written.subjects.add("kind:usage")  # its contract is touched
            return
        case "purchase":
            name, use = (entry.provider, entry.id), (entry.contract, entry.first_day, entry.device)
            written.records.append((*name, number, *use, None, None, False, False))
            written.subjects.add("kind:purchase")
            return
        case "void":
            written.voids.append((entry.provider, entry.id, number))
            _note_closed_proposal(written, number, entry)
            written.subjects |= {"kind:void", *subjects_of_person(entry)}
            return
        case "batch":  # `note_batch` has what no entry holds
            written.numbers.append((entry.provider, entry.stream, entry.seq))
        case "release":
            written.releases.append((entry.provider, entry.id, number))
        case "summary":
            day = day_of(parse_date(entry.day))
            written.summaries[entry.provider, entry.stream, day] = number
        case "totals":
            pass
        case "registration":
            written.registrations.append((number, entry.kind, data))
            written.crossings += (*awaited(number, entry), *month_closed(state, entry))
        case unknown:
            assert_never(unknown)
    _note_closed_proposal(written, number, entry)
    written.subjects |= subjects_of(state, entry)


def _note_closed_proposal(written: Written, number: int, entry: Any) -> None:
    proposal = getattr(entry, "proposal", UNSET)
    if proposal is not UNSET:
        is_confirmed = not isinstance(entry, ProposalEnded)
        written.closed_proposals.append((proposal, number, is_confirmed))


def _note_record(written: Written, state: State, number: int, usage: UsageAccepted) -> None:
    withheld, name = usage.withheld_cost is not UNSET, (usage.provider, usage.id)
    to_review = usage.withheld_cost is not UNSET and usage.withheld_cost > 0
    use = usage.contract, day_of(usage.start // MICROSECONDS), usage.device
    written.records.append((*name, number, *use, None, None, withheld, to_review))
    if withheld:
        written.withheld.append(_withheld_row(state.records[name]))


def note_run(written: Written, run: Run, first: int) -> None:
    """Note the rows of plain records, the first of which is the entry `first`."""
    rest = None, None, False, False
    written.records += [
        (run.provider, id_, number, *use, *rest)
        for number, (id_, use) in enumerate(zip(run.ids, run.uses, strict=True), first)
    ]
    written.subjects.add("kind:usage")


def note_batch(
    written: Written,
    signed: SignedBatch,
    stored: StoredBatch,
    results: list[Result | Raw],
) -> None:
    """Note a batch's own row, and those of its refused records and voids."""
    batch = signed.batch
    name = (batch.provider, batch.stream, batch.seq)
    place = (stored.entries.first, stored.entries.count)
    answer = (stored.receipt, stored.signature)
    written.batches.append((*name, *place, stored.payload, signed.envelope, *answer))
    note_refused(written, batch, stored.entries.first, results)


def note_refused(written: Written, batch: Batch, number: int, results: list[Result | Raw]) -> None:
    """Note the refused results of a batch, which are in the order of a receipt.

    `number` is that of the batch's entry.
    """
    for place, result in enumerate(results):
        match result:
            case Raw() | Accepted() | Duplicate():
                continue
            case Rejected():
                code: RefusedCode = result.code
            case Conflict():
                code = CONFLICT
            case _:
                assert_never(result)
        what, *content = _about(batch, place)
        key = (batch.provider, number, place, what, result.id)
        written.refused.append((*key, *content, code, result.detail))


def _about(batch: Batch, place: int) -> tuple[Any, ...]:
    """Return what a result is about: contract, device, start and end, as far as it has them."""
    place -= len(batch.voids)
    if place < 0:
        return "void", None, None, None, None
    if place < len(batch.records):
        record = batch.records[place]
        times = (record.start * MICROSECONDS, record.end * MICROSECONDS)
        return "record", record.contract, record.device, *times
    purchase = batch.purchases[place - len(batch.records)]
    delivered = parse_date(purchase.delivered_on)
    times = (delivered * MICROSECONDS, (delivered + DAY_SECONDS) * MICROSECONDS)
    return "purchase", purchase.contract, None, *times


def _withheld_row(record: AcceptedRecord) -> tuple[Any, ...]:
    runs = columns_of(map(astuple, record.withheld), 4)
    usage = record.usage
    assert isinstance(usage, UsageAccepted), "nothing of a purchase is withheld"
    return (
        usage.provider,
        usage.id,
        record.entry,
        usage.contract,
        usage.device,
        usage.milli_devices,
        usage.start,
        usage.end,
        *runs,
        usage.withheld_cost,
    )


def columns_of(rows: Iterable[tuple[Any, ...]], count: int) -> list[list[Any]]:
    """Return rows as the columns that `unnest` takes, empty ones for no rows."""
    columns = [list(column) for column in zip(*rows, strict=True)]
    return columns or [[] for _ in range(count)]
