"""GET: balances, contracts, entries, the checkpoint, and the service's own state.

Responses come from committed rows in one snapshot, so they include every batch that was answered
before the query; `as_of` has the number of entries, and the instant of the last of them.
"""

from collections.abc import AsyncIterator
from dataclasses import asdict
from typing import Annotated, Any, Final

import msgspec
from aiohttp import hdrs, web
from msgspec import UNSET, Meta, Struct, UnsetType

from ledger import canon
from ledger import store as ledger_store
from ledger.store import Head
from ledger.tlog import leaf_hash
from meter.api.cursor import Limit
from meter.api.past import CODES, Asked, AsOfQuery, parse_instant, shown
from meter.api.responses import (
    AwardShare,
    Balance,
    ContractShare,
    ContractView,
    EntryPage,
    EntryView,
    Status,
    YearShare,
    as_of,
    costs_by_reason,
    funds_view,
    price_view,
)
from meter.api.routes import NOT_YOURS, Ask, Route, with_etag
from meter.rules.contract_terms import step_of
from meter.rules.kinds.table import KindName, read_entry
from meter.rules.rating import cost, parts_of_cost
from meter.rules.state import Contract, CouponId, State
from meter.rules.subjects import subjects_of
from meter.tables import balances, connections, pages
from meter.tables.registry import Registered
from meter.values.policy import Policy
from meter.values.problems import Problem
from meter.values.roles import OFFICIALS
from meter.values.strict import Id, Uscc, VisibleAscii, Year
from meter.values.units import MICROSECONDS, day_of, format_money
from meter.views.events import Viewer
from meter.views.told import is_told
from meter.wire.batch import Sha256Hex

MAX_NUMBER: Final = 2**53 - 1
_BYTES_FOR_ONE: Final[dict[str, str]] = {
    hdrs.CONTENT_TYPE: "application/octet-stream",
    hdrs.CACHE_CONTROL: "private, no-cache",
}
METRICS_HEADERS: Final = {"Content-Type": "text/plain; version=0.0.4; charset=utf-8"}


class BalanceQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """The coupon of an enterprise, and the size or instant for which it is shown."""

    programme: Annotated[str, Meta(max_length=64)]
    year: Year
    as_of: Asked = ""


class EntriesQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """A page of the entries after a number that match every filter.

    `contract`, `award`, `project`, `provider` and `enterprise` find what concerns them; `person`
    what a person of the authority did; `record` what accepted, released or voided records of this
    id; `batch` what the batch with this digest made.
    """

    after: Annotated[int, Meta(ge=-1, le=MAX_NUMBER)] = -1
    limit: Limit = 100
    kind: KindName | UnsetType = UNSET
    contract: Id | UnsetType = UNSET
    award: Id | UnsetType = UNSET
    project: Id | UnsetType = UNSET
    person: Id | UnsetType = UNSET
    record: VisibleAscii | UnsetType = UNSET
    provider: Id | UnsetType = UNSET
    batch: Sha256Hex | UnsetType = UNSET
    enterprise: Uscc | UnsetType = UNSET


async def get_balance(ask: Ask) -> Balance:
    """What is left of an enterprise's coupon of a programme and year."""
    uscc, programme, year = ask.path("uscc"), ask.query.programme, ask.query.year
    coupon = (uscc, programme, year)
    past = bool(ask.query.as_of)
    async with ask.reading(snapshot=past) as connection:
        if past:
            head, known = await ask.context.snapshot(connection)
            policy = policy_of_coupon(known, coupon)
            size = await _size_at(connection, head, ask.query.as_of)
            balance = await _past_balance(connection, known.state, coupon, size)
        else:
            balance = await balances.balance(connection, coupon)
            known = await ask.context.registry.at(connection, balance.size)
            policy = policy_of_coupon(known, coupon)
    held = known.state.contracts
    contracts = [
        (share, _withheld(share, held[share["contract"]]))
        for share in balance.shares
        if share["contract"] in held
    ]
    granted = sum(share["granted"] for share in balance.shares)
    entitled = sum(share["entitled"] for share in balance.shares)
    return Balance(
        enterprise=uscc,
        programme=programme,
        year=year,
        issued=format_money(balance.issued),
        granted=format_money(granted),
        remaining=format_money(balance.issued - granted),
        entitled=format_money(entitled),
        uncovered=format_money(entitled - granted),
        withheld=format_money(sum(fen for _, fen in contracts)),
        cap=UNSET if policy.cap is None else format_money(policy.cap),
        contracts=[
            ContractShare(contract=share["contract"], **_share(share, fen))
            for share, fen in contracts
        ],
        awards=[
            AwardShare(award=share["contract"], granted=format_money(share["granted"]))
            for share in balance.shares
            if share["contract"] in known.state.awards
        ],
        as_of=as_of(balance.size, balance.last_at),
    )


def policy_of_coupon(known: Registered, coupon: CouponId) -> Policy:
    """Return the policy that allows such a coupon. Raises `Problem`."""
    uscc, programme, year = coupon
    if known.enterprise(uscc) is None:
        raise Problem("unknown_enterprise", f"no enterprise {uscc}")
    return policy_of_year(known, programme, year)


def policy_of_year(known: Registered, programme: str, year: int) -> Policy:
    """Return the policy of a programme that touches a year. Raises `Problem`."""
    policy = known.policy_of(programme, year)
    if policy is None:
        raise Problem("unknown_programme", f"no policy of {programme!r} touches {year}")
    return policy


async def _size_at(connection: connections.Connection, head: Head, as_of: str) -> int:
    """Return the size of the ledger that is asked for, as a number or as an instant."""
    if as_of.isascii() and as_of.isdigit():
        size = int(as_of)
    else:
        size = await ledger_store.size_at(connection, parse_instant(as_of))
    if not 1 <= size <= head.size:
        raise Problem("malformed", f"as_of: the ledger has had 1 to {head.size} entries")
    return size


async def _past_balance(
    connection: connections.Connection, state: State, coupon: CouponId, size: int
) -> balances.Balance:
    """Return the balance as of a size of the ledger."""
    past = await balances.past_balance(connection, state, coupon, size)
    last = canon.decode((await ledger_store.entries_at(connection, [size - 1]))[size - 1])
    shares = [{"contract": name, **asdict(share)} for name, share in sorted(past.shares.items())]
    return balances.Balance(size, last["at"], past.issued, shares)


async def get_contract(ask: Ask) -> ContractView:
    """A contract's terms and what was metered and granted under it.

    Its provider is told no project, no earlier contract and no other public money.
    """
    async with ask.reading() as connection:
        head, known, past, _ = await shown(ask, connection)
        contract = known.contract(ask.path("contract"))
        if contract is None:
            raise Problem("unknown_contract", f"no contract {ask.path('contract')}")
        terms = known.terms(contract).agreed
        ask.must_be_theirs(enterprise=terms.enterprise, provider=terms.provider)
        if past is None:
            totals = await balances.contract_totals(connection, terms.id)
        else:
            totals = await balances.past_contract_totals(connection, terms.id, past, head.last_at)
    assert ask.who is not None, "contracts are not public"
    return _contract_view(known, contract, totals, whole=ask.who.role != "provider")


def _contract_view(
    known: Registered, contract: Contract, totals: balances.ContractTotals, *, whole: bool
) -> ContractView:
    """Return the `whole` of a contract, or what its provider is told."""
    held = known.terms(contract)
    terms = held.agreed
    today = step_of(held.steps, day_of(totals.last_at // MICROSECONDS))
    by_year = [_withheld(share, contract) for share in totals.years]
    numerators = totals.eligible, sum(int(each["withheld"]) for each in totals.years)
    eligible, withheld, *ineligible = parts_of_cost(
        0, (*numerators, *totals.ineligible), contract.terms.denominator
    )
    return ContractView(
        id=terms.id,
        entry=contract.entry,
        contract_no=terms.contract_no,
        programme=terms.programme,
        policy=terms.policy,
        enterprise=terms.enterprise,
        provider=terms.provider,
        project=terms.project if whole else UNSET,
        follows=terms.follows if whole else UNSET,
        ratio_class=terms.ratio_class,
        amount=format_money(terms.amount),
        signed_on=terms.signed_on,
        starts=terms.starts,
        ends=terms.ends,
        use=terms.use,
        prices={device: price_view(price) for device, price in today.prices.items()},
        max_devices=today.max_devices,
        related_party=terms.related_party,
        funds=funds_view(contract.sums(known.size)) if whole else UNSET,
        amendments=[number for number, _ in contract.amendments if number < known.size],
        frozen=known.is_frozen(contract),
        cost=format_money(eligible + withheld + sum(ineligible)),
        eligible=format_money(eligible),
        withheld=format_money(withheld),
        ineligible=format_money(sum(ineligible)),
        reasons=costs_by_reason(ineligible),
        years=[
            YearShare(year=share["year"], **_share(share, fen))
            for share, fen in zip(totals.years, by_year, strict=True)
        ],
        rounding=format_money(withheld - sum(by_year)),
        as_of=as_of(totals.size, totals.last_at),
    )


async def get_entries(ask: Ask) -> EntryPage:
    """Entries after a number, oldest first, all or those that filters find."""
    query: EntriesQuery = ask.query
    async with ask.reading() as connection:
        head, known = await ask.context.snapshot(connection)
        entries = _candidates(connection, known, query)
        page, read, last = [], 0, query.after
        more = False
        async for number, data in entries:
            read, last = read + 1, number
            if _is_asked_for(known.state, query, data):
                page.append(_entry(number, data))
            if len(page) == query.limit or read >= pages.MAX_ENTRIES_READ:
                more = number < head.size - 1
                break
    # At the end of what there is, all of the ledger was searched.
    reached = last if more else max(query.after, head.size - 1)
    return EntryPage(page, reached, more, as_of(head.size, head.last_at))


def _candidates(
    connection: connections.Connection, known: Registered, query: EntriesQuery
) -> AsyncIterator[tuple[int, bytes]]:
    """Yield entries after a number, in order: all that match the filters, and few others."""
    if query.batch is not UNSET:
        return pages.entries_of_batch(connection, query.batch, query.after)
    if query.record is not UNSET:
        providers = [each.registered.id for each in known.providers()]
        if query.provider is not UNSET:
            providers = [query.provider]
        return pages.entries_of_record(connection, query.record, providers, query.after)
    subjects = _subjects(query)
    if not subjects:
        end = min(known.size, query.after + 1 + query.limit)
        return ledger_store.entries(connection, query.after + 1, end)
    most = pages.MAX_ENTRIES_READ + 1  # one more, to see whether there are
    return pages.entries_about(connection, subjects[0], query.after, most)


def _subjects(query: EntriesQuery) -> list[str]:
    """Return the subjects of the filters, as `rules.subjects` names them, the rarest first."""
    asked: list[tuple[str, str | UnsetType]] = [
        ("contract", query.contract),
        ("award", query.award),
        ("project", query.project),
        ("person", query.person),
        ("enterprise", query.enterprise),
        ("provider", query.provider),
    ]
    # Each batch of records has entries of these kinds.
    asked.insert(len(asked) if query.kind in ("usage", "batch") else 1, ("kind", query.kind))
    return [f"{name}:{value}" for name, value in asked if value is not UNSET]


def _is_asked_for(state: State, query: EntriesQuery, data: bytes) -> bool:
    subjects = _subjects(query)
    if not subjects and query.record is UNSET:
        return True  # all of a batch, or all that there are
    # Canonical JSON has one spelling of it, and no text can hold bare quotes.
    if query.kind is not UNSET and f'"kind":"{query.kind}"'.encode() not in data:
        return False
    entry = read_entry(canon.decode(data))
    if query.record not in (UNSET, getattr(entry, "id", None)):
        return False
    return subjects_of(state, entry).issuperset(subjects)


async def get_entry(ask: Ask) -> EntryView:
    """One entry, its bytes embedded as they are, and its leaf hash."""
    return _entry(*await _told_entry(ask))


async def get_entry_bytes(ask: Ask) -> web.Response:
    """One entry's canonical bytes, and nothing else."""
    _, data = await _told_entry(ask)
    return with_etag(ask.request, data, _BYTES_FOR_ONE)


async def _told_entry(ask: Ask) -> tuple[int, bytes]:
    """Return the number and the bytes of an entry that the token's subject may read."""
    assert ask.who is not None, "entries are not public"
    number = entry_number(ask.path("entry"))
    async with ask.reading() as connection:
        _, known = await ask.context.snapshot(connection)
        found = await ledger_store.entries_at(connection, [number])
    if number not in found:
        raise Problem("not_found", f"no entry {number}")
    entry, who = read_entry(canon.decode(found[number])), Viewer(ask.who.role, ask.who.subject)
    if not is_told(known.state, known.size, number, entry, who):
        raise Problem("not_found", NOT_YOURS)
    return number, found[number]


async def get_health(_ask: Ask) -> Status:
    """The process answers."""
    return Status("ok")


async def get_readiness(ask: Ask) -> Status:
    """The service can commit, and has a connection for queries."""
    if not ask.context.submissions.ready:
        raise Problem("unavailable", "the ledger is being loaded")
    await ask.context.probe.check()
    return Status("ready")


async def get_metrics(ask: Ask) -> web.Response:
    """Prometheus metrics, without those of money."""
    return web.Response(body=await ask.context.all_metrics(), headers=METRICS_HEADERS)


def _share(share: dict[str, Any], withheld: int) -> dict[str, str]:
    entitled, granted = share["entitled"], share["granted"]
    return {
        "entitled": format_money(entitled),
        "granted": format_money(granted),
        "uncovered": format_money(entitled - granted),
        "withheld": format_money(withheld),
    }


def _withheld(share: dict[str, Any], contract: Contract) -> int:
    """Return the cost of what was withheld in a year; the numerator may be large, so it is text."""
    return cost(int(share["withheld"]), contract.terms.denominator)


def _entry(number: int, data: bytes) -> EntryView:
    return EntryView(number, leaf_hash(data).hex(), msgspec.Raw(data))


def entry_number(text: str) -> int:
    """Read the number of an entry in a URL. Raises `malformed`."""
    if not (text.isascii() and text.isdigit() and len(text) <= 15):
        raise Problem("malformed", f"{text!r} is not the number of an entry")
    return int(text)


ROUTES: Final = [
    Route(
        "GET",
        "/v1/enterprises/{uscc}/balance",
        get_balance,
        "What a coupon holds, and each contract's share",
        Balance,
        roles=(*OFFICIALS, "enterprise"),
        query=BalanceQuery,
        codes=("unknown_enterprise", "unknown_programme"),
    ),
    Route(
        "GET",
        "/v1/contracts/{contract}",
        get_contract,
        "A contract's terms, cost and grants",
        ContractView,
        roles=(*OFFICIALS, "enterprise", "provider"),
        query=AsOfQuery,
        codes=("unknown_contract", *CODES),
    ),
    Route(
        "GET",
        "/v1/entries",
        get_entries,
        "Entries of the ledger, in order",
        EntryPage,
        roles=OFFICIALS,
        is_large=True,
        query=EntriesQuery,
    ),
    Route(
        "GET",
        "/v1/entries/{entry}",
        get_entry,
        "One entry of the ledger",
        EntryView,
        roles=(*OFFICIALS, "enterprise", "provider"),
    ),
    Route(
        "GET",
        "/v1/entries/{entry}/bytes",
        get_entry_bytes,
        "The canonical bytes of one entry",
        "application/octet-stream",
        roles=(*OFFICIALS, "enterprise", "provider"),
    ),
    Route("GET", "/healthz", get_health, "The process answers", Status),
    Route("GET", "/readyz", get_readiness, "The service can commit and be queried", Status),
    Route("GET", "/metrics", get_metrics, "Prometheus metrics", "text/plain"),
]
