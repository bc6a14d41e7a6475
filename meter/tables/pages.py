"""Pages read from the service's tables, each bounded in items and in what is read.

Tables of few rows are read whole: those of pools, tokens, and decisions of two persons.

Functions take the caller's connection, in whose snapshot they read. They know nothing of HTTP; a
*page* is a list of at most `limit` items and whether there are more, an item's key says where the
next page begins. `tables/write.py` writes the tables.
"""

import itertools
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, Generic, Literal, NamedTuple, Self, TypeVar

import msgspec
from msgspec import Struct

from ledger import store as ledger_store
from ledger.bundle import decode_bundle
from ledger.queries import load
from meter.host.breath import Breath
from meter.host.tokens import Identity, ListedToken
from meter.rules.capacity import Withheld
from meter.rules.entries import Evidence
from meter.rules.measure import evidence_of
from meter.rules.rating import parts_of_cost
from meter.rules.state import Contract, CouponId, Key, PoolId, RecordId
from meter.tables.connections import Connection
from meter.values.roles import Role
from meter.values.units import MICROSECONDS, day_of
from meter.views.past import PastShare, RecordStatus
from meter.wire.advice import Refusable
from meter.wire.batch import MAX_BATCH_ITEMS
from meter.wire.receipt import REASONS

# A page reads no more than this, whatever it finds; its cursor leads on.
MAX_ENTRIES_READ: Final = 5_000  # some tens of milliseconds of reading
MAX_QUESTIONED: Final = 20_000  # entries, for what a question is about lies far apart
MAX_ROWS_READ: Final = 20_000  # of an index, for each contract so many as the page may have items
MAX_GAPS_READ: Final = 1_000  # each with the batches beside it
_ALWAYS: Final = -1_000_000  # a day before every other
MAX_RUNS_READ: Final = 100_000  # a record of 31 days can be withheld in 2,977 runs

_SQL: Final = load("meter.tables", "pages.sql")

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """Some items in order, and whether there are more after them."""

    items: list[T]
    more: bool


@dataclass(frozen=True, slots=True)
class Stream:
    """A stream's highest number, how many numbers it has, and when the highest came.

    `last_at` is in microseconds; a stream that is asked for alone lacks it.
    """

    name: str
    last: int
    batches: int
    last_at: int | None = None


@dataclass(frozen=True, slots=True)
class Refusal:
    """A refused record or void, or a batch whose number was taken.

    `key` is its place among all; `contract` is None where none is named.
    """

    key: tuple[int, int, int]
    what: Refusable
    payload: str
    stream: str
    seq: int
    id: str
    contract: str | None
    code: str
    detail: str


@dataclass(frozen=True, slots=True)
class NotCounted:
    """A record that was refused, or has a withheld part (`withheld`, its cost in fen).

    Times in microseconds; `status` is there where a part was withheld. A purchase has no device.
    """

    key: tuple[int, int]
    contract: str
    provider: str
    id: str
    device: str | None
    starts: int
    ends: int
    code: str
    detail: str
    withheld: int | None
    status: str | None


@dataclass(frozen=True, slots=True)
class HeldEntry:
    """An entry that accepted, voided or released a record, by number and bytes.

    The record begins on a Shanghai day since 1970-01-01. Where the entry accepted it: whether a
    part was withheld, and the numbers of those that changed it.
    """

    entry: int
    day: int
    withheld: bool | None
    voided: int | None
    released: int | None
    data: bytes

    @property
    def status(self) -> RecordStatus:
        """The status of the record that it accepted."""
        if self.voided is not None:
            return "voided"
        if self.released is not None:
            return "released"
        return "withheld" if self.withheld else "accepted"

    def as_of(self, size: int) -> Self:
        """Return the same as it stood when the ledger had a size."""
        voided, released = _before(self.voided, size), _before(self.released, size)
        return replace(self, voided=voided, released=released)


@dataclass(frozen=True, slots=True)
class Reported:
    """A record by the entry that accepted it, and by the one that took it back, where one did."""

    id: str
    entry: int
    data: bytes
    voided: int | None
    void: bytes | None

    def as_of(self, size: int) -> Self:
        """Return the same as it stood when the ledger had a size."""
        voided = _before(self.voided, size)
        return replace(self, voided=voided, void=None if voided is None else self.void)


@dataclass(frozen=True, slots=True)
class Summary:
    """The newest entry about a Shanghai day (since 1970-01-01) of a stream."""

    stream: str
    day: int
    entry: int
    data: bytes


@dataclass(frozen=True, slots=True)
class ToReview:
    """A record of which a fen or more is withheld, to be reviewed; times in microseconds.

    `at` is when it was committed; `cost`, in fen, is that of the withheld part.
    """

    entry: int
    at: int
    provider: str
    id: str
    contract: str
    device: str
    milli_devices: int
    starts: int
    ends: int
    cost: int
    withheld: int
    evidence: list[Evidence]


@dataclass(frozen=True, slots=True)
class UsageDay:
    """Device-time (thousandths × seconds) of one kind on a Shanghai day since 1970-01-01."""

    day: int
    device: str
    device_time: int


@dataclass(frozen=True, slots=True)
class Pool:
    """The money of one programme and year, fen; `programmes` draw on it."""

    programme: str
    year: int
    amount: int
    issued: int
    granted: int
    stated: int | None
    budget: int | None
    programmes: list[str]


@dataclass(slots=True)
class Coupon:
    """What one coupon holds, fen."""

    enterprise: str
    programme: str
    year: int
    issued: int
    entitled: int
    granted: int


@dataclass(slots=True)
class Totals:
    """What was metered and granted under a contract, fen.

    `ineligible` is by reason. What of the cost is neither that nor withheld is eligible.
    """

    cost: int = 0
    withheld: int = 0
    ineligible: list[int] = field(default_factory=lambda: [0] * len(REASONS))
    entitled: int = 0
    granted: int = 0

    def add_costs(self, numerators: Iterable[int], denominator: int) -> None:
        """Put the numerators in: what is eligible, what is withheld, what is ineligible."""
        eligible, self.withheld, *self.ineligible = parts_of_cost(0, numerators, denominator)
        self.cost = eligible + self.withheld + sum(self.ineligible)


@dataclass(slots=True)
class PastContract:
    """A contract or award as it stood: its numerators, all and by reason, and its years.

    `years` have the numerator that is withheld, and entitled and granted fen.
    """

    used: int = 0
    ineligible: list[int] = field(default_factory=lambda: [0] * len(REASONS))
    years: dict[int, PastShare] = field(default_factory=dict)

    @property
    def withheld(self) -> int:
        """The numerator that is withheld."""
        return sum(each.withheld for each in self.years.values())

    @property
    def eligible(self) -> int:
        """The numerator that counts."""
        return self.used - self.withheld - sum(self.ineligible)

    def totals(self, denominator: int) -> Totals:
        """Return its totals."""
        found = Totals(
            entitled=sum(each.entitled for each in self.years.values()),
            granted=sum(each.granted for each in self.years.values()),
        )
        found.add_costs((self.eligible, self.withheld, *self.ineligible), denominator)
        return found


async def concerned(connection: Connection, subjects: Sequence[str], first: int) -> frozenset[str]:
    """Return which subjects segments concern that begin with entry `first` or later."""
    rows = await connection.fetch(_SQL["concerned"], subjects, first)
    return frozenset(subject for (subject,) in rows)


# Batches and streams


class Closed(NamedTuple):
    """The entry that closed a proposal, and whether it confirmed it."""

    entry: int
    is_confirmed: bool


@dataclass(frozen=True, slots=True)
class Suspect:
    """A batch that another may have signed; `counting` is the number of its unvoided records."""

    entry: int
    at: int
    payload: str
    stream: str
    seq: int
    counting: int


class HeldReceipt(NamedTuple):
    """The receipt of a batch, its signature, and the number of the batch's entry."""

    provider: str
    entry: int
    receipt: bytes
    signature: str


async def receipt(connection: Connection, payload: str) -> HeldReceipt | None:
    """Return the receipt of the batch whose payload has this hex sha256."""
    row = await connection.fetchrow(_SQL["receipt"], payload)
    return None if row is None else HeldReceipt(*row)


async def envelope(connection: Connection, payload: str) -> tuple[str, bytes] | None:
    """Return provider and envelope of a batch, also of one whose number was taken."""
    row = await connection.fetchrow(_SQL["envelope"], payload)
    return None if row is None else (row["provider"], row["envelope"])


class SignedBatch(NamedTuple):
    """A batch: the hex sha256 of its payload, its envelope, and its receipt's signature."""

    payload: str
    envelope: bytes
    signature: str


async def batch_of_entry(connection: Connection, entry: int) -> SignedBatch:
    """Return the batch whose entry has a number."""
    row = await connection.fetchrow(_SQL["batch_of_entry"], entry)
    assert row is not None, "an entry that came by a batch names its entry"
    return SignedBatch(*row)


@dataclass(frozen=True, slots=True)
class Batch:
    """A batch of a stream: its entry with that entry's bytes, and its payload's hex sha256."""

    entry: int
    seq: int
    payload: str
    data: bytes


async def batches(
    connection: Connection, provider: str, stream_name: str, before: tuple[int], limit: int
) -> Page[Batch]:
    """Return the batches of a stream below a number, the highest number first."""
    rows = await connection.fetch(_SQL["batches"], provider, stream_name, *before, limit + 1)
    read = await ledger_store.entries_at(connection, (row["entry"] for row in rows))
    found = [Batch(entry, seq, payload, read[entry]) for entry, seq, payload in rows]
    return _page(found, limit)


async def streams(
    connection: Connection, provider: str, after: tuple[str], limit: int
) -> Page[Stream]:
    """Return a provider's streams by name."""
    rows = await connection.fetch(_SQL["streams"], provider, *after, limit + 1)
    return _page([Stream(*row) for row in rows], limit)


async def stream(connection: Connection, provider: str, name: str) -> Stream | None:
    """Return one stream."""
    row = await connection.fetchrow(_SQL["stream"], provider, name)
    return None if row is None else Stream(*row)


async def summaries(
    connection: Connection, provider: str, after: tuple[str, int], limit: int
) -> Page[Summary]:
    """Return the newest summaries of a provider by stream and day."""
    rows = await connection.fetch(_SQL["summaries"], provider, *after, limit + 1)
    read = await ledger_store.entries_at(connection, (row["entry"] for row in rows))
    found = [Summary(stream, day, entry, read[entry]) for stream, day, entry in rows]
    return _page(found, limit)


async def gaps(
    connection: Connection, provider: str, name: str, after: tuple[int], limit: int
) -> Page[tuple[int, int]]:
    """Return the ranges of a stream's missing numbers that begin after a number, ends included."""
    rows = await connection.fetch(_SQL["gaps"], provider, name, *after, limit + 1)
    return _page([(first, last) for first, last in rows], limit)


async def gap_days(connection: Connection, providers: Sequence[str]) -> list[tuple[int, int]]:
    """Return the Shanghai days about which streams of some providers may lack usage, ends included.

    What a missing batch reports is taken to lie between the acceptance of the batches beside it.
    Where nothing was accepted before, or gaps are too many to be read, all days may lack some.
    """
    rows = await connection.fetch(_SQL["gap_days"], providers, MAX_GAPS_READ + 1)
    found = [
        (_ALWAYS if begin is None else day_of(begin // MICROSECONDS), day_of(end // MICROSECONDS))
        for begin, end in rows
    ]
    return found if len(found) <= MAX_GAPS_READ else [(_ALWAYS, -_ALWAYS)]


async def rejected(
    connection: Connection, provider: str, after: tuple[int, int, int], limit: int
) -> Page[Refusal]:
    """Return what was refused of a provider's batches, in the order in which it came."""
    rows = await connection.fetch(_SQL["rejected"], provider, *after, limit + 1)
    found = [Refusal((entry, place, number), *rest) for entry, place, number, *rest in rows]
    return _page(found, limit)


async def grants(connection: Connection, contracts: Sequence[str]) -> dict[str, dict[int, int]]:
    """Return what contracts were granted by year, in fen."""
    found: dict[str, dict[int, int]] = {name: {} for name in contracts}
    for contract, year, fen in await connection.fetch(_SQL["grants"], contracts):
        found[contract][year] = fen
    return found


async def has_changed(connection: Connection, subjects: Sequence[str], size: int, now: int) -> bool:
    """Return whether entries between two sizes concern any of some subjects, or there are any."""
    if not subjects or size == now:
        return size != now
    return bool(await connection.fetchval(_SQL["has_changed"], subjects, size))


# Contracts


async def totals(
    connection: Connection, contracts: Iterable[Contract], past: int | None = None
) -> dict[str, Totals]:
    """Return the totals of some contracts by their ids, now or as of a size of the ledger."""
    terms = {each.registered.id: each.terms for each in contracts}
    found = {name: Totals() for name in terms}
    if past is not None:
        for name, held in (await past_contracts(connection, list(found), past)).items():
            found[name] = held.totals(terms[name].denominator)
        return found
    for name, *numerators in await connection.fetch(_SQL["totals"], list(found)):
        found[name].add_costs(map(int, numerators), terms[name].denominator)
    for name, entitled, granted in await connection.fetch(_SQL["years"], list(found)):
        found[name].entitled += entitled
        found[name].granted += granted
    return found


async def past_contracts(
    connection: Connection, items: Sequence[str], size: int
) -> dict[str, PastContract]:
    """Return some contracts and awards as they stood after the commit that ended at a size."""
    found = {name: PastContract() for name in items}
    for name, used, *ineligible in await connection.fetch(_SQL["past_totals"], items, size):
        found[name].used, found[name].ineligible = int(used), list(map(int, ineligible))
    for name, year, *share in await connection.fetch(_SQL["past_years"], items, size):
        found[name].years[year] = PastShare(*map(int, share))
    return found


async def usage(
    connection: Connection,
    contracts: Sequence[str],
    days: range,
    after: tuple[int, str],
    limit: int,
) -> Page[UsageDay]:
    """Return the device-time of some contracts, summed by day and kind."""
    limit = _fair(limit, len(contracts))
    rows = await connection.fetch(
        _SQL["usage"], contracts, days.start, days.stop, *after, limit + 1
    )
    return _page([UsageDay(day, device, int(total)) for day, device, total in rows], limit)


async def records(  # noqa: PLR0913 - one argument for each filter
    connection: Connection,
    contracts: Sequence[str],
    statuses: Sequence[str],
    after: int,
    limit: int,
    *,
    changes: bool,
    newest: bool,
    size: int,
) -> Page[HeldEntry]:
    """Return the records of some contracts that now have one of some statuses, by their entries.

    They are those after an entry, or before it, `newest` first, as they stood when the ledger had a
    size. With `changes`, also the entries that voided and released any of them. A page ends early
    where its entries lie far apart.
    """
    limit = _fair(limit, len(contracts) * (len(statuses) + 2))
    if newest:
        place: tuple[Any, ...] = (min(after, size), limit + 1, changes)
    else:
        place = (after, limit + 1, changes, size)
    query = _SQL["newest_records" if newest else "records"]
    rows = await connection.fetch(query, contracts, statuses, *place)
    return await _held(connection, _page([dict(row) for row in rows], limit), size)


@dataclass(frozen=True, slots=True)
class Chosen:
    """Records by contract, status, and the Shanghai day on which they begin, and device kind."""

    contracts: Sequence[str]
    statuses: Sequence[str]
    days: range
    devices: Sequence[str]


async def chosen_records(  # noqa: PLR0913 - as for all records
    connection: Connection, chosen: Chosen, after: int, limit: int, *, newest: bool, size: int
) -> tuple[Page[HeldEntry], int]:
    """Return the chosen records after an entry, or before it, `newest` first; and the end of these.

    The usage of the days says between which entries they lie; not all in between are chosen. A page
    ends where it has read enough of them.
    """
    limit = _fair(limit, len(chosen.contracts) * len(chosen.statuses))
    own = chosen.contracts, chosen.statuses
    days = chosen.days.start, chosen.days.stop
    span = await connection.fetchrow(_SQL["span_of_days"], own[0], *days, chosen.devices)
    if span is None or span["first"] is None:
        return Page([], more=False), after
    first, last = span["first"], min(span["last"], size - 1)
    first, last = (first, min(last, after - 1)) if newest else (max(first, after + 1), last)
    prefix, most = "newest_" if newest else "", MAX_ROWS_READ // max(1, len(own[0]) * len(own[1]))
    end = await connection.fetchval(
        _SQL[f"{prefix}end_of_reading"], *own, first, last, max(1, most)
    )
    if end is not None:
        first, last = (end, last) if newest else (first, end)
    rows = await connection.fetch(
        _SQL[f"{prefix}chosen_records"], *own, first, last, *days, chosen.devices, limit + 1
    )
    page = await _held(connection, _page([dict(row) for row in rows], limit), size)
    if page.more or end is None:
        return page, page.items[-1].entry if page.items else after
    return Page(page.items, more=True), end


async def _held(connection: Connection, page: Page[dict[str, Any]], size: int) -> Page[HeldEntry]:
    numbers = [row["entry"] for row in page.items]
    entries = await ledger_store.entries_at(connection, numbers, MAX_ENTRIES_READ)
    rows = page.items[: len(entries)]
    found = [HeldEntry(data=entries[row["entry"]], **row).as_of(size) for row in rows]
    return Page(found, more=page.more or len(found) < len(page.items))


async def reported(
    connection: Connection, provider: str, run: str, after: str, limit: int
) -> Page[Reported]:
    """Return a provider's records by id; with a run, those whose id is the run's, `:` and more.

    A page ends early where its entries lie far apart.
    """
    first, last = (f"{run}:", f"{run};") if run else ("", "\x7f")  # ids are visible ASCII
    rows = await connection.fetch(_SQL["reported"], provider, after, first, last, limit + 1)
    page = _page([dict(row) for row in rows], limit)
    numbers = [_own(row) for row in page.items]
    every = itertools.chain.from_iterable(numbers)
    read = await ledger_store.entries_at(connection, every, MAX_ENTRIES_READ)
    # The first may lie behind all others, and each page has one at least.
    if numbers:
        read |= await ledger_store.entries_at(connection, numbers[0])
    found: list[Reported] = []
    for row in page.items:
        if not read.keys() >= _own(row):
            break
        void = None if row["voided"] is None else read[row["voided"]]
        found.append(Reported(row["id"], row["entry"], read[row["entry"]], row["voided"], void))
    return Page(found, more=page.more or len(found) < len(page.items))


async def not_counted(
    connection: Connection, contracts: Sequence[Contract], after: tuple[int, int], limit: int
) -> Page[NotCounted]:
    """Return the records of some contracts that were refused, or withheld in part."""
    limit = _fair(limit, 2 * len(contracts))
    terms = [contract.registered for contract in contracts]
    rows = await connection.fetch(
        _SQL["refused_or_withheld"],
        [each.id for each in terms],
        [each.provider for each in terms],
        *after,
        limit + 1,
    )
    return _page([_not_counted(dict(row)) for row in rows], limit)


async def to_review(
    connection: Connection, size: int, after: tuple[int], limit: int, provider: str = ""
) -> Page[ToReview]:
    """Return the records that a reviewer looks at, oldest first, of entries up to a size.

    They are of one provider, or of all. A fen or more is withheld of each, and it is neither
    released nor voided.
    """
    found: list[ToReview] = []
    runs_read = 0
    query: tuple[Any, ...] = (_SQL["to_review"], *after, size, limit + 1)
    if provider:
        query = (_SQL["to_review_of"], *query[1:], provider)
    async for row in connection.cursor(*query, prefetch=64):
        if len(found) == limit or runs_read >= MAX_RUNS_READ:
            return Page(found, more=True)
        found.append(_to_review(dict(row)))
        runs_read += len(row["quarters"])
    return Page(found, more=False)


# Suspects


async def suspects(
    connection: Connection, key: Key, after: tuple[int], limit: int
) -> tuple[Page[Suspect], tuple[int]]:
    """Return batches that a key signed since it is suspected, and the last entry of the page.

    A page ends between batches, for the entries of a batch's records follow its own.
    """
    if key.suspected_since is None:
        return Page([], more=False), after
    first = await ledger_store.size_at(connection, key.suspected_since - 1)
    provider, reached = key.registered.provider, max(after[0], first - 1)
    found: dict[int, tuple[_Suspected, list[RecordId]]] = {}
    read, more = 0, False
    most = MAX_ENTRIES_READ + MAX_BATCH_ITEMS + 2  # to the end of a batch
    async for number, data in entries_about(connection, f"provider:{provider}", reached, most):
        entry, read = msgspec.json.decode(data, type=_Suspected), read + 1
        if entry.batch in found:
            if entry.kind in ("usage", "purchase"):
                found[entry.batch][1].append((provider, entry.id))
        elif len(found) == limit or read > MAX_ENTRIES_READ:
            more = True
            break
        elif entry.kind == "batch" and entry.by == key.registered.keyid:
            found[number] = entry, []
        reached = number
    voided = await _voided(connection, [name for _, own in found.values() for name in own])
    items = [
        Suspect(
            number,
            batch.at,
            batch.payload,
            batch.stream,
            batch.seq,
            len(own) - len(voided.intersection(own)),
        )
        for number, (batch, own) in found.items()
    ]
    return Page(items, more), (reached,)


async def _voided(connection: Connection, names: Sequence[RecordId]) -> set[RecordId]:
    """Return those of some accepted records that were taken back."""
    providers, ids = [name[0] for name in names], [name[1] for name in names]
    rows = await connection.fetch(_SQL["voided"], providers, ids)
    return {(row["provider"], row["id"]) for row in rows}


class _Suspected(Struct):
    """The fields of a batch's entry and of its records' entries that are read here."""

    kind: str
    at: int
    by: str
    payload: str = ""
    stream: str = ""
    seq: int = 0
    batch: int = -1
    id: str = ""


# Money


async def pools(
    connection: Connection, after: tuple[str, int], limit: int, past: int | None = None
) -> Page[Pool]:
    """Return all pools by programme and year, now or as of a size of the ledger."""
    if past is None:
        rows = await connection.fetch(_SQL["pools"], *after, limit + 1)
    else:
        rows = await connection.fetch(_SQL["past_pools"], *after, limit + 1, past)
    return _page([Pool(**_whole(dict(row), "granted")) for row in rows], limit)


async def all_pools(connection: Connection) -> list[Pool]:
    """Return all pools by programme and year: a row for each year of a programme."""
    return (await pools(connection, ("", 0), MAX_ROWS_READ)).items


async def holders(connection: Connection, pool: Pool, day: int) -> int:
    """Return how many enterprises held coupons of a pool before a Shanghai day of the ledger."""
    count: int = await connection.fetchval(_SQL["holders"], pool.programmes, pool.year, day)
    return count


async def coupon_days(connection: Connection, coupon: CouponId) -> list[tuple[int, int, int]]:
    """Return the ledger days on which a coupon changed: issued and granted at its end, fen."""
    rows = await connection.fetch(_SQL["coupon_days"], *coupon)
    return [(day, int(issued), int(granted)) for day, issued, granted in rows]


async def pool_days(connection: Connection, pool: PoolId) -> list[tuple[int, int, int, int]]:
    """Return the ledger days on which a pool changed: amount, issued and granted at its end."""
    rows = await connection.fetch(_SQL["pool_days"], *pool)
    return [(day, *map(int, fen)) for day, *fen in rows]


async def coupons(
    connection: Connection, programme: str, year: int, after: tuple[str, str, int], limit: int
) -> Page[Coupon]:
    """Return coupons by enterprise, programme and year; an empty filter means all."""
    rows = await connection.fetch(_SQL["coupons"], programme, year, *after, limit + 1)
    return _page([Coupon(**_whole(dict(row), "entitled", "granted")) for row in rows], limit)


async def past_coupons(
    connection: Connection, items: Mapping[CouponId, Sequence[str]], size: int
) -> list[Coupon]:
    """Return those of some coupons that there were after the commit that ended at a size.

    `items` are the contracts and awards for which each paid by then.
    """
    names = sorted(set(itertools.chain.from_iterable(items.values())))
    held = await past_contracts(connection, names, size)
    columns = [[coupon[place] for coupon in items] for place in range(3)]
    found = []
    for row in await connection.fetch(_SQL["past_coupons"], *columns, size):
        coupon = Coupon(**row, entitled=0, granted=0)
        for name in items[coupon.enterprise, coupon.programme, coupon.year]:
            if share := held[name].years.get(coupon.year):
                coupon.entitled += share.entitled
                coupon.granted += share.granted
        found.append(coupon)
    return found


async def tokens(
    connection: Connection, role: Role | Literal[""], after: str, limit: int
) -> Page[ListedToken]:
    """Return tokens, and people who sign in, of a role or of all where it is empty, after an id."""
    rows = await connection.fetch(_SQL["tokens"], role, after, limit + 1)
    return _page([ListedToken(Identity(*row[:3]), *row[3:]) for row in rows], limit)


async def closed_proposals(connection: Connection, numbers: Sequence[int]) -> dict[int, Closed]:
    """Return what closed some proposals, by number; those that only grew old are not there."""
    rows = await connection.fetch(_SQL["closed_proposals"], numbers)
    return {row["proposal"]: Closed(row["entry"], row["is_confirmed"]) for row in rows}


# Entries


async def entries_about(
    connection: Connection, subject: str, after: int, most: int
) -> AsyncIterator[tuple[int, bytes]]:
    """Yield the entries after a number of each segment that concerns a subject, in order.

    Not each entry concerns it; see `rules.subjects`. At least `most` are yielded if there are as
    many, and no segment more than that takes.
    """
    start = await ledger_store.segment_start(connection, after + 1)
    breath = Breath()
    query = (_SQL["segments_about"], subject, start, most + after + 1 - start)
    async for first, count, bundle in connection.cursor(*query, prefetch=16):
        for number, data in enumerate(decode_bundle(bundle, count), first):
            if number > after:
                await breath.take()  # whoever reads them decodes them
                yield number, data


async def entries_of_batch(
    connection: Connection, payload: str, after: int
) -> AsyncIterator[tuple[int, bytes]]:
    """Yield the entries after a number that one batch made, its own among them."""
    row = await connection.fetchrow(_SQL["batch_entry"], payload)
    if row is None:
        return
    first, stop = row["entry"], row["entry"] + row["entries"]
    async for number, data in ledger_store.entries(connection, max(first, after + 1), stop):
        yield number, data


async def entries_of_record(
    connection: Connection, record: str, providers: Sequence[str], after: int
) -> AsyncIterator[tuple[int, bytes]]:
    """Yield the entries after a number that accepted, released and voided records of an id."""
    rows = await connection.fetch(_SQL["record_entries"], record, providers)
    numbers = [number for row in rows for number in row if number is not None and number > after]
    for number, data in sorted((await ledger_store.entries_at(connection, numbers)).items()):
        yield number, data


def _own(row: dict[str, Any]) -> set[int]:
    """Return the entries that accepted a record and took it back."""
    return {row["entry"], row["voided"]} - {None}


def _before(entry: int | None, size: int) -> int | None:
    """Return an entry that a ledger of a size holds, or none."""
    return entry if entry is not None and entry < size else None


def _fair(limit: int, parts: int) -> int:
    """Return how many items a page can have where each is chosen from as many for each part."""
    return max(1, min(limit, MAX_ROWS_READ // max(1, parts)))


def _page(found: list[T], limit: int) -> Page[T]:
    """Return a page of items; one beyond the limit was read to see whether there are more."""
    return Page(found[:limit], more=len(found) > limit)


def _whole(row: dict[str, Any], *sums: str) -> dict[str, Any]:
    """Return a row's columns by name, with integers for sums, which come as `Decimal`."""
    return {**row, **{name: int(row[name]) for name in sums}}


def _to_review(row: dict[str, Any]) -> ToReview:
    names = ("quarters", "counts", "device_times", "limits")
    runs = [Withheld(*run) for run in zip(*map(row.pop, names), strict=True)]
    withheld = sum(run.total for run in runs)
    return ToReview(withheld=withheld, evidence=evidence_of(runs), **row)


def _not_counted(row: dict[str, Any]) -> NotCounted:
    return NotCounted(key=(row.pop("entry"), row.pop("place")), **row)
