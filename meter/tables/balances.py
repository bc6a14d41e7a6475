"""Balances of coupons and totals of contracts, as of the last commit or an earlier size."""

import json
from dataclasses import dataclass
from typing import Any

from ledger import canon
from ledger import store as ledger_store
from meter.host.breath import Breath
from meter.rules.kinds.table import read_entry
from meter.rules.state import (
    CouponId,
    State,
)
from meter.tables.connections import Connection
from meter.tables.write import _SQL
from meter.views.past import PastBalance, PastShare, advance


@dataclass(frozen=True, slots=True)
class Balance:
    """A coupon's row and its contracts' shares, at one size of the ledger; fen."""

    size: int
    last_at: int
    issued: int
    shares: list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class ContractTotals:
    """A contract's numerators and its years, at one size of the ledger.

    `eligible` and `ineligible`, by reason, are numerators; `years` has those of what is withheld.
    """

    size: int
    last_at: int
    eligible: int
    ineligible: list[int]
    years: list[dict[str, Any]]


async def balance(connection: Connection, coupon: CouponId) -> Balance:
    """Read a coupon's balance, as of the last commit."""
    row = await connection.fetchrow(_SQL["balance"], *coupon)
    assert row is not None, "the head is always there"
    return Balance(row["size"], row["last_at"], row["issued"], json.loads(row["shares"]))


async def past_balance(
    connection: Connection, state: State, coupon: CouponId, size: int
) -> PastBalance:
    """Read a coupon's balance as it stood when the ledger had some size."""
    start = await ledger_store.segment_start(connection, size)
    issued = await connection.fetchval(_SQL["past_coupon"], *coupon, start)
    balance = PastBalance(issued or 0)
    for contract, *numbers in await connection.fetch(_SQL["past_shares"], *coupon, start):
        balance.shares[contract] = PastShare(*map(int, numbers))
    breath = Breath()
    async for _, data in ledger_store.entries(connection, start, size):
        await breath.take()  # a group may have thousands
        advance(balance, state, coupon, read_entry(canon.decode(data)))
    return balance


async def contract_totals(connection: Connection, contract: str) -> ContractTotals:
    """Read a contract's totals, as of the last commit."""
    row = await connection.fetchrow(_SQL["contract"], contract)
    assert row is not None, "the head is always there"
    return ContractTotals(
        row["size"],
        row["last_at"],
        int(row["eligible"]),
        list(map(int, row["ineligible"])),
        json.loads(row["years"]),
    )
