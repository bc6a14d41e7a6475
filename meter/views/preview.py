"""What a command would do by now: what it would be answered, and figures before and after it.

The rules judge and apply the command as they do when it is given, on a state that is thrown away.
Whether its person may give it is not asked; how many persons it needs is told.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, Literal

from msgspec import UNSET

from meter.rules.claim_book import ItemYear, invoice_name
from meter.rules.commands import (
    ActivatePolicy,
    AllocatePool,
    AmendContract,
    ApproveClaim,
    ChangeAward,
    CloseYear,
    Command,
    EnlistProvider,
    EnterRedInvoice,
    ExpireCoupons,
    ForfeitGrant,
    FreezeContract,
    FundContract,
    IssueCoupon,
    MakeAward,
    OrderClaim,
    PayClaim,
    RecoverDebt,
    RegisterContract,
    RegisterKey,
    RegisterProvider,
    ReleaseRecord,
    ReturnPayment,
    RevokeClaim,
    RevokeKey,
    SetBudget,
    UnfreezeContract,
    VoidRecord,
    WithdrawCoupon,
)
from meter.rules.decide_command import entries_following, entry_of, judge, response_to
from meter.rules.evolve import evolve
from meter.rules.items import debt_of, grounds_of, known_item
from meter.rules.kinds.coupons import issued_to_firm, need_of, rented_amount
from meter.rules.kinds.kind import Existing, Stamp
from meter.rules.rating import cost
from meter.rules.state import Contract, CouponId, State
from meter.rules.two_persons import needs_two
from meter.values.units import parse_date, year_of

# All are fen but `devices`, `keys` and `frozen` (1 or 0). `cap_left` is what the cap still lets a
# firm be issued, `need_left` what its contracts still could; `rented` is what the threshold asks.
FigureName = Literal[
    "pool",
    "pool_left",
    "cap_left",
    "need_left",
    "rented",
    "issued",
    "granted",
    "remaining",
    "uncovered",
    "amount",
    "support_limit",
    "cost",
    "entitled",
    "frozen",
    "devices",
    "keys",
    "limit",
    "forfeited",
    "payable",
    "paid",
    "debt",
    "cash",
]
COUNTS: Final = ("frozen", "devices", "keys")
# Name, what it is of (an id, or a device kind), and its year; 0 where it has none.
FigureId = tuple[FigureName, str, int]


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure before and after a command; None where there is nothing of it yet."""

    id: FigureId
    before: int | None
    after: int | None


@dataclass(frozen=True, slots=True)
class Preview:
    """What would happen: the response to the command, with the number of its entry, and figures.

    The entry `exists` where one holds the same already; nothing would change then. `persons` is how
    many the command needs.
    """

    response: dict[str, Any]
    exists: bool
    persons: int
    figures: list[Figure]


def preview(state: State, command: Command, stamp: Stamp) -> Preview:
    """Return what a command would do; the state is changed by it. Raises `Problem` as giving it."""
    assert state.genesis is not None, "entry 0 comes first"
    persons = 2 if needs_two(state.genesis, command) else 1
    judged = judge(state, command, stamp)
    if isinstance(judged, Existing):
        return Preview({"entry": judged.entry}, True, persons, [])
    before = dict(_figures(state, command))
    number, person = state.size, state.people.person_of(stamp.by) or ""
    entry = entry_of(command, stamp, person, *judged)
    evolve(state, entry)
    response = response_to(state, number, entry)
    for each in entries_following(state, number, entry):
        evolve(state, each)
    after = dict(_figures(state, command))
    names = dict.fromkeys([*after, *before])
    figures = [Figure(name, before.get(name), after.get(name)) for name in names]
    return Preview(response, False, persons, figures)


def _figures(state: State, command: Command) -> Iterator[tuple[FigureId, int]]:
    """Yield the figures that a command is about, as they are."""
    yield from _of_money(state, command)
    yield from _of_contracts(state, command)
    yield from _of_providers(state, command)
    yield from _of_claims(state, command)


def _of_money(state: State, command: Command) -> Iterator[tuple[FigureId, int]]:
    match command:
        case IssueCoupon() | WithdrawCoupon():
            coupon = (command.enterprise, command.programme, command.year)
            yield from _pool(state, command.programme, command.year)
            yield from _room(state, coupon)
            yield from _coupon(state, coupon)
        case AllocatePool():
            yield from _pool(state, command.programme, command.year)
            for enterprise, _ in command.requests:
                coupon = (enterprise, command.programme, command.year)
                yield ("issued", enterprise, command.year), state.coupons.get(coupon, 0)
        case MakeAward():
            coupon = (command.enterprise, command.programme, command.year)
            yield from _award(state, command.id, coupon)
        case ChangeAward():
            made = state.awards[command.award].made
            of_year = (made.enterprise, made.programme, made.year)
            yield from _award(state, command.award, of_year)
        case ActivatePolicy():
            for (owner, year), pool in state.pools.items():
                if command.programme in pool.programmes:
                    yield ("pool", owner, year), pool.amount
                    yield ("pool_left", owner, year), pool.amount - pool.issued
        case ExpireCoupons() | CloseYear() | SetBudget():
            yield from _pool(state, command.programme, command.year)
        case _:
            pass


def _of_contracts(state: State, command: Command) -> Iterator[tuple[FigureId, int]]:
    match command:
        case RegisterContract():
            yield from _of_contract(state, command.id)
            yield from _of_years(state, command)
        case AmendContract() | FundContract():
            yield from _of_contract(state, command.contract)
            yield from _coupons_of(state, state.contracts[command.contract], with_need=True)
        case ReleaseRecord() | VoidRecord():
            held = state.record(command.provider, command.id)
            if held is not None:
                yield from _of_contract(state, held.usage.contract)
                yield from _coupons_of(state, state.contracts[held.usage.contract])
        case FreezeContract() | UnfreezeContract():
            contract = state.contracts[command.contract]
            yield ("frozen", command.contract, 0), int(contract.frozen)
        case _:
            pass


def _of_years(state: State, command: RegisterContract) -> Iterator[tuple[FigureId, int]]:
    """Yield what a firm rents and could need in the years of a new contract."""
    firm, programme = command.enterprise, command.programme
    begin, end = parse_date(command.starts), parse_date(command.ends)
    for year in range(year_of(begin), year_of(end - 1) + 1):
        yield ("rented", firm, year), rented_amount(state, programme, firm, year)
        yield from _need(state, (firm, programme, year))


def _of_providers(state: State, command: Command) -> Iterator[tuple[FigureId, int]]:
    match command:
        case RegisterProvider():
            if command.devices is not UNSET and command.enlisted is not UNSET:
                yield from _devices(state, command.id, command.devices, command.enlisted.starts)
        case EnlistProvider():
            yield from _devices(state, command.provider, command.devices, command.enlisted.starts)
        case RegisterKey():
            yield from _keys(state, command.provider)
        case RevokeKey():
            yield from _keys(state, state.keys[command.keyid].registered.provider)
        case _:
            pass


def _of_claims(state: State, command: Command) -> Iterator[tuple[FigureId, int]]:
    match command:
        case ApproveClaim() | RevokeClaim() | OrderClaim() | PayClaim() | ReturnPayment():
            claim = state.claims.claim(command.claim)
            if claim is not None:
                yield from _account(state, claim.item_year)
                yield ("cash", command.claim, 0), claim.cash
        case RecoverDebt() | ForfeitGrant():
            yield from _account(state, (command.item, command.year))
        case EnterRedInvoice():
            bound = state.claims.bound_to(invoice_name(command.number))
            for item in sorted({each.entered.item for each in bound}):
                yield from _account(state, (item, command.year))
        case _:
            pass


def _account(state: State, item_year: ItemYear) -> Iterator[tuple[FigureId, int]]:
    """Yield what may be paid for an item and year, and is forfeited, payable, paid, owed."""
    name, year = item_year
    item, account = known_item(state, name), state.claims.account(item_year)
    yield ("limit", name, year), grounds_of(state, item, year).limit
    yield ("forfeited", name, year), account.forfeited
    yield ("payable", name, year), account.payable
    yield ("paid", name, year), account.paid
    yield ("debt", name, year), debt_of(state, item, year)


def _pool(state: State, programme: str, year: int) -> Iterator[tuple[FigureId, int]]:
    owner, _ = pool_id = state.pool_id(programme, year)
    pool = state.pools[pool_id]
    yield ("pool", owner, year), pool.amount
    yield ("pool_left", owner, year), pool.amount - pool.issued


def _room(state: State, coupon: CouponId) -> Iterator[tuple[FigureId, int]]:
    """Yield what a firm may still be issued: by the cap, and by what its contracts can need."""
    enterprise, programme, year = coupon
    policy = state.policy_of(programme, year, state.size)
    if policy is not None and policy.cap is not None:
        yield ("cap_left", enterprise, year), policy.cap - issued_to_firm(state, coupon)
    yield from _need(state, coupon)


def _need(state: State, coupon: CouponId) -> Iterator[tuple[FigureId, int]]:
    enterprise, _, year = coupon
    yield ("need_left", enterprise, year), need_of(state, coupon) - issued_to_firm(state, coupon)


def _coupon(state: State, coupon: CouponId) -> Iterator[tuple[FigureId, int]]:
    enterprise, programme, year = coupon
    issued, granted = state.coupons.get(coupon, 0), state.granted.get(coupon, 0)
    entitled = sum(
        contract.entitled_and_granted(year)[0]
        for contract in state.contracts_of(enterprise, programme)
    )
    yield ("issued", enterprise, year), issued
    yield ("granted", enterprise, year), granted
    yield ("remaining", enterprise, year), issued - granted
    yield ("uncovered", enterprise, year), entitled - granted


def _award(state: State, name: str, coupon: CouponId) -> Iterator[tuple[FigureId, int]]:
    """Yield the pool of an award, what its firm has of the year, and the award's own amount."""
    enterprise, programme, year = coupon
    yield from _pool(state, programme, year)
    yield ("issued", enterprise, year), state.coupons.get(coupon, 0)
    yield ("granted", enterprise, year), state.granted.get(coupon, 0)
    award = state.awards.get(name)
    if award is not None:
        yield ("amount", name, 0), award.amount


def _coupons_of(
    state: State, contract: Contract, *, with_need: bool = False
) -> Iterator[tuple[FigureId, int]]:
    """Yield the coupons of all years of a contract."""
    for year in sorted(contract.years):
        coupon = contract.coupon_id(year)
        yield from _coupon(state, coupon)
        if with_need:
            yield from _need(state, coupon)


def _of_contract(state: State, name: str) -> Iterator[tuple[FigureId, int]]:
    contract = state.contracts.get(name)
    if contract is None:
        return
    shares = contract.shares.values()
    yield ("amount", name, 0), contract.terms.amount
    yield ("support_limit", name, 0), contract.terms.support_limit
    yield ("cost", name, 0), cost(contract.used, contract.terms.denominator)
    yield ("entitled", name, 0), sum(share.entitled for share in shares)
    yield ("granted", name, 0), sum(share.granted for share in shares)


def _devices(
    state: State, provider: str, devices: dict[str, int], starts: str
) -> Iterator[tuple[FigureId, int]]:
    """Yield how many devices of some kinds are enlisted on a day."""
    held, begin = state.providers.get(provider), parse_date(starts)
    for kind in devices:
        if held is not None:
            enlisted = held.capacity(kind)
            count = sum(number for start, end, number in enlisted if start <= begin < end)
            yield ("devices", kind, 0), count


def _keys(state: State, provider: str) -> Iterator[tuple[FigureId, int]]:
    """Yield how many keys a provider has that are not revoked."""
    own = (key for key in state.keys.values() if key.registered.provider == provider)
    yield ("keys", provider, 0), sum(key.revoked is None for key in own)
