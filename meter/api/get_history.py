"""GET: how a contract came about, from the entries that registered, amended, funded and froze it.

Its provider reads costs alone here (`views/told.py`).
"""

from typing import Any, Final

from msgspec import UNSET, UnsetType
from msgspec.structs import replace

from ledger import canon
from ledger import store as ledger_store
from meter.api.responses import ChangeView, HistoryView, as_of, price_view
from meter.api.routes import Ask, Route
from meter.rules.entries import (
    ContractAmended,
    ContractEntry,
    ContractFunded,
    ContractRegistered,
    LateWindowOpened,
    PriceFor,
)
from meter.rules.kinds.table import read_entry
from meter.rules.state import Contract
from meter.tables.registry import Registered
from meter.values.problems import Problem
from meter.values.roles import OFFICIALS
from meter.values.units import format_moment, format_money
from meter.views.past import granted_by

_PLAIN_TERMS: Final = (
    *("contract_no", "enterprise", "signed_on", "starts", "ends", "use"),
    *("max_devices", "related_party"),
)


async def get_history(ask: Ask) -> HistoryView:
    """All that registered, amended, funded, froze and unfroze a contract."""
    async with ask.reading() as connection:
        head, known = await ask.context.snapshot(connection)
        contract = known.contract(ask.path("contract"))
        if contract is None:
            raise Problem("unknown_contract", f"no contract {ask.path('contract')}")
        enterprise = known.terms(contract).agreed.enterprise
        ask.must_be_theirs(enterprise=enterprise, provider=contract.registered.provider)
        assert ask.who is not None, "a contract is not public"
        money, official = ask.who.role != "provider", ask.who.role in OFFICIALS
        numbers = _numbers(known, contract, money=money)
        entries = await ledger_store.entries_at(connection, numbers)
    changes = []
    for number in numbers:
        entry = read_entry(canon.decode(entries[number]))
        assert isinstance(entry, ContractEntry | ContractFunded), "they are about the contract"
        change = _change(number, entry, money=money)
        if official:
            change = replace(change, by=entry.by, person=entry.person)
        changes.append(change)
    return HistoryView(history=changes, as_of=as_of(head.size, head.last_at))


def _numbers(known: Registered, contract: Contract, *, money: bool) -> list[int]:
    """Return the numbers of the entries about a contract, in order."""
    amended = [number for number, _ in contract.amendments]
    opened = [each.number for each in contract.late_windows]
    funded = [number for number, *_ in contract.funds] if money else []
    frozen = [number for number, _ in contract.freezes]
    numbers = sorted([contract.entry, *amended, *funded, *frozen, *opened])
    return [number for number in numbers if number < known.size]


def _change(number: int, entry: ContractEntry | ContractFunded, *, money: bool) -> ChangeView:
    told: dict[str, Any] = {}
    if isinstance(entry, ContractRegistered | ContractAmended):
        told = _terms(entry)
    if isinstance(entry, ContractRegistered) and money:
        told |= {"project": entry.project, "follows": entry.follows}
    if isinstance(entry, ContractAmended):
        told |= {"mode": entry.mode, "effective": entry.effective, "document": entry.document}
        told |= {"cost": format_money(entry.cost)}
    if isinstance(entry, LateWindowOpened):
        told |= {"starts": entry.starts, "ends": entry.ends, "open_until": entry.open_until}
    if isinstance(entry, ContractFunded):
        told |= {"reference": entry.reference, "level": entry.level, "document": entry.document}
        told |= {"amount": format_money(entry.amount)}
    if isinstance(entry, ContractAmended | ContractFunded) and money:
        told |= _granted(entry)
    return ChangeView(
        entry=number,
        kind=entry.kind,
        time=format_moment(entry.at),
        reason=entry.reason,
        **told,
    )


def _terms(entry: ContractRegistered | ContractAmended) -> dict[str, Any]:
    """Return the terms that an entry names."""
    return {name: getattr(entry, name) for name in _PLAIN_TERMS} | {
        "amount": UNSET if entry.amount is UNSET else format_money(entry.amount),
        "prices": _prices(entry.prices),
        "policy": entry.policy,
        "ratio_class": entry.ratio_class,
    }


def _prices(prices: dict[str, int | PriceFor] | UnsetType) -> Any:
    if prices is UNSET:
        return UNSET
    return {device: price_view(price) for device, price in prices.items()}


def _granted(entry: ContractAmended | ContractFunded) -> dict[str, str]:
    """Return the changes of what the contract is entitled to and granted."""
    entitled, granted = sum(fen for _, fen in entry.entitled), granted_by(entry, entry.contract)
    return {"entitled": format_money(entitled), "granted": format_money(granted)}


ROUTES: Final = [
    Route(
        "GET",
        "/v1/contracts/{contract}/history",
        get_history,
        "What registered, amended, funded and froze a contract",
        HistoryView,
        roles=(*OFFICIALS, "enterprise", "provider"),
        codes=("unknown_contract",),
    ),
]
