"""The snapshot of a state: what its entries come to, in bytes that anybody can compute again.

A state is its registrations, which are entries of the log, and the totals beside them. A snapshot
has the totals, and a digest of the registrations, so it repeats none of them. It is one object of
canonical JSON (`ledger.canon`) on the first `size` entries, the last of them at `last_at`:

    {"contracts":[{"eligible":[[2025,"2025-07","108000000000"]],"id":"A",
        "ineligible":["0","0","0","0","0"],"shares":[[2025,"0",120000,90000]],
        "used":"108000000000"}],
     "coupons":[["91440300708461136T","training-coupon",2025,500000,90000]],
     "disputes":[["pcl","r-17",81]],"last_at":1740801600000000,
     "months":[["2025-02",0,40,[["A",30000,20000]]]],"pools":[["training-coupon",2025,500000]],
     "proposals":[[12,14]],"registered":"…","running":["2025-03",40,[["A",30000,20000]]],
     "size":96,"streams":[["pcl","main",7,[[3,4]]]],"v":1}

    contracts    numerators: used, those that count for nothing by reason, the eligible ones by year
                 and policy; by year the withheld one, entitled and granted fen. Without usage
                 there is none.
    coupons      enterprise, programme, year; issued and granted fen
    disputes     provider and id of each record whose dispute has ended, and by which entry
    months       those that are over and not closed: first entry, end, what each item booked
    pools        programme and year; issued fen
    proposals    each that is closed, and by which entry
    registered   hex digest of the registrations (`State.registered`)
    running      the month of the last entry, its first entry, and what items came to before it
    streams      provider, stream, last number, and the ranges below it that are missing

Lists are in the order of their first values. It does not have what a service looks up when a batch
names it: records, batches, device-time in use, days of usage, summaries, idempotency keys. All that
stands in the entries of the log, or follows from them.
"""

from collections.abc import Iterator
from hashlib import sha256
from typing import Final, Literal

import msgspec
from msgspec import Struct

from ledger import canon
from ledger.bundle import MAX_ATTACHMENT_BYTES
from ledger.errors import LedgerError
from meter.rules.contract_terms import eligible_usage
from meter.rules.month_book import Booked, Month, Numbers
from meter.rules.months import numbers_of
from meter.rules.rating import entitle
from meter.rules.state import Contract, Share, State
from meter.values.text import folded

_Items = list[tuple[str, int, int]]  # item; cost and granted, fen


class BadSnapshot(LedgerError):  # noqa: N818 - it is a finding about a snapshot
    """A snapshot that is none, or not of these registrations."""

    code = "bad_snapshot"


class _ContractTotals(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    id: str
    used: str
    ineligible: list[str]
    eligible: list[tuple[int, str, str]]
    shares: list[tuple[int, str, int, int]]


class _Totals(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    v: Literal[1] = 1
    size: int
    last_at: int
    registered: str
    contracts: list[_ContractTotals]
    coupons: list[tuple[str, str, int, int, int]]
    disputes: list[tuple[str, str, int]]
    months: list[tuple[str, int, int, _Items]]
    pools: list[tuple[str, int, int]]
    proposals: list[tuple[int, int]]
    running: tuple[str, int, _Items]
    streams: list[tuple[str, str, int, list[tuple[int, int]]]]


_NO_SHARE: Final = Share()
_decoder: Final = msgspec.json.Decoder(_Totals)


def write(state: State) -> bytes:
    """Return the snapshot of a state; the numbers of all streams are loaded."""
    book = state.months
    return canon.spell(
        _Totals(
            size=state.size,
            last_at=state.last_at,
            registered=state.registered.hex(),
            contracts=list(_contracts(state)),
            coupons=sorted(
                (*name, issued, state.granted.get(name, 0))
                for name, issued in state.coupons.items()
            ),
            disputes=sorted(
                (*name, each.ended)
                for name, each in state.disputes.items()
                if each.ended is not None
            ),
            months=sorted(
                (name, month.first, month.end, _items(month.booked))
                for name, month in book.over.items()
                if name not in book.closed
            ),
            pools=sorted((*name, pool.issued) for name, pool in state.pools.items()),
            proposals=sorted(
                (number, each.closed)
                for number, each in state.people.proposals.items()
                if each.closed is not None
            ),
            running=(book.running, book.first, _items(book.marks)),
            streams=sorted(
                (*name, held.last, [(first, last) for first, last, _ in held.gaps])
                for name, held in numbers_of(state).items()
            ),
        )
    )


def digest_of(snapshot: bytes) -> str:
    """Return the hex digest of a snapshot: SHA-256 of its bytes."""
    return sha256(snapshot).hexdigest()


def files_of(snapshot: bytes) -> list[bytes]:
    """Return a snapshot as the files that lie beside its entry: one, unless it is too long."""
    starts = range(0, len(snapshot), MAX_ATTACHMENT_BYTES)
    return [snapshot[start : start + MAX_ATTACHMENT_BYTES] for start in starts]


def resume(state: State, snapshot: bytes) -> None:
    """Put a snapshot into a state that has its registrations, and nothing else.

    It decides as the first one did, once what is looked up is loaded. Raises `BadSnapshot`.
    """
    totals = _parse(snapshot)
    if state.registered.hex() != totals.registered:
        raise BadSnapshot("it is not of these registrations")
    state.size, state.last_at = totals.size, totals.last_at
    try:
        _resume(state, totals)
    except (LookupError, ValueError) as error:
        raise BadSnapshot(f"{type(error).__name__}: {error}") from None
    state.take_touched()


def _parse(snapshot: bytes) -> _Totals:
    try:
        totals = _decoder.decode(snapshot)
    except (ValueError, RecursionError) as error:
        raise BadSnapshot(str(error)) from None
    if canon.spell(totals) != snapshot:
        raise BadSnapshot("it has another spelling")
    return totals


def _contracts(state: State) -> Iterator[_ContractTotals]:
    for name, contract in sorted(state.contracts.items(), key=lambda held: held[0]):
        shares = [
            (year, str(share.withheld), share.entitled, share.granted)
            for year, share in sorted(contract.shares.items(), key=lambda held: held[0])
            if share != _NO_SHARE
        ]
        if contract.used:
            yield _ContractTotals(
                id=name,
                used=str(contract.used),
                ineligible=list(map(str, contract.ineligible)),
                eligible=[
                    (each.year, each.policy, str(each.eligible))
                    for each in contract.segments
                    if each.eligible
                ],
                shares=shares,
            )


def _items(booked: dict[str, Booked]) -> _Items:
    return sorted((name, *fen) for name, fen in booked.items() if fen != (0, 0))


def _resume(state: State, totals: _Totals) -> None:
    """Put the totals into a state that knows its registrations."""
    for each in totals.contracts:
        _resume_contract(state.contracts[each.id], each)
    for enterprise, programme, year, issued, granted in totals.coupons:
        state.coupons[enterprise, programme, year] = issued
        state.granted[enterprise, programme, year] = granted
    for programme, year, issued in totals.pools:
        state.pools[programme, year].issued = issued
    for provider, name, ended in totals.disputes:
        state.disputes[provider, name].ended = ended
    for number, closed in totals.proposals:
        state.people.close(number, closed)
    for month, first, end, items in totals.months:
        state.months.over[month] = Month(first, end, _booked(items))
    running, first, items = totals.running
    if running:
        state.months.begin(state.last_at, first, _booked(items))
    for provider, stream, last, gaps in totals.streams:
        held = state.numbers[provider, stream] = Numbers(last)
        held.gaps = [(*gap, 0) for gap in gaps]
        state.streams[provider, folded(stream)] = stream


def _resume_contract(contract: Contract, totals: _ContractTotals) -> None:
    contract.used = int(totals.used)
    contract.ineligible = list(map(int, totals.ineligible))
    eligible = {(year, policy): int(numerator) for year, policy, numerator in totals.eligible}
    for segment in contract.segments:
        segment.eligible = eligible.get((segment.year, segment.policy), 0)
    contract.entitlement = entitle(eligible_usage(contract.segments), contract.terms)
    for year, withheld, entitled, granted in totals.shares:
        contract.shares[year] = Share(int(withheld), entitled, granted)


def _booked(items: _Items) -> dict[str, Booked]:
    return {name: (cost, granted) for name, cost, granted in items}
