"""Awards: money for what a project cost or an applicant did, issued and granted in one entry.

    amount ≤ min(min(floor(ratio · base), fixed, caps) − funds, ceiling, pool)

`funds` is the project's other public money where the policy has `[combined_support]`, else nothing.
A cap counts what the others of its applicant and year, project, or applicant have; that of a class
counts those of the class. The ceiling of a project counts all its awards, as far as it is known
(`kinds/projects.py`). The money goes pool → coupon → accrued, so that an award is to its coupon
what a contract is: always entitled to what it was granted.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from msgspec import UNSET

from meter.rules.commands import ChangeAward, MakeAward
from meter.rules.entries import AwardChanged, AwardMade, EnterpriseRegistered, Posting
from meter.rules.kinds.kind import (
    Existing,
    Holder,
    Judged,
    Kind,
    Stamp,
    active_enterprise,
    active_policy,
    check_applicant,
    check_spelling,
    class_on,
    item_holder,
    known_project,
    note_spelling,
)
from meter.rules.kinds.periods import check_open
from meter.rules.kinds.pools import check_pool, check_year, given_back
from meter.rules.kinds.projects import city_ceiling
from meter.rules.rating import FULL_BP
from meter.rules.state import Award, Project, State
from meter.values.policy import FundingClass, Policy
from meter.values.problems import Problem
from meter.values.units import MICROSECONDS, add_months, format_date, format_money


def _holder(state: State, command: MakeAward) -> Holder | None:
    return item_holder(state, command.id)


def _judge(state: State, command: MakeAward, stamp: Stamp) -> Judged:
    check_spelling(state, "item", command.id)
    active_policy(state, command.programme)
    enterprise = active_enterprise(state, command.enterprise)
    policy = state.policy_of(command.programme, command.year, state.size)
    if policy is None:
        raise Problem("unknown_year", f"no policy of {command.programme} touches {command.year}")
    if policy.meter != "award":
        raise Problem("wrong_meter", f"{policy.programme} funds by {policy.meter}")
    check_year(state, command.programme, command.year)
    check_open(state, command.programme, command.year, stamp)
    check_applicant(state, policy, enterprise.facts)
    today = format_date(stamp.at // MICROSECONDS)
    _check_age(policy, enterprise.facts, today)
    derived = class_on(policy, enterprise.facts, today)
    _check_request(policy, command, derived)
    of_class = policy.classes[derived or str(command.named)]
    _Wanted(state, policy, command, of_class, int(command.amount)).check()
    fields = {"policy": policy.version, "derived": UNSET if derived is None else derived}
    return fields, _money(state, command, int(command.amount))


def _check_age(policy: Policy, enterprise: EnterpriseRegistered, today: str) -> None:
    if policy.age_months is None:
        return
    starts, ends = (add_months(enterprise.founded_on, months) for months in policy.age_months)
    # Dates of one form compare as text.
    if not starts <= today < ends:
        detail = f"founded on {enterprise.founded_on}, it may apply from {starts} until {ends}"
        raise Problem("not_applicant", detail)


def _check_request(policy: Policy, command: MakeAward, derived: str | None) -> None:
    """Check that the request has what the policy needs of it, and no more."""
    if command.amount == 0:
        raise Problem("malformed", "the amount is zero", field="amount")
    if derived is not None and command.named is not UNSET:
        raise Problem("malformed", f"the class follows: it is {derived}", field="class")
    names = ", ".join(policy.classes)
    if derived is None and command.named is UNSET:
        raise Problem("malformed", f"the class is one of {names}", field="class")
    if derived is None and command.named not in policy.classes:
        raise Problem("unknown_class", f"{command.named} is not one of {names}")
    if policy.classes[derived or str(command.named)].ratio_bp is not None and command.base is UNSET:
        raise Problem("malformed", "the class has a ratio, of a base", field="base")
    needs_project = policy.cap_per == "project" or policy.combined_bp
    if needs_project and command.project is UNSET:
        raise Problem("malformed", f"{policy.programme} funds projects", field="project")


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What is asked for an award, new or raised (`own`), and the limits that it must keep.

    An award that is raised does not count beside itself.
    """

    state: State
    policy: Policy
    made: MakeAward | AwardMade
    of_class: FundingClass
    amount: int
    own: Award | None = None

    def check(self) -> None:
        """Raise `Problem` for the first limit that is exceeded."""
        project = self._project()
        self._check_stacking(project)
        amount, funds = self.amount, self._funds(project)
        for limit in self._own_limits():
            if amount > limit - funds:
                raise Problem("above_need", f"{_left(limit - funds)} can be awarded")
        others = self._others(project)
        if self.policy.once and others:
            raise Problem("cap_exceeded", f"there is award {others[0].made.id}, and one is all")
        for cap, counted in self._caps(others):
            if amount > cap - counted - funds:
                raise Problem("cap_exceeded", f"{_left(cap - counted - funds)} are left")
        self._check_ceiling(project)
        before = 0 if self.own is None else self.own.amount
        pool_id = self.state.pool_id(self.made.programme, self.made.year)
        check_pool(self.state, pool_id, amount - before)

    def _project(self) -> Project | None:
        return None if self.made.project is UNSET else known_project(self.state, self.made.project)

    def _funds(self, project: Project | None) -> int:
        """Return the other public money that counts against the award."""
        if project is None or not self.policy.combined_bp:
            return 0
        return sum(fen for _, fen in project.sums().values())

    def _own_limits(self) -> Iterator[int]:
        if self.of_class.ratio_bp is not None:
            assert self.made.base is not UNSET, "the request was checked"
            yield self.of_class.ratio_bp * int(self.made.base) // FULL_BP
        if self.of_class.fixed is not None:
            yield self.of_class.fixed

    def _caps(self, others: list[Award]) -> Iterator[tuple[int, int]]:
        """Yield each cap, and what the others have of it."""
        if self.of_class.cap is not None:
            of_class = (each for each in others if each.made.class_name == self.of_class.name)
            yield self.of_class.cap, sum(each.amount for each in of_class)
        if self.policy.cap is not None:
            yield self.policy.cap, sum(each.amount for each in others)

    def _others(self, project: Project | None) -> list[Award]:
        """Return the awards that share the caps of this one and hold money."""
        made, per = self.made, self.policy.cap_per
        if per == "project":
            assert project is not None, "the request was checked"
            found = project.awards
        else:
            codes = self.state.firm_of(made.enterprise)
            found = [each for code in codes for each in self.state.enterprises[code].awards]
        return [
            each
            for each in found
            if each.made.programme == made.programme and each.amount and each is not self.own
            if per != "applicant-year" or each.made.year == made.year
        ]

    def _check_ceiling(self, project: Project | None) -> None:
        ceiling = None if project is None else city_ceiling(project)
        if project is None or ceiling is None:
            return
        left = ceiling - sum(each.amount for each in project.awards if each is not self.own)
        if self.amount > left:
            raise Problem("project_ceiling", f"{_left(left)} are left of the audited investment")

    def _check_stacking(self, project: Project | None) -> None:
        """Check that no other programme of the group funds the project."""
        for each in () if project is None else project.awards:
            other = self.state.active[each.made.programme]
            is_other = other.programme != self.policy.programme
            if is_other and other.group == self.policy.group and each.amount:
                raise Problem("stacked", f"award {each.made.id} of {other.programme} funds it")


def _left(fen: int) -> str:
    return format_money(max(0, fen))


def _money(state: State, made: MakeAward | AwardMade, change: int) -> list[Posting]:
    """Return the postings that raise an award, or lower it."""
    owner, year = state.pool_id(made.programme, made.year)
    pool, coupon = f"pool:{owner}:{year}", f"coupon:{made.programme}:{year}:{made.enterprise}"
    accrued = f"accrued:{made.id}:{year}"
    if change > 0:
        return [(pool, coupon, change), (coupon, accrued, change)]
    back = given_back(state, (owner, year), -change)
    return [(accrued, coupon, -change), (coupon, pool, -change), *back]


def _apply(state: State, number: int, entry: AwardMade) -> None:
    award = state.awards[entry.id] = Award(number, entry)
    state.enterprises[entry.enterprise].awards.append(award)
    if entry.project is not UNSET:
        state.projects[entry.project].awards.append(award)
    note_spelling(state, "item", entry.id)
    _set(state, award, number, entry.amount)


def _judge_change(state: State, command: ChangeAward, stamp: Stamp) -> Judged:
    award = state.awards.get(command.award)
    if award is None:
        raise Problem("unknown_award", f"no award {command.award}")
    amount = int(command.amount)
    if amount == award.amount:
        return Existing(award.amounts[-1][0])
    made = award.made
    if amount > award.amount:
        check_open(state, made.programme, made.year, stamp)
        policy = state.policy_of(made.programme, made.year, state.size)
        assert policy is not None, "a policy touched the year when the award was made"
        if made.class_name not in policy.classes:
            raise Problem("unknown_class", f"{policy.version} has no class {made.class_name}")
        of_class = policy.classes[made.class_name]
        _Wanted(state, policy, made, of_class, amount, award).check()
    return {}, _money(state, made, amount - award.amount)


def _apply_change(state: State, number: int, entry: AwardChanged) -> None:
    _set(state, state.awards[entry.award], number, entry.amount)


def _set(state: State, award: Award, number: int, amount: int) -> None:
    made, change = award.made, amount - award.amount
    award.amounts.append((number, amount))
    coupon = (made.enterprise, made.programme, made.year)
    pool_id = state.pool_id(made.programme, made.year)
    state.coupons[coupon] = state.coupons.get(coupon, 0) + change
    state.granted[coupon] = state.granted.get(coupon, 0) + change
    state.pools[pool_id].issued += change
    state.touched.awards.add(made.id)
    state.touched.coupons.add(coupon)
    state.touched.pools.add(pool_id)


def _subjects(_state: State, entry: AwardMade) -> Iterable[str]:
    return _subjects_of(entry)


def _changed_subjects(state: State, entry: AwardChanged) -> Iterable[str]:
    return _subjects_of(state.awards[entry.award].made)


def _subjects_of(made: AwardMade) -> Iterator[str]:
    yield f"award:{made.id}"
    yield f"enterprise:{made.enterprise}"
    if made.project is not UNSET:
        yield f"project:{made.project}"


def _response(_state: State, entry: AwardMade) -> dict[str, Any]:
    return {"policy": entry.policy, "class": entry.class_name}


_LIMITS = (
    *("above_need", "cap_exceeded", "project_ceiling", "pool_exceeded", "no_budget", "stacked"),
    *("unknown_class", "year_closed"),
)
AWARD: Kind[AwardMade, MakeAward] = Kind(
    entry=AwardMade,
    command=MakeAward,
    holder=_holder,
    judge=_judge,
    apply=_apply,
    subjects=_subjects,
    rows="registration",
    response=_response,
    codes=(
        *("exists_differently", "looks_alike", "unknown_programme", "unknown_enterprise"),
        "succeeded",
        *("unknown_year", "unknown_project", "wrong_meter", "not_applicant", "role_conflict"),
        *_LIMITS,
    ),
    moves_money=True,
)
CHANGE: Kind[AwardChanged, ChangeAward] = Kind(
    entry=AwardChanged,
    command=ChangeAward,
    judge=_judge_change,
    apply=_apply_change,
    subjects=_changed_subjects,
    rows="registration",
    codes=("unknown_award", *_LIMITS),
    moves_money=True,
)
