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

LARGE_ISSUE: Final = 100_000_000  # fen: a tenth of what one enterprise may get in a year


@dataclass(frozen=True, slots=True)
class Decision:
    """An entry to look at; `detail` says what it decides and who did."""

    entry: int
    detail: str
    is_alarming: bool = False

    def __str__(self) -> str:
        """Return the decision in words."""
        return f"{self.detail}: entry {self.entry}"


def decision_of(state: State, number: int, entry: Entry) -> Decision | None:
    """Return the decision that an entry is, if it is one; `state` knows its proposal."""
    if isinstance(entry, PersonRecovered):
        detail = f"token {entry.token} was made offline for person {entry.id}"
        return Decision(number, detail, is_alarming=True)
    what = _told(entry)
    return None if what is None else Decision(number, f"{what}, {_by(state, entry)}")


def _told(entry: Entry) -> str | None:
    what: str | None
    match entry:
        case PolicyActivated():
            what = f"policy {entry.programme} {entry.version}"
        case KeyRegistered():
            what = f"key {entry.keyid} of provider {entry.provider}"
        case LogKeyAdded():
            what = f"log key {entry.vkey}"
        case ReceiptKeyAdded():
            what = f"receipt key {entry.keyid}"
        case PersonRegistered():
            what = f"person {entry.id}"
        case TokenMade():
            what = f"token {entry.id} of person {entry.holder}"
        case LateWindowOpened():
            what = f"late window of contract {entry.contract}, {entry.starts} until {entry.ends}"
        case RecordReleased():
            what = f"release of record {entry.id} of {entry.provider}"
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
        return f"award {entry.award}, now of {amount}"
    what = f"award {entry.id}" if isinstance(entry, AwardMade) else "issue"
    return f"{what} of {amount} to {entry.enterprise} for {entry.programme} {entry.year}"


def _by(state: State, entry: Entry) -> str:
    person, proposal = getattr(entry, "person", ""), getattr(entry, "proposal", UNSET)
    if proposal is UNSET:
        return f"by {person}"
    return f"by {person}, proposed by {state.people.proposals[proposal].made.person}"
