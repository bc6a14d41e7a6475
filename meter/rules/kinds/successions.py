"""Successions of enterprises: a merger, a change of the code, or a code that was mistyped.

A *firm* is a last successor and all that it succeeded, at any remove. An enterprise that was
succeeded gets no new contract or award; issue and claims for those that it has go on, and what is
paid for them goes to the last successor. Caps, threshold, need and the number of contracts are
those of the firm.
"""

from collections.abc import Iterable

from meter.rules.commands import SucceedEnterprise
from meter.rules.entries import EnterpriseSucceeded
from meter.rules.kinds.kind import (
    NOTHING_MORE,
    Existing,
    Judged,
    Kind,
    Stamp,
    applied_programmes,
    check_not_in_future,
    known_enterprise,
    serves,
)
from meter.rules.state import State
from meter.values.problems import Problem


def _judge(state: State, command: SucceedEnterprise, stamp: Stamp) -> Judged:
    enterprise = known_enterprise(state, command.uscc)
    known_enterprise(state, command.successor)
    if enterprise.succession is not None:
        number, known = enterprise.succession
        if (known.successor, known.effective) == (command.successor, command.effective):
            return Existing(number)
        raise Problem("succeeded", f"by {known.successor}", entry=number)
    if state.last_successor(command.successor) == command.uscc:
        raise Problem("succeeded", "the chain of successors would lead back", field="successor")
    check_not_in_future("effective", command.effective, stamp)
    _check_roles(state, command)
    return NOTHING_MORE


def _check_roles(state: State, command: SucceedEnterprise) -> None:
    """Raise `Problem` `role_conflict` where one of both serves what the other has applied for."""
    codes = [*state.firm_of(command.uscc), *state.firm_of(command.successor)]
    for programme in sorted({name for code in codes for name in applied_programmes(state, code)}):
        for code in codes:
            if serves(state, code, state.active[programme]):
                detail = f"{code} serves {programme}, under which the other has applied"
                raise Problem("role_conflict", detail)


def _apply(state: State, number: int, entry: EnterpriseSucceeded) -> None:
    state.enterprises[entry.uscc].succession = number, entry
    state.enterprises[entry.successor].succeeded.append(entry.uscc)


def _subjects(_state: State, entry: EnterpriseSucceeded) -> Iterable[str]:
    return (f"enterprise:{entry.uscc}", f"enterprise:{entry.successor}")


SUCCESSION: Kind[EnterpriseSucceeded, SucceedEnterprise] = Kind(
    entry=EnterpriseSucceeded,
    command=SucceedEnterprise,
    judge=_judge,
    apply=_apply,
    subjects=_subjects,
    rows="registration",
    codes=("unknown_enterprise", "succeeded", "bad_dates", "role_conflict"),
)
