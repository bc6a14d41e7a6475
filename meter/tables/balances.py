"""Balances of coupons and totals of contracts, as of the last commit or an earlier size."""

import json
from dataclasses import asdict, dataclass
from typing import Any

from ledger import canon
from ledger import store as ledger_store
from meter.host.breath import Breath
from meter.rules.entries import ContractAmended
from meter.rules.kinds.table import read_entry
from meter.rules.state import CouponId, State
from meter.tables import pages
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
    items, year = items_of(state, coupon, size), coupon[2]
    for item, *numbers in await connection.fetch(_SQL["past_shares"], items, year, start):
        balance.shares[item] = PastShare(*map(int, numbers))
    rows = await connection.fetch(_SQL["amended_shares"], items, year, start, size)
    amended = {(entry, item): PastShare(*map(int, numbers)) for entry, item, *numbers in rows}
    breath = Breath()
    async for number, data in ledger_store.entries(connection, start, size):
        await breath.take()  # a group may have thousands
        entry = read_entry(canon.decode(data))
        advance(balance, state, coupon, number, entry)
        if isinstance(entry, ContractAmended) and (number, entry.contract) in amended:
            balance.shares[entry.contract] = amended[number, entry.contract]
    balance.shares = {name: share for name, share in balance.shares.items() if name in items}
    return balance


def items_of(state: State, coupon: CouponId, size: int) -> list[str]:
    """Return the contracts and awards that a coupon paid for when the ledger had some size."""
    uscc, programme, _ = coupon
    enterprise = state.enterprises[uscc]
    contracts = {
        each.registered.id
        for each in [*state.contracts_of(uscc, programme), *enterprise.left]
        if each.registered.programme == programme
        and each.entry < size
        and each.enterprise_at(size) == uscc
    }
    awards = {
        each.made.id
        for each in enterprise.awards
        if each.made.programme == programme and each.entry < size
    }
    return sorted(contracts | awards)


async def past_contract_totals(
    connection: Connection, contract: str, size: int, last_at: int
) -> ContractTotals:
    """Read a contract's totals as of the commit that ended at a size and an instant."""
    held = (await pages.past_contracts(connection, [contract], size))[contract]
    years = [{"year": year, **asdict(share)} for year, share in held.years.items()]
    return ContractTotals(size, last_at, held.eligible, held.ineligible, years)


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
