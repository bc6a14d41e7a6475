"""Disputes of records: a firm says that one is wrong, and the authority decides.

A firm has until 30 days after the closing of the month in which the record was booked, unless it
has confirmed that month. A void upholds the dispute, whoever makes it; else it is dismissed. A
record is disputed once.
"""

from collections.abc import Iterable, Iterator
from typing import Final

from meter.rules.commands import DismissDispute, DisputeRecord
from meter.rules.entries import DisputeDismissed, RecordDisputed, UsageAccepted
from meter.rules.kinds.kind import Judged, Kind, Stamp, contract_subjects, known_contract
from meter.rules.month_book import Dispute, month_of
from meter.rules.state import AcceptedRecord, State
from meter.values.problems import Problem
from meter.values.units import MICROSECONDS, day_start, format_moment, year_of


def open_disputes(state: State) -> Iterator[Dispute]:
    """Yield the disputes that nobody has decided, in the order of their entries."""
    return (each for each in state.disputes.values() if each.ended is None)


def check_undisputed(state: State, item: str, year: int) -> None:
    """Raise `Problem` `dispute_open` where a record of an item and year is disputed."""
    for dispute in open_disputes(state):
        if dispute.made.contract == item and year in dispute.made.years:
            detail = f"record {dispute.made.id} of {item} is disputed"
            raise Problem("dispute_open", detail, entry=dispute.entry)


def check_answerable(state: State, month: str, stamp: Stamp) -> None:
    """Raise `Problem` `answer_over` where the time to confirm or dispute a month has passed."""
    until = state.months.answer_until(month)
    if until is not None and stamp.at >= until:
        detail = f"{month} could be confirmed or disputed before {format_moment(until)}"
        raise Problem("answer_over", detail)


def _judge(state: State, command: DisputeRecord, stamp: Stamp) -> Judged:
    contract = known_contract(state, command.contract)
    record = state.record(command.provider, command.id)
    if record is None or record.usage.contract != command.contract:
        detail = f"no record {command.id} of {command.provider} for {command.contract}"
        raise Problem("unknown_record", detail)
    if record.voided is not None:
        raise Problem("already_voided", f"by entry {record.voided}", entry=record.voided)
    known = state.disputes.get((command.provider, command.id))
    if known is not None:
        raise Problem("already_disputed", f"by entry {known.entry}", entry=known.entry)
    month = month_of(record.usage.at)
    for code in state.firm_of(contract.agreed.enterprise):
        confirmed = state.months.confirmed.get((month, code))
        if confirmed is not None:
            number, _ = confirmed
            raise Problem("month_confirmed", f"{month} by entry {number}", entry=number)
    check_answerable(state, month, stamp)
    return {"record": record.entry, "month": month, "years": _years(record)}, []


def _years(record: AcceptedRecord) -> list[int]:
    """Return the Shanghai years that a record touches, or a purchase counts in."""
    usage = record.usage
    if isinstance(usage, UsageAccepted):
        first, last = usage.start // MICROSECONDS, usage.end // MICROSECONDS - 1
        return sorted({year_of(first), year_of(last)})
    return sorted({year_of(day_start(day)) for day, _ in record.fits})


def _firm(state: State, command: DisputeRecord) -> str:
    return known_contract(state, command.contract).agreed.enterprise


def _apply(state: State, number: int, entry: RecordDisputed) -> None:
    state.disputes[entry.provider, entry.id] = Dispute(number, entry)


def _judge_dismissal(state: State, command: DismissDispute, _stamp: Stamp) -> Judged:
    dispute = state.disputes.get((command.provider, command.id))
    if dispute is None:
        raise Problem("unknown_dispute", f"nobody disputes {command.id} of {command.provider}")
    if dispute.ended is not None:
        raise Problem("dispute_decided", f"by entry {dispute.ended}", entry=dispute.ended)
    return {"contract": dispute.made.contract, "dispute": dispute.entry}, []


def _apply_dismissal(state: State, number: int, entry: DisputeDismissed) -> None:
    state.disputes[entry.provider, entry.id].ended = number


def _subjects(state: State, entry: RecordDisputed | DisputeDismissed) -> Iterable[str]:
    return contract_subjects(state, entry.contract)


DISPUTE: Final[Kind[RecordDisputed, DisputeRecord]] = Kind(
    entry=RecordDisputed,
    command=DisputeRecord,
    judge=_judge,
    apply=_apply,
    subjects=_subjects,
    firm=_firm,
    rows="registration",
    codes=(
        *("unknown_contract", "unknown_record", "already_voided", "already_disputed"),
        *("month_confirmed", "answer_over"),
    ),
    names_record=True,
)
DISMISSAL: Final[Kind[DisputeDismissed, DismissDispute]] = Kind(
    entry=DisputeDismissed,
    command=DismissDispute,
    judge=_judge_dismissal,
    apply=_apply_dismissal,
    subjects=_subjects,
    rows="registration",
    codes=("unknown_dispute", "dispute_decided"),
)
