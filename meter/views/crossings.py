"""What crosses a line, so that people are alerted: once for each crossing.

    used_80, used_95, used_100   so many hundredths of a coupon are granted, and were not
    withheld    a contract has a fen or more that capacity holds back, and had none
    review      something waits for the authority: such a contract, a proposal, a claim
    month_closed   firms may confirm a month of the ledger, or dispute its records
    gap         a stream lacks a number, and lacked none
    ends_soon   within 30 days a coupon is used up, as its forecast says, or expires
    expiry      a coupon has expired
    silent      a provider whose contracts run has sent no batch for a day

Those up to `gap` come about by entries: the group that crosses tells them. The others come with
time: who looks keeps what stands (`publish.looker`). What goes back and crosses again is told
again. Whom a crossing is for is its `audience`: `enterprise:USCC`, `provider:ID`, `official`.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Final, Literal

import msgspec

from meter.rules.entries import ClaimEntered, Entry, MonthClosed, ProposalMade
from meter.rules.month_book import answer_end
from meter.rules.state import Contract, CouponId, State
from meter.values.roles import Role
from meter.values.units import (
    MICROSECONDS,
    day_of,
    day_start,
    format_date,
    format_moment,
    format_money,
    parse_date,
    year_of,
)

Kind = Literal[
    "used_80",
    "used_95",
    "used_100",
    "ends_soon",
    "expiry",
    "withheld",
    "gap",
    "silent",
    "review",
    "month_closed",
]

LEVELS: Final[tuple[tuple[int, Kind], ...]] = ((80, "used_80"), (95, "used_95"), (100, "used_100"))
SOON_DAYS: Final = 30
SILENT_SECONDS: Final = 86_400  # since the newest batch of a provider
OFFICIAL: Final = "official"

_OF_COUPONS: Final[tuple[Kind, ...]] = ("used_80", "used_95", "used_100", "ends_soon", "expiry")
_OF_OFFICIALS: Final[tuple[Kind, ...]] = (*_OF_COUPONS, "gap", "silent", "review")
# What the persons of a role may choose.
KINDS: Final[Mapping[Role, tuple[Kind, ...]]] = {
    "enterprise": (*_OF_COUPONS, "withheld", "gap", "month_closed"),
    "provider": ("withheld", "gap", "silent"),
    "authority": _OF_OFFICIALS,
    "auditor": _OF_OFFICIALS,
}


@dataclass(frozen=True, slots=True)
class Crossing:
    """A crossing; `about` names what has crossed, `data` is told as it is."""

    kind: Kind
    about: str
    audience: tuple[str, ...]
    data: Mapping[str, str | int]

    def key(self, size: int) -> str:
        """Return hex that names this crossing of a ledger that has so many entries then."""
        return sha256(msgspec.json.encode([self.kind, self.about, size])).hexdigest()

    def message(self, at: int, size: int) -> bytes:
        """Return the JSON that is sent (Standard Webhooks, payload structure).

        `at` is in microseconds; balances asked for `as_of` the size are those after the crossing.
        """
        return message(self.kind, at, {**self.data, "as_of": size})


def message(kind: str, at: int, data: Mapping[str, str | int]) -> bytes:
    """Return the JSON of a message of some kind."""
    return msgspec.json.encode({"type": kind, "timestamp": format_moment(at), "data": data})


def audience_of(role: Role, subject: str) -> str:
    """Return the audience to which a person belongs."""
    return f"{role}:{subject}" if subject else OFFICIAL


# By entries


def levels_crossed(
    state: State, coupon: CouponId, before: tuple[int, int], now: tuple[int, int]
) -> Iterator[Crossing]:
    """Yield the levels that a coupon has reached; both are its issued and granted fen.

    What is taken back after its year has expired, and is no use.
    """
    is_over = year_of(state.last_at // MICROSECONDS) > coupon[2]
    if is_over and now[1] <= before[1]:
        return
    for level, kind in LEVELS:
        if _has_reached(level, *now) and not _has_reached(level, *before):
            yield _of_coupon(state, kind, coupon, now)


def _has_reached(level: int, issued: int, granted: int) -> bool:
    return issued > 0 and granted * 100 >= issued * level


def is_held_back(contract: Contract) -> bool:
    """Return whether a fen or more of a contract is withheld."""
    held = contract.terms.denominator
    return any(share.withheld >= held for share in contract.shares.values())


def held_back(state: State, contract: Contract) -> Iterator[Crossing]:
    """Yield the crossings of a contract that had nothing withheld."""
    terms = contract.agreed
    parties = (*_firm(state, terms.enterprise), f"provider:{contract.registered.provider}")
    data = {"contract": terms.id, "provider": contract.registered.provider}
    yield Crossing("withheld", terms.id, parties, data)
    yield Crossing("review", f"contract {terms.id}", (OFFICIAL,), {**data, "what": "withheld"})


def awaited(number: int, entry: Entry) -> Iterator[Crossing]:
    """Yield what an entry has the authority's persons look at."""
    if isinstance(entry, ProposalMade):
        data: dict[str, str | int] = {"what": "proposal", "entry": number, "command": entry.command}
        yield Crossing("review", f"entry {number}", (OFFICIAL,), data)
    if isinstance(entry, ClaimEntered):
        data = {"what": "claim", "entry": number, "claim": entry.id}
        yield Crossing("review", f"entry {number}", (OFFICIAL,), data)


def month_closed(state: State, entry: Entry) -> Iterator[Crossing]:
    """Yield that a month was closed: the time of all firms to answer begins."""
    if isinstance(entry, MonthClosed):
        firms = {audience for uscc in state.enterprises for audience in _firm(state, uscc)}
        data = {"month": entry.month, "answer_until": format_moment(answer_end(entry.at))}
        yield Crossing("month_closed", entry.month, tuple(sorted(firms)), data)


def gap_opened(state: State, provider: str, stream: str) -> Crossing:
    """Return the crossing of a stream that lacked no number; enterprises learn no stream's name."""
    today = day_of(state.last_at // MICROSECONDS)
    firms = {
        each.agreed.enterprise
        for each in state.contracts.values()
        if each.registered.provider == provider and _runs(each, today)
    }
    audience = {audience for uscc in firms for audience in _firm(state, uscc)}
    told = (*sorted(audience), f"provider:{provider}", OFFICIAL)
    return Crossing("gap", f"{provider} {stream}", told, {"provider": provider})


# By time


@dataclass(frozen=True, slots=True)
class CouponNow:
    """A coupon as it stands: fen, and days since 1970-01-01.

    It pays for the use of days before `ends`; `end` is when its forecast has it used up, if it has.
    """

    coupon: CouponId
    issued: int
    granted: int
    ends: int
    end: int | None


def of_coupon_now(state: State, held: CouponNow, today: int) -> Iterator[Crossing]:
    """Yield what stands of a coupon today."""
    coupon, fen, last = held.coupon, (held.issued, held.granted), held.ends - 1
    if today > last:
        yield _of_coupon(state, "expiry", coupon, fen, last_day=_date(last))
    elif held.end is not None and held.end < min(today + SOON_DAYS, held.ends):
        yield _of_coupon(state, "ends_soon", coupon, fen, why="used_up", last_day=_date(held.end))
    elif last < today + SOON_DAYS and held.issued > held.granted:
        yield _of_coupon(state, "ends_soon", coupon, fen, why="expires", last_day=_date(last))


def silences(state: State, newest: Mapping[str, int], now: int) -> Iterator[Crossing]:
    """Yield the providers that are silent; `newest` has when each one's newest batch came.

    Times are in microseconds.
    """
    today = day_of(now // MICROSECONDS)
    serving = {each.registered.provider for each in state.contracts.values() if _runs(each, today)}
    for provider in sorted(serving):
        at = newest.get(provider)
        if at is None or now - at > SILENT_SECONDS * MICROSECONDS:
            data = {"provider": provider} | ({} if at is None else {"last": format_moment(at)})
            yield Crossing("silent", provider, (f"provider:{provider}", OFFICIAL), data)


def _runs(contract: Contract, today: int) -> bool:
    """Return whether usage may come of a contract on a day."""
    is_frozen = len(contract.freezes) % 2 == 1
    first, stop = (
        day_of(parse_date(each)) for each in (contract.agreed.starts, contract.agreed.ends)
    )
    return first <= today < stop and not is_frozen


def _of_coupon(
    state: State, kind: Kind, coupon: CouponId, fen: tuple[int, int], **more: str
) -> Crossing:
    uscc, programme, year = coupon
    issued, granted = fen
    data: dict[str, str | int] = {
        "enterprise": uscc,
        "programme": programme,
        "year": year,
        "issued": format_money(issued),
        "granted": format_money(granted),
        "remaining": format_money(issued - granted),
        **more,
    }
    return Crossing(kind, f"{uscc} {programme} {year}", (*_firm(state, uscc), OFFICIAL), data)


def _firm(state: State, uscc: str) -> tuple[str, ...]:
    """Return the audience of an enterprise: who stands in its place by now."""
    return (f"enterprise:{state.last_successor(uscc)}",)


def _date(day: int) -> str:
    return format_date(day_start(day))
