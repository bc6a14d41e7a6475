"""The closing of a month of the ledger, and the lists that follow it.

What comes later, of whatever day of service, is booked in the month that runs then: a closed month
never changes. The gaps are those that stand at the closing, since a batch that is missing can hold
records of any day.
"""

from collections.abc import Iterable, Iterator
from typing import Final

from msgspec import UNSET

from meter.rules.commands import CloseMonth, Command, ConfirmMonth
from meter.rules.entries import Entry, MonthClosed, MonthConfirmed, MonthListed
from meter.rules.kinds.disputes import check_answerable, open_disputes
from meter.rules.kinds.kind import (
    NOTHING_MORE,
    Holder,
    Judged,
    Kind,
    Stamp,
    active_enterprise,
)
from meter.rules.month_book import Gap, Month
from meter.rules.months import missing_numbers, month_over
from meter.rules.salts import Salts
from meter.rules.state import State
from meter.values.problems import Problem

MAX_LINES: Final = 250  # of either kind in a list, of at most 110 bytes each

_Line = tuple[str, int, int]
_Part = tuple[str, list[_Line], list[Gap]]  # provider, items, gaps


def _holder(state: State, command: CloseMonth) -> Holder | None:
    return state.months.closed.get(command.month)


def _judge(state: State, command: CloseMonth, stamp: Stamp) -> Judged:
    month = month_over(state, command.month, stamp.at)
    gaps = missing_numbers(state)
    if command.waiver is UNSET and gaps:
        (provider, ((stream, first, last), *_)), *_ = gaps.items()
        detail = f"{provider} stream {stream!r:.80} lacks {first} to {last}; a waiver is needed"
        raise Problem("gaps_open", detail)
    if command.waiver is not UNSET and command.waiver.person not in state.people.active():
        raise Problem("unknown_person", f"no person {command.waiver.person}", field="waiver")
    fields = {
        "first": month.first,
        "end": month.end,
        "booked_cost": sum(cost for cost, _ in month.booked.values()),
        "booked_granted": sum(granted for _, granted in month.booked.values()),
        "items": len(month.booked),
        "gaps": sum(map(len, gaps.values())),
        "parts": len(list(_parts(state, month))),
    }
    return fields, []


def _parts(state: State, month: Month) -> Iterator[_Part]:
    """Yield what each list of a month holds, by provider; awards come first, of none."""
    gaps = missing_numbers(state)
    lines: dict[str, list[_Line]] = {}
    for name, booked in sorted(month.booked.items()):
        contract = state.contracts.get(name)
        provider = "" if contract is None else contract.registered.provider
        lines.setdefault(provider, []).append((name, *booked))
    for provider in sorted(lines.keys() | gaps.keys()):
        items, lacks = lines.get(provider, []), gaps.get(provider, [])
        for at in range(0, max(len(items), len(lacks)), MAX_LINES):
            yield provider, items[at : at + MAX_LINES], lacks[at : at + MAX_LINES]


def _apply(state: State, number: int, entry: MonthClosed) -> None:
    book = state.months
    for each in [each for each in book.over if each in book.closed]:
        del book.over[each]
    book.closed[entry.month] = number, entry


def _following(state: State, number: int, entry: MonthClosed) -> Iterator[Entry]:
    salts = Salts(bytes.fromhex(entry.salt))
    parts = list(_parts(state, state.months.over[entry.month]))
    for place, (provider, items, gaps) in enumerate(parts):
        yield MonthListed(
            at=entry.at,
            by=entry.by,
            postings=[],
            salt=salts.of(place),
            closing=number,
            provider=provider or UNSET,
            booked_cost=sum(cost for _, cost, _ in items),
            booked_granted=sum(granted for _, _, granted in items),
            items=items,
            gaps=gaps,
        )


def _confirmed(state: State, command: ConfirmMonth) -> Holder | None:
    return state.months.confirmed.get((command.month, command.enterprise))


def _judge_confirmation(state: State, command: ConfirmMonth, stamp: Stamp) -> Judged:
    active_enterprise(state, command.enterprise)
    if command.month not in state.months.closed:
        raise Problem("month_open", f"{command.month} is not closed")
    check_answerable(state, command.month, stamp)
    for dispute in open_disputes(state):
        owner = state.contracts[dispute.made.contract].agreed.enterprise
        if (
            dispute.made.month == command.month
            and state.last_successor(owner) == command.enterprise
        ):
            detail = f"record {dispute.made.id} is disputed"
            raise Problem("dispute_open", detail, entry=dispute.entry)
    return NOTHING_MORE


def _confirming_firm(_state: State, command: ConfirmMonth) -> str:
    return command.enterprise


def _apply_confirmation(state: State, number: int, entry: MonthConfirmed) -> None:
    state.months.confirmed[entry.month, entry.enterprise] = number, entry


def _confirmation_subjects(_state: State, entry: MonthConfirmed) -> Iterable[str]:
    return (f"enterprise:{entry.enterprise}",)


def _apply_list(_state: State, _number: int, _entry: MonthListed) -> None:
    """Change nothing: the closing has counted it."""


CLOSING: Final[Kind[MonthClosed, CloseMonth]] = Kind(
    entry=MonthClosed,
    command=CloseMonth,
    holder=_holder,
    judge=_judge,
    apply=_apply,
    following=_following,
    rows="registration",
    codes=("exists_differently", "unknown_month", "month_open", "gaps_open", "unknown_person"),
    names_numbers=True,
)
LIST: Final[Kind[MonthListed, Command]] = Kind(entry=MonthListed, apply=_apply_list, rows="totals")
CONFIRMATION: Final[Kind[MonthConfirmed, ConfirmMonth]] = Kind(
    entry=MonthConfirmed,
    command=ConfirmMonth,
    holder=_confirmed,
    judge=_judge_confirmation,
    apply=_apply_confirmation,
    subjects=_confirmation_subjects,
    firm=_confirming_firm,
    rows="registration",
    codes=("unknown_enterprise", "succeeded", "month_open", "answer_over", "dispute_open"),
)
