"""Decisions of the authority that somebody should know of: rare, lawful, and worth a question.

    policy, provider's and service's keys, persons and their tokens, releases, late windows,
    large sums issued

A monitor tells each as a question, with who proposed it and who confirmed it. It raises an alarm
for a token that an operator made offline: no two persons stand behind it.
"""

from dataclasses import dataclass
from typing import Final

from msgspec import UNSET

from meter.rules.entries import (
    AwardChanged,
    AwardMade,
    CouponAllotted,
    CouponIssued,
    Entry,
    KeyRegistered,
    LateWindowOpened,
    LogKeyAdded,
    PersonRecovered,
    PersonRegistered,
    PolicyActivated,
    ReceiptKeyAdded,
    RecordReleased,
    TokenMade,
)
from meter.rules.state import State
from meter.values.units import format_money
from meter.values.worded import worded

LARGE_ISSUE: Final = 100_000_000  # fen: a tenth of what one enterprise may get in a year


@dataclass(frozen=True, slots=True)
class Decision:
    """An entry to look at; `detail` says what it decides and who did."""

    entry: int
    detail: str
    is_alarming: bool = False

    def __str__(self) -> str:
        """Return the decision in words."""
        return worded(f"{self.detail}: entry {self.entry}")


def decision_of(state: State, number: int, entry: Entry) -> Decision | None:
    """Return the decision that an entry is, if it is one; `state` knows its proposal."""
    if isinstance(entry, PersonRecovered):
        detail = worded(f"token {entry.token} was made offline for person {entry.id}")
        return Decision(number, detail, is_alarming=True)
    what = _told(entry)
    return None if what is None else Decision(number, _with_persons(state, entry, what))


def _told(entry: Entry) -> str | None:
    what: str | None
    match entry:
        case PolicyActivated():
            what = worded(f"policy {entry.programme} {entry.version}")
        case KeyRegistered():
            what = worded(f"key {entry.keyid} of provider {entry.provider}")
        case LogKeyAdded():
            what = worded(f"log key {entry.vkey}")
        case ReceiptKeyAdded():
            what = worded(f"receipt key {entry.keyid}")
        case PersonRegistered():
            what = worded(f"person {entry.id}")
        case TokenMade():
            what = worded(f"token {entry.id} of person {entry.holder}")
        case LateWindowOpened():
            what = worded(
                f"late window of contract {entry.contract}, {entry.starts} until {entry.ends}"
            )
        case RecordReleased():
            what = worded(f"release of record {entry.id} of {entry.provider}")
        case CouponIssued() | CouponAllotted() | AwardMade() | AwardChanged() if (
            entry.amount > LARGE_ISSUE
        ):
            what = _large(entry)
        case _:
            what = None
    return what


def _large(entry: CouponIssued | CouponAllotted | AwardMade | AwardChanged) -> str:
    amount = format_money(entry.amount)
    if isinstance(entry, AwardChanged):
        return worded(f"award {entry.award}, now of {amount}")
    firm, programme, year = entry.enterprise, entry.programme, entry.year
    if isinstance(entry, AwardMade):
        return worded(f"award {entry.id} of {amount} to {firm} for {programme} {year}")
    return worded(f"issue of {amount} to {firm} for {programme} {year}")


def _with_persons(state: State, entry: Entry, decision: str) -> str:
    person, proposal = getattr(entry, "person", ""), getattr(entry, "proposal", UNSET)
    if proposal is UNSET:
        return worded(f"{decision}, by {person}")
    proposer = state.people.proposals[proposal].made.person
    return worded(f"{decision}, by {person}, proposed by {proposer}")
