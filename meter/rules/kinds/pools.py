"""What moves money between a treasury, a pool and what is issued from it; no kind of its own.

A pool's account holds what was set aside (`Pool.amount`), less what is issued.
"""

from dataclasses import replace

from meter.rules.entries import Posting
from meter.rules.state import PoolId, State
from meter.values.problems import Problem
from meter.values.units import format_money


def set_aside(pool_id: PoolId, before: int, after: int) -> list[Posting]:
    """Return the posting that changes what is set aside for a pool."""
    programme, year = pool_id
    treasury, account = f"treasury:{programme}:{year}", f"pool:{programme}:{year}"
    if after > before:
        return [(treasury, account, after - before)]
    return [(account, treasury, before - after)] if after < before else []


def check_year(state: State, programme: str, year: int) -> PoolId:
    """Return the pool of a programme's year. Raises `Problem` `unknown_year`."""
    pool_id = state.pool_id(programme, year)
    if pool_id not in state.pools:
        raise Problem("unknown_year", f"no policy of {pool_id[0]} touches {year}")
    return pool_id


def check_pool(state: State, pool_id: PoolId, fen: int) -> None:
    """Raise `Problem` where a pool cannot issue so much more."""
    pool, (owner, year) = state.pools[pool_id], pool_id
    if pool.stated is None and pool.budget is None:
        raise Problem("no_budget", f"{owner} states no pool, and {year} has no budget")
    if pool.issued + fen > pool.limit:
        left = max(0, pool.limit - pool.issued)
        raise Problem("pool_exceeded", f"{format_money(left)} are left")


def given_back(state: State, pool_id: PoolId, fen: int) -> list[Posting]:
    """Return what goes on to the treasury: issued above a limit that was lowered since."""
    pool = state.pools[pool_id]
    after = replace(pool, issued=pool.issued - fen)
    return set_aside(pool_id, pool.amount, after.amount)
