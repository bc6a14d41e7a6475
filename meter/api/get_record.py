"""GET: one line of an enterprise's records, with all operands of its figures."""

from typing import Any, Final, get_args

from msgspec import UNSET, UnsetType

from ledger import canon
from meter.api.get import entry_number
from meter.api.get_enterprise import asked_contracts, lines_of
from meter.api.record_responses import CalculatedPart, Limit, RecordDetail, SignedView
from meter.api.responses import as_of, price_view
from meter.api.routes import Ask, Route
from meter.rules.contract_terms import ContractTerms
from meter.rules.entries import AnyEntry, UsageAccepted
from meter.rules.kinds.table import read_entry
from meter.rules.state import Contract
from meter.tables import balances, pages
from meter.tables.balances import ContractTotals
from meter.tables.connections import Connection
from meter.values.problems import Problem
from meter.values.roles import OFFICIALS
from meter.values.units import format_hours, format_instant, format_money
from meter.views.calculation import parts_of, ratios_of, shortfall_of
from meter.views.past import RecordStatus
from meter.wire.dsse import BATCH_TYPE, parse, parse_signature_header


async def get_record(ask: Ask) -> RecordDetail:
    """One record, void or release, by the number of its entry."""
    number = entry_number(ask.path("line"))
    async with ask.reading() as connection:
        head, known = await ask.context.snapshot(connection)
        own = {each.registered.id: each for each in asked_contracts(ask, known, UNSET)}
        page = await pages.records(
            connection,
            list(own),
            get_args(RecordStatus),
            number - 1,
            1,
            changes=True,
            newest=False,
            size=head.size,
        )
        if not page.items or page.items[0].entry != number:
            raise Problem("not_found", f"entry {number} is no record of {ask.path('uscc')}")
        (line,) = await lines_of(page.items)
        contract = own[line.view.contract]
        totals = await balances.contract_totals(connection, contract.registered.id)
        entry = read_entry(canon.decode(page.items[0].data))
        signed = await _signed(ask, connection, entry)
    told: dict[str, Any] = {"parts": [], "rounding": format_money(0), "ratios": []}
    if isinstance(entry, UsageAccepted):
        told = _calculation(entry, known.state.terms_at(contract, number))
    return RecordDetail(
        record=line.view,
        reached=_reached(contract, totals),
        signed=signed,
        as_of=as_of(head.size, head.last_at),
        **told,
    )


async def _signed(ask: Ask, connection: Connection, entry: AnyEntry) -> SignedView | UnsetType:
    """Return who signed the batch that an entry came by, and its receipt."""
    batch = getattr(entry, "batch", UNSET)
    if batch is UNSET:
        return UNSET
    held = await pages.batch_of_entry(connection, batch)
    is_official = ask.who is not None and ask.who.role in OFFICIALS
    return SignedView(
        entry=batch,
        keyid=parse(held.envelope, BATCH_TYPE).keyid,
        receipt_keyid=parse_signature_header(held.signature)[0][0],
        batch=held.payload if is_official else UNSET,
    )


def _calculation(record: UsageAccepted, terms: ContractTerms | Contract) -> dict[str, Any]:
    parts, ratios = parts_of(record, terms), ratios_of(record, terms)
    return {
        "parts": [
            CalculatedPart(
                starts=format_instant(part.start),
                ends=format_instant(part.end),
                device_hours=format_hours(part.device_time),
                price=price_view(part.price),
                amount=format_money(part.amount),
            )
            for part in parts
        ],
        "rounding": format_money(record.cost - sum(part.amount for part in parts)),
        "ratios": ratios,
        **(_shortfall(record, ratios[0], terms) if len(ratios) == 1 else {}),
    }


def _shortfall(
    record: UsageAccepted, ratio_bp: int, terms: ContractTerms | Contract
) -> dict[str, Any]:
    """Return by how much a record is entitled to less than its ratio gives, and why."""
    found = shortfall_of(record, ratio_bp, terms)
    if found is None:
        return {}
    return {
        "share": format_money(found.share),
        "short": format_money(found.short),
        "short_by": "limit" if found.by_limit else "rounding",
    }


def _reached(contract: Contract, totals: ContractTotals) -> list[Limit]:
    """Return the limits that leave a contract no more, by now."""
    entitled = sum(share["entitled"] for share in totals.years)
    is_reached: dict[Limit, bool] = {
        "contract_amount": totals.eligible >= contract.terms.numerator,
        "combined_support": entitled >= contract.terms.support_limit,
        "coupon": any(share["granted"] < share["entitled"] for share in totals.years),
    }
    return [limit for limit, reached in is_reached.items() if reached]


ROUTES: Final = [
    Route(
        "GET",
        "/v1/enterprises/{uscc}/records/{line}",
        get_record,
        "One record, void or release, and how its cost came about",
        RecordDetail,
        roles=(*OFFICIALS, "enterprise"),
        codes=("unknown_enterprise", "not_found"),
    ),
]
