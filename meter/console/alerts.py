"""Alerts: where they go and about what, chosen by each person for itself, and what was sent.

A form holds a key, so that a double click adds one target, and sends one test.
"""

from typing import Any, Final, cast

from aiohttp import web

from meter.api.alert_responses import AlertsView, TargetView
from meter.api.alerts import EVERYBODY, get_alerts
from meter.api.routes import Ask, answer
from meter.console import form, page
from meter.console.form import Filled
from meter.console.formats import Language
from meter.console.words import spoken, words
from meter.host.destinations import Choice, Means
from meter.host.sign_in import new_secret
from meter.host.tokens import Identity
from meter.values.problems import Problem

MEANS: Final[tuple[Means, ...]] = ("webhook", "mail")
TARGET: Final = "target"  # in the query, and in a form
KIND: Final = "kind_"  # begins the field of a kind
_CODES: Final = (
    *("bad_target", "too_many_targets", "target_off", "not_found"),
    "idempotency_conflict",
)


async def show_alerts(ask: Ask, language: Language) -> web.StreamResponse:
    """Show one's targets with the form of another one, or a target and what was sent to it."""
    found = await answer(ask, get_alerts)
    name = ask.request.query.get(TARGET, "")
    if not name:
        return page.show(ask, "alerts.html", language, **_list(ask, found))
    values = _one(found, _target(found, name))
    return page.show(ask, "alert_target.html", language, **values)


async def send_alerts(ask: Ask, language: Language) -> web.StreamResponse:
    """Add a target, or do something with the one that the form names."""
    found = await answer(ask, get_alerts)
    name = ask.form.get(TARGET, "")
    if not name:
        return await _add(ask, language, found)
    target = _target(found, name)
    try:
        async with ask.turn():
            await _act(ask, language, found, target)
    except Problem as problem:
        values = _one(found, target) | {"form": _refused(ask, language, problem)}
        return page.show_again(ask, "alert_target.html", language, 400, **values)
    return page.see_other(f"/{language}/alerts?{TARGET}={target.id}")


async def _add(ask: Ask, language: Language, found: AlertsView) -> web.StreamResponse:
    try:
        choice = _choice(ask, language, found, cast("Means", ask.form.get("means", "webhook")))
        address, now = ask.form.get("address", "").strip(), ask.context.clock.counted()
        async with ask.turn():
            await ask.context.alerts.add(_who(ask), choice, address, _key(ask), now)
    except Problem as problem:
        values = _list(ask, found) | {"form": _refused(ask, language, problem)}
        return page.show_again(ask, "alerts.html", language, 400, **values)
    return page.see_other(f"/{language}/alerts")


async def _act(ask: Ask, language: Language, found: AlertsView, target: TargetView) -> None:
    book, who, now = ask.context.alerts, _who(ask), ask.context.clock.counted()
    match ask.form.get("act"):
        case "change":
            await book.change(who, target.id, _choice(ask, language, found, target.means))
        case "test":
            await book.test(who, target.id, _key(ask), now)
        case "on" | "off" as act:
            await book.turn(who, target.id, _key(ask), now, is_on=act == "on")
        case "again":
            await book.send_again(who, ask.form.get("alert", ""), _key(ask), now)
        case _:
            raise Problem("malformed", "the form names no act")


def _key(ask: Ask) -> str:
    """Return the key of the form, for what it does and to which message."""
    key = ask.form.get("key") or new_secret()
    return " ".join((ask.form.get("act", "add"), ask.form.get("alert", ""), key))


def _choice(ask: Ask, language: Language, found: AlertsView, means: Means) -> Choice:
    """Return what a form chooses. Raises `malformed`."""
    kinds = [kind for kind in found.kinds if KIND + kind in ask.form]
    if not kinds:
        w = spoken(language)
        raise Problem("malformed", w.alerts_choose)
    if means not in MEANS:
        raise Problem("malformed", "the form names no means")
    return Choice(means, language, kinds)


def _refused(ask: Ask, language: Language, problem: Problem) -> Filled:
    detail = page.told(problem.detail, language)
    if problem.code == "bad_target":
        return Filled(ask.form, {"address": detail})
    return form.refused(ask.form, problem, detail, words(language))


def _list(ask: Ask, found: AlertsView) -> dict[str, Any]:
    means = MEANS if ask.context.alerts.sends_mail else MEANS[:1]
    return {"found": found, "means": means, "form": Filled(), "key": new_secret()}


def _one(found: AlertsView, target: TargetView) -> dict[str, Any]:
    sent = [each for each in found.alerts if each.target == target.id]
    return {
        "found": found,
        "target": target,
        "sent": sent,
        "form": Filled(),
        "key": new_secret(),
    }


def _target(found: AlertsView, name: str) -> TargetView:
    """Return one of the targets. Raises `not_found`."""
    for target in found.targets:
        if target.id == name:
            return target
    raise Problem("not_found", "there is no such thing for this token")


def _who(ask: Ask) -> Identity:
    assert ask.who is not None, "the page is not public"
    return ask.who


ROUTES: Final = (
    *page.pages("alerts", show_alerts, EVERYBODY),
    *page.forms("alerts", send_alerts, EVERYBODY, _CODES),
)
