"""Budgets: what a year's pool may issue, where the policy states no sum or the city gives less.

A budget is set for the programme that owns the pool. The newest one counts, with the policy's own
figure beside it: the limit is the smaller of the two.
"""

from dataclasses import replace

from meter.rules.commands import SetBudget
from meter.rules.entries import BudgetSet
from meter.rules.kinds.kind import Judged, Kind, Stamp, active_policy
from meter.rules.kinds.pools import set_aside
from meter.rules.state import State
from meter.values.problems import Problem
from meter.values.units import format_money


def _judge(state: State, command: SetBudget, _stamp: Stamp) -> Judged:
    policy = active_policy(state, command.programme)
    if policy.pool_owner != command.programme:
        detail = f"{command.programme} shares the pool of {policy.pool_owner}, which has the budget"
        raise Problem("pool_owner", detail)
    pool_id = command.programme, command.year
    pool = state.pools.get(pool_id)
    if pool is None:
        raise Problem("unknown_year", f"no policy of {command.programme} touches {command.year}")
    if pool.stated is not None and command.amount > pool.stated:
        raise Problem("pool_exceeded", f"the policy states {format_money(pool.stated)}")
    if command.amount < pool.issued:
        raise Problem("pool_below_issued", f"{format_money(pool.issued)} are issued")
    after = replace(pool, budget=int(command.amount))
    return {}, set_aside(pool_id, pool.amount, after.amount)


def _apply(state: State, _number: int, entry: BudgetSet) -> None:
    state.pools[entry.programme, entry.year].budget = entry.amount
    state.touched.pools.add((entry.programme, entry.year))


BUDGET: Kind[BudgetSet, SetBudget] = Kind(
    entry=BudgetSet,
    command=SetBudget,
    judge=_judge,
    apply=_apply,
    rows="registration",
    codes=("unknown_programme", "pool_owner", "unknown_year", "pool_exceeded", "pool_below_issued"),
    moves_money=True,
)
