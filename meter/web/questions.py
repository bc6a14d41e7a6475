"""GET: balances, contracts, entries, the checkpoint, and the service's own state.

Answers come from committed rows in one snapshot, so they include every batch that was answered
before the question; `as_of` says how many entries that is, and the instant of the last of them.
"""

from typing import Any, Final

import msgspec
from aiohttp import web

from ledger import store as ledger_store
from ledger.note import Checkpoint, sign
from ledger.tlog import leaf_hash
from meter import store
from meter.problems import Problem
from meter.rating import cost
from meter.units import MICROSECONDS, format_instant, format_money, format_price
from meter.web.context import CONTEXT, Context, authorise, json_response

DEFAULT_PAGE: Final = 100
MAX_PAGE: Final = 1_000


async def get_balance(request: web.Request) -> web.Response:
    """What is left of an enterprise's coupon of a programme and year."""
    await authorise(request)
    context = request.app[CONTEXT]
    uscc = request.match_info["uscc"]
    programme = request.query.get("programme", "")
    year = _number(request, "year", None)
    if uscc not in context.intake.state.enterprises:
        raise Problem("unknown_enterprise", f"no enterprise {uscc}")
    policy = context.intake.state.policy_of(programme, year)
    if policy is None:
        raise Problem("unknown_programme", f"no policy of {programme!r} touches {year}")
    async with store.reading(context.readers) as connection:
        balance = await store.balance(connection, (uscc, programme, year))
    granted = sum(share["granted"] for share in balance.shares)
    entitled = sum(share["entitled"] for share in balance.shares)
    return json_response(
        {
            "enterprise": uscc,
            "programme": programme,
            "year": year,
            "issued": format_money(balance.issued),
            "granted": format_money(granted),
            "remaining": format_money(balance.issued - granted),
            "entitled": format_money(entitled),
            "uncovered": format_money(entitled - granted),
            "withheld": format_money(sum(_withheld(share) for share in balance.shares)),
            "cap": format_money(policy.cap),
            "contracts": [
                {"contract": share["contract"], **_share(share)} for share in balance.shares
            ],
            "as_of": _as_of(balance.size, balance.last_at),
        }
    )


async def get_contract(request: web.Request) -> web.Response:
    """A contract's terms and what was metered and granted under it."""
    await authorise(request)
    context = request.app[CONTEXT]
    contract = context.intake.state.contracts.get(request.match_info["contract"])
    if contract is None:
        raise Problem("unknown_contract", f"no contract {request.match_info['contract']}")
    terms = contract.registered
    async with store.reading(context.readers) as connection:
        totals = await store.contract_totals(connection, terms.id)
    return json_response(
        {
            "id": terms.id,
            "entry": contract.entry,
            "programme": terms.programme,
            "policy": terms.policy,
            "enterprise": terms.enterprise,
            "provider": terms.provider,
            "class": terms.ratio_class,
            "amount": format_money(terms.amount),
            "signed_on": terms.signed_on,
            "from": terms.starts,
            "until": terms.ends,
            "use": terms.use,
            "prices": {device: format_price(price) for device, price in terms.prices.items()},
            "max_devices": terms.max_devices,
            "related_party": terms.related_party,
            "other_public_funds": format_money(terms.other_public_funds),
            "frozen": contract.frozen,
            "cost": format_money(cost(totals.used)),
            "withheld": format_money(sum(_withheld(share) for share in totals.years)),
            "years": [{"year": share["year"], **_share(share)} for share in totals.years],
            "as_of": _as_of(totals.size, totals.last_at),
        }
    )


async def get_entries(request: web.Request) -> web.Response:
    """Entries after a number, oldest first; `next` is the `after` of the next page."""
    await authorise(request)
    after = _number(request, "after", -1)
    limit = _number(request, "limit", DEFAULT_PAGE)
    if not 1 <= limit <= MAX_PAGE:
        raise Problem("malformed", f"limit is 1 to {MAX_PAGE}")
    async with store.reading(request.app[CONTEXT].readers) as connection:
        head = await ledger_store.head(connection)
        stop = min(after + 1 + limit, head.size)
        page = [
            _entry(number, data)
            async for number, data in ledger_store.entries(connection, after + 1, stop)
        ]
    return json_response(
        {
            "entries": page,
            "next": max(after, stop - 1),
            "as_of": _as_of(head.size, head.last_at),
        }
    )


async def get_entry(request: web.Request) -> web.Response:
    """One entry, its bytes embedded as they are, and its leaf hash."""
    await authorise(request)
    number = _parse_number("entry", request.match_info["entry"])
    async with store.reading(request.app[CONTEXT].readers) as connection:
        found = await ledger_store.entries_at(connection, [number])
    if number not in found:
        raise Problem("not_found", f"no entry {number}")
    return json_response(_entry(number, found[number]))


async def get_checkpoint(request: web.Request) -> web.Response:
    """The signed size and root of the committed ledger; the same bytes for the same size."""
    context: Context = request.app[CONTEXT]
    async with store.reading(context.readers) as connection:
        head = await ledger_store.head(connection)
    checkpoint = Checkpoint(context.checkpoints.name, head.size, head.root)
    return web.Response(
        body=sign(checkpoint.format(), context.checkpoints),
        content_type="text/plain",
        charset="utf-8",
        headers={"Cache-Control": "no-cache"},
    )


async def get_health(_request: web.Request) -> web.Response:
    """The process answers."""
    return json_response({"status": "ok"})


async def get_readiness(request: web.Request) -> web.Response:
    """The service can commit."""
    if not request.app[CONTEXT].intake.ready:
        raise Problem("unavailable", "the ledger is being loaded")
    return json_response({"status": "ready"})


async def get_metrics(request: web.Request) -> web.Response:
    """Prometheus metrics."""
    return web.Response(
        body=request.app[CONTEXT].metrics.text(),
        headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"},
    )


def _share(share: dict[str, Any]) -> dict[str, str]:
    entitled, granted = share["entitled"], share["granted"]
    return {
        "entitled": format_money(entitled),
        "granted": format_money(granted),
        "uncovered": format_money(entitled - granted),
        "withheld": format_money(_withheld(share)),
    }


def _withheld(share: dict[str, Any]) -> int:
    """Cost of what was withheld in a year; the numerator comes as text, for it may be large."""
    return cost(int(share["withheld"]))


def _entry(number: int, data: bytes) -> dict[str, Any]:
    return {"number": number, "leaf_hash": leaf_hash(data).hex(), "entry": msgspec.Raw(data)}


def _as_of(size: int, last_at: int) -> dict[str, Any]:
    return {"entries": size, "time": format_instant(last_at // MICROSECONDS)}


def _number(request: web.Request, name: str, default: int | None) -> int:
    text = request.query.get(name)
    if text is None:
        if default is None:
            raise Problem("malformed", f"the parameter {name} is needed")
        return default
    return _parse_number(name, text)


def _parse_number(name: str, text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 16):
        raise Problem("malformed", f"{name} is not a whole number")
    return int(text)


ROUTES: Final = [
    web.get("/v1/enterprises/{uscc}/balance", get_balance),
    web.get("/v1/contracts/{contract}", get_contract),
    web.get("/v1/entries", get_entries),
    web.get("/v1/entries/{entry}", get_entry),
    web.get("/log/checkpoint", get_checkpoint),
    web.get("/healthz", get_health),
    web.get("/readyz", get_readiness),
    web.get("/metrics", get_metrics),
]
