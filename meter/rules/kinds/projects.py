"""Projects: what several awards and contracts are for, with its audited investment and other money.

A project's other public money lowers awards of programmes whose policy counts all of it together.
A reference names one sum; it can be set again at any time, and its newest amount counts.

Where the nation or the province funds a project too, all money of city and districts for it is at
most its audited investment.
"""

from collections.abc import Iterable
from typing import Final

from msgspec import UNSET, Struct

from meter.rules.commands import AuditProject, FundProject, RegisterProject
from meter.rules.entries import ProjectAudited, ProjectFunded, ProjectRegistered
from meter.rules.kinds.kind import (
    NOTHING_MORE,
    Holder,
    Judged,
    Kind,
    Stamp,
    check_names,
    check_spelling,
    item_holder,
    known_project,
    note_spelling,
)
from meter.rules.state import Project, State
from meter.values.problems import Problem

_LOCAL: Final = ("municipal", "district")


def city_ceiling(project: Project) -> int | None:
    """Return the most that this ledger may grant for a project, fen.

    None where it has no national or provincial money, or its audited investment is not known yet.
    """
    sums, audited = project.sums().values(), project.audited()
    if audited is None or not any(fen for level, fen in sums if level not in _LOCAL):
        return None
    return max(0, audited - sum(fen for level, fen in sums if level in _LOCAL))


class Ceiling(Struct, frozen=True):
    """What city and districts may give for a project, in fen, and what they gave."""

    audited: int
    local: int
    claimed: int

    @property
    def left(self) -> int:
        """What can still be approved for items of the project."""
        return max(0, self.audited - self.local - self.claimed)


def claims_ceiling(state: State, project: Project) -> Ceiling | None:
    """Return the ceiling of what is approved for a project's items, if there is one.

    Raises `Problem` `audit_missing` while the audited investment is not known.
    """
    sums, audited = list(project.sums().values()), project.audited()
    if not any(fen for level, fen in sums if level not in _LOCAL):
        return None
    if audited is None:
        raise Problem("audit_missing", f"project {project.registered.id} has no audited investment")
    local = sum(fen for level, fen in sums if level in _LOCAL)
    return Ceiling(audited, local, sum(claimed_for(state, project).values()))


def claimed_for(state: State, project: Project) -> dict[str, int]:
    """Return what was approved and not taken back for each item of a project, in fen."""
    names = [each.registered.id for each in project.contracts]
    names += [each.made.id for each in project.awards]
    book = state.claims
    return {
        name: sum(book.account((name, year)).claimed for year in book.years_of(name))
        for name in names
    }


def _holder(state: State, command: RegisterProject) -> Holder | None:
    return item_holder(state, command.id)


def _judge_project(state: State, command: RegisterProject, _stamp: Stamp) -> Judged:
    check_spelling(state, "item", command.id)
    return NOTHING_MORE


def _apply_project(state: State, number: int, entry: ProjectRegistered) -> None:
    project = state.projects[entry.id] = Project(number, entry)
    if entry.audited_investment is not UNSET:
        project.audits.append((number, entry.audited_investment))
    note_spelling(state, "item", entry.id)


def _judge_audit(state: State, command: AuditProject, _stamp: Stamp) -> Judged:
    known_project(state, command.project)
    return NOTHING_MORE


def _apply_audit(state: State, number: int, entry: ProjectAudited) -> None:
    state.projects[entry.project].audits.append((number, entry.amount))


def _judge_funds(state: State, command: FundProject, _stamp: Stamp) -> Judged:
    project = known_project(state, command.project)
    check_names("reference", [command.reference], project.sums())
    return NOTHING_MORE


def _apply_funds(state: State, number: int, entry: ProjectFunded) -> None:
    project = state.projects[entry.project]
    project.funds.append((number, entry.reference, entry.level, entry.amount))


def _registered_subjects(_state: State, entry: ProjectRegistered) -> Iterable[str]:
    return (f"project:{entry.id}",)


def _subjects(_state: State, entry: ProjectAudited | ProjectFunded) -> Iterable[str]:
    return (f"project:{entry.project}",)


PROJECT: Kind[ProjectRegistered, RegisterProject] = Kind(
    entry=ProjectRegistered,
    command=RegisterProject,
    holder=_holder,
    judge=_judge_project,
    apply=_apply_project,
    subjects=_registered_subjects,
    rows="registration",
    persons=1,
    codes=("exists_differently", "looks_alike"),
)
AUDIT: Kind[ProjectAudited, AuditProject] = Kind(
    entry=ProjectAudited,
    command=AuditProject,
    judge=_judge_audit,
    apply=_apply_audit,
    subjects=_subjects,
    rows="registration",
    codes=("unknown_project",),
)
FUNDS: Kind[ProjectFunded, FundProject] = Kind(
    entry=ProjectFunded,
    command=FundProject,
    judge=_judge_funds,
    apply=_apply_funds,
    subjects=_subjects,
    rows="registration",
    codes=("unknown_project", "looks_alike"),
)
