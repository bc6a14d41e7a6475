"""The authority's acts: a form, a confirmation with figures before and after, and an entry.

What needs two persons becomes a proposal, which another person confirms on a page of its own
(`authority.py`). The confirmation holds the idempotency key, so a double click books once, and the
seal of what it shows: where that has changed, nothing is done, and the new figures are shown.
"""

import contextlib
from collections.abc import Mapping
from typing import Any, Final

import msgspec
from aiohttp import web

from meter.api.get import get_contract
from meter.api.get_official import (
    ContractsQuery,
    PartiesQuery,
    get_contracts,
    get_enterprises,
    get_providers,
)
from meter.api.get_own import get_enterprise, get_me, get_provider
from meter.api.post import give, give_kind
from meter.api.post_preview import answered, previewed
from meter.api.preview_responses import PreviewView
from meter.api.responses import MadeEntry
from meter.api.routes import Ask, answer
from meter.console import act_view, form, page
from meter.console.act_forms import ACTS, GROUPS, Act, FieldKind, body_of, refused
from meter.console.formats import Language
from meter.console.words import words
from meter.host.sign_in import new_secret
from meter.values.problems import Problem

OFFERED: Final = 200  # enterprises, providers or contracts that a field offers
CHANGE: Final = "change"  # the button of a confirmation that leads back to its form


async def show_acts(ask: Ask, language: Language) -> web.StreamResponse:
    """List the acts."""
    return page.show(ask, "acts.html", language, groups=GROUPS)


async def show_act(ask: Ask, language: Language) -> web.StreamResponse:
    """Show an act's form; what a link names in its query stands in it already."""
    act = _act(ask)
    given = {each.name: ask.request.query.get(each.name, "") for each in act.fields}
    return page.show(ask, "act.html", language, **await _form(ask, act, form.Filled(given)))


async def send_act(ask: Ask, language: Language) -> web.StreamResponse:
    """Show what a filled form would do; or do it, as its confirmation was shown."""
    act, values, said = _act(ask), ask.form, words(language)
    if values.get("act") == CHANGE:
        held = await _form(ask, act, form.Filled(values))
        return page.show_again(ask, "act.html", language, 200, **held)
    body, faults = body_of(act, values)
    if faults:
        filled = form.Filled(values, {name: said[word] for name, word in faults.items()})
        return await _again(ask, language, act, filled)
    try:
        return await _confirmed(ask, language, act, body)
    except Problem as problem:
        before = None if problem.code == "idempotency_conflict" else await booked(ask)
        if before is not None:  # by the first of two clicks
            return page.see_other(f"/{language}/entries/{before}")
        detail = page.told(problem.detail, language)
        return await _again(ask, language, act, refused(act, values, problem, detail, said))


async def _confirmed(
    ask: Ask, language: Language, act: Act, body: Mapping[str, Any]
) -> web.StreamResponse:
    """Do what was confirmed; else show what there is to confirm. Raises `Problem`."""
    found, seal = await previewed(ask, act.name, body), ask.form.get(form.SEAL, "")
    if seal == seal_of(found, body):
        return page.see_other(f"/{language}/{await _given(ask, act, body, found)}")
    before = await booked(ask)
    if before is not None:
        return page.see_other(f"/{language}/entries/{before}")
    held = await _confirmation(ask, language, act, body, found)
    return page.show_again(ask, "act_confirm.html", language, 409 if seal else 200, **held)


async def _given(ask: Ask, act: Act, body: Mapping[str, Any], found: PreviewView) -> str:
    """Give a command, or propose it where it needs two persons; returns the path of its entry."""
    if found.persons == 1:
        response = await give_kind(ask, act.name, body, _key(ask))
        return f"entries/{_made(response.body)}"
    proposed = {"command": act.name, "body": body}
    if "reason" in body:
        proposed["reason"] = body["reason"]
    response = await give(ask, "/v1/proposals", proposed, _key(ask))
    return f"proposals/{_made(response.body)}"


def _made(body: bytes) -> int:
    return msgspec.json.decode(body, type=MadeEntry).entry


def _key(ask: Ask) -> str:
    return str(ask.form.get("key", ""))


async def booked(ask: Ask) -> int | None:
    """Return the entry that this very form has made before."""
    key = _key(ask)
    return await answered(ask, key) if key else None


def seal_of(found: PreviewView, body: Mapping[str, Any]) -> str:
    """Return what stands for a command and all that its confirmation shows of it."""
    figures = msgspec.json.encode([found.exists, found.persons, found.figures])
    return form.seal(msgspec.json.encode(body).decode(), figures.decode())


async def _again(ask: Ask, language: Language, act: Act, filled: form.Filled) -> web.StreamResponse:
    """Show a form that was not taken."""
    return page.show_again(ask, "act.html", language, 400, **await _form(ask, act, filled))


async def _form(ask: Ask, act: Act, filled: form.Filled) -> dict[str, Any]:
    """Return what the page of a form shows."""
    async with ask.at_once() as asked:
        programmes = (await answer(asked, get_me)).programmes
        known = {each.kind: await _known(asked, each.kind) for each in act.fields}
    return {
        "act": act,
        "form": filled,
        "programmes": programmes,
        "known": {kind: names for kind, names in known.items() if names},
    }


async def _known(ask: Ask, kind: FieldKind) -> list[tuple[str, str]]:
    """Return ids and names from which a field may be filled in; only so many are told."""
    if kind == "uscc":
        firms = await answer(ask, get_enterprises, PartiesQuery(limit=OFFERED))
        return [(each.uscc, each.name) for each in firms.enterprises]
    if kind == "provider":
        providers = await answer(ask, get_providers, PartiesQuery(limit=OFFERED))
        return [(each.id, each.name) for each in providers.providers]
    if kind == "contract":
        contracts = await answer(ask, get_contracts, ContractsQuery(limit=OFFERED))
        return [(each.id, each.enterprise) for each in contracts.contracts]
    return []


async def _confirmation(
    ask: Ask, language: Language, act: Act, body: Mapping[str, Any], found: PreviewView
) -> dict[str, Any]:
    """Return what a confirmation shows."""
    said = words(language)
    return {
        "act": act,
        "values": {each.name: ask.form.get(each.name, "").strip() for each in act.fields},
        "facts": act_view.facts(act, ask.form, await names(ask, act, body), said, language),
        "found": found,
        "figures": act_view.figure_lines(found.figures, said),
        "made": act_view.made(found.response, said),
        "seal": seal_of(found, body),
        "key": _key(ask) or new_secret(),
        "stale": form.SEAL in ask.form,
    }


async def names(ask: Ask, act: Act, body: Mapping[str, Any]) -> dict[str, str]:
    """Return what the parties that an act names are called, by its fields."""
    found = {}
    for each in act.fields:
        name = body.get(each.name)
        with contextlib.suppress(Problem):
            if name and each.kind == "uscc":
                detail = await answer(ask, get_enterprise, uscc=name)
                found[each.name] = detail.enterprise.name
            elif name and each.kind == "provider":
                found[each.name] = (await answer(ask, get_provider, provider=name)).name
            elif name and each.kind == "contract":
                contract = await answer(ask, get_contract, contract=name)
                firm = await answer(ask, get_enterprise, uscc=contract.enterprise)
                found[each.name] = firm.enterprise.name
    return found


def _act(ask: Ask) -> Act:
    """Return the act that a URL names. Raises `not_found`."""
    act = ACTS.get(ask.path("act"))
    if act is None:
        raise Problem("not_found", f"no act {ask.path('act')}")
    return act


_ROLES: Final = ("authority",)
ROUTES: Final = (
    *page.pages("acts", show_acts, _ROLES),
    *page.pages("acts/{act}", show_act, _ROLES),
    *page.forms("acts/{act}", send_act, _ROLES),
)
