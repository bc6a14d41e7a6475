"""Usage: batches, accepted records, their voids, and the releases of withheld parts."""

from collections.abc import Iterable

from meter.rules.commands import Command, ReleaseRecord, VoidRecord
from meter.rules.effects import (
    accept,
    accepted_effect,
    apply_release,
    apply_void,
    check_same,
    release_effect,
    release_fields,
    void_effect,
    void_fields,
)
from meter.rules.entries import BatchAccepted, RecordReleased, RecordVoided, UsageAccepted
from meter.rules.kinds.kind import Judged, Kind, Stamp, contract_subjects
from meter.rules.measure import admit, meter_of, withheld_by_day, work_of
from meter.rules.state import AcceptedRecord, State
from meter.values.problems import Problem
from meter.values.units import format_money


def _apply_batch(state: State, _number: int, entry: BatchAccepted) -> None:
    """Note the stream: the voids and records of the batch follow as entries of their own."""
    state.stream = entry.stream


def _apply_usage(state: State, number: int, entry: UsageAccepted) -> None:
    contract, work = state.contracts[entry.contract], work_of(entry)
    meter = meter_of(state, contract, entry.device)
    measured = admit(meter, work)
    effect = accepted_effect(state, contract, meter, measured)
    check_same(entry.postings, effect.postings())
    check_same(entry.fits, measured.fits)
    check_same(entry.withheld or [], withheld_by_day(measured.withheld))
    record = AcceptedRecord(number, entry, measured.fits, measured.withheld, stream=state.stream)
    accept(state, record, effect)


def _judge_void(state: State, command: VoidRecord, _stamp: Stamp) -> Judged:
    record = _unvoided_record(state, command)
    effect = void_effect(state, record)
    return void_fields(record, effect), effect.postings()


def _apply_void(state: State, number: int, entry: RecordVoided) -> None:
    record = state.records[entry.provider, entry.id]
    effect = void_effect(state, record)
    check_same(entry.postings, effect.postings())
    apply_void(state, record, number, effect)


def _judge_release(state: State, command: ReleaseRecord, _stamp: Stamp) -> Judged:
    record = _unvoided_record(state, command)
    if not record.withheld:
        raise Problem("nothing_withheld", f"all of record {command.id} counts")
    if record.released is not None:
        raise Problem("already_released", f"by entry {record.released}", entry=record.released)
    effect = release_effect(state, record)
    return release_fields(record, effect), effect.postings()


def _apply_release(state: State, number: int, entry: RecordReleased) -> None:
    record = state.records[entry.provider, entry.id]
    effect = release_effect(state, record)
    check_same(entry.postings, effect.postings())
    check_same(entry.withheld, withheld_by_day(record.withheld))
    apply_release(state, record, number, effect)


def _unvoided_record(state: State, command: VoidRecord | ReleaseRecord) -> AcceptedRecord:
    record = state.record(command.provider, command.id)
    if record is None:
        raise Problem("unknown_record", f"no record {command.id} of {command.provider}")
    if record.voided is not None:
        raise Problem("already_voided", f"by entry {record.voided}", entry=record.voided)
    return record


def _batch_subjects(_state: State, entry: BatchAccepted) -> Iterable[str]:
    return (f"provider:{entry.provider}",)


def _record_subjects(
    state: State, entry: UsageAccepted | RecordVoided | RecordReleased
) -> Iterable[str]:
    return contract_subjects(state, entry.contract)


def _void_response(_state: State, entry: RecordVoided) -> dict[str, str]:
    entitled = sum(fen for _, fen in entry.entitled)
    return {"cost": format_money(entry.cost), "entitled": format_money(entitled)}


def _release_response(_state: State, entry: RecordReleased) -> dict[str, str]:
    return {"entitled": format_money(sum(fen for _, fen in entry.entitled))}


BATCH: Kind[BatchAccepted, Command] = Kind(
    entry=BatchAccepted, apply=_apply_batch, subjects=_batch_subjects, rows="batch"
)
USAGE: Kind[UsageAccepted, Command] = Kind(
    entry=UsageAccepted, apply=_apply_usage, subjects=_record_subjects, rows="usage"
)
VOID: Kind[RecordVoided, VoidRecord] = Kind(
    entry=RecordVoided,
    command=VoidRecord,
    judge=_judge_void,
    apply=_apply_void,
    subjects=_record_subjects,
    rows="void",
    response=_void_response,
    codes=("unknown_record", "already_voided"),
    names_record=True,
    moves_money=True,
)
RELEASE: Kind[RecordReleased, ReleaseRecord] = Kind(
    entry=RecordReleased,
    command=ReleaseRecord,
    judge=_judge_release,
    apply=_apply_release,
    subjects=_record_subjects,
    rows="release",
    response=_release_response,
    codes=("unknown_record", "already_voided", "nothing_withheld", "already_released"),
    names_record=True,
    moves_money=True,
)
