"""Purchases: accepted ones of a batch; a void of one is that of a record."""

from collections.abc import Iterable

from meter.rules.commands import Command
from meter.rules.effects import accept, check_same
from meter.rules.entries import PurchaseAccepted
from meter.rules.kinds.kind import Kind, contract_subjects
from meter.rules.purchases import counts_by_days, purchase_effect
from meter.rules.state import AcceptedRecord, State


def _apply(state: State, number: int, entry: PurchaseAccepted) -> None:
    contract = state.contracts[entry.contract]
    check_same(entry.by_days, counts_by_days(contract, entry))
    measured, effect = purchase_effect(state, contract, entry, by_days=entry.by_days)
    check_same(entry.postings, effect.postings())
    accept(state, AcceptedRecord(number, entry, measured.fits, stream=state.stream), effect)


def _subjects(state: State, entry: PurchaseAccepted) -> Iterable[str]:
    return contract_subjects(state, entry.contract)


PURCHASE: Kind[PurchaseAccepted, Command] = Kind(
    entry=PurchaseAccepted, apply=_apply, subjects=_subjects, rows="purchase"
)
