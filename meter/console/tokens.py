"""Bearer tokens: a list without secrets; one is made, and shown this once; one is revoked.

An official makes and revokes those of other roles. What the authority's own persons hold is named
and ended by entries, and an operator makes its secret (`docs/persons.md`).
"""

from typing import Any, Final

from aiohttp import web

from meter.api.cursor import Limit
from meter.api.get_official import TokensQuery, get_tokens
from meter.api.responses import TokenView
from meter.api.routes import Ask, answer
from meter.console import form, page
from meter.console.csv_file import csv_file
from meter.console.export import EXPORTED, everything
from meter.console.form import Filled
from meter.console.formats import Language
from meter.console.people import OFFERED, act_line, faults_of, identity_of, taken
from meter.console.words import words
from meter.host.tokens import KnownToken, new_token
from meter.values.problems import Problem
from meter.values.roles import OFFICIALS
from meter.values.units import MICROSECONDS, parse_date

LISTED: Final = 50  # tokens of a page
_AUTHORITY: Final = ("authority",)
_HEAD: Final = (
    *("id", "role", "subject", "person", "made_at", "expires_at", "used_at", "revoked_at"),
    "signs_in",
)


class TokensShown(TokensQuery, frozen=True, forbid_unknown_fields=False):
    """Which tokens are shown."""

    limit: Limit = LISTED


async def show_tokens(ask: Ask, language: Language) -> web.StreamResponse:
    """List tokens, with the form that makes one."""
    return page.show(ask, "tokens.html", language, **await _list(ask, ask.query, Filled()))


async def export_tokens(ask: Ask, _language: Language) -> web.StreamResponse:
    """Return the same rows as CSV."""
    query = TokensQuery(limit=EXPORTED, role=ask.query.role)
    rows = [_row(each) for each in await everything(ask, get_tokens, "tokens", query)]
    return page.download(ask, "tokens.csv", csv_file(_HEAD, rows))


def _row(token: TokenView) -> list[str]:
    texts: list[Any] = [getattr(token, name) for name in _HEAD[:-1]]
    return [*texts, "1" if token.signs_in else ""]


async def send_token(ask: Ask, language: Language) -> web.StreamResponse:
    """Make a token of another role than the authority's, and show it this once."""
    who = identity_of(ask)
    faults = await faults_of(ask, who, language)
    ends, until = ask.form.get("until", "").strip(), None
    if ends:
        until = _end_of(ends, ask.context.clock.counted())
        if until is None:
            faults["until"] = words(language)["fault_until"]
    if not faults:
        token = new_token(who.token_id)
        act = act_line(ask, "token", f"tokens/{who.token_id}")
        try:
            await ask.context.sign_ins.add_token(who, token.digest, until, act)
        except Problem as problem:
            faults["id"] = taken(problem, language)
        else:
            values = await _list(ask, TokensShown(), Filled())
            return page.show_secret(ask, "tokens.html", language, **values | {"made": token.text})
    values = await _list(ask, TokensShown(), Filled(ask.form, faults))
    return page.show_again(ask, "tokens.html", language, 400, **values)


def _end_of(text: str, now: int) -> int | None:
    """Return the midnight at which a token ends, in microseconds; None where it is none to come."""
    try:
        ends_at = parse_date(text) * MICROSECONDS
    except ValueError:
        return None
    return ends_at if ends_at > now else None


async def _list(ask: Ask, query: TokensShown, filled: Filled) -> dict[str, object]:
    found = await answer(ask, get_tokens, query)
    return {"page": found, "roles": OFFERED, "form": filled, "made": ""}


async def show_revoke(ask: Ask, language: Language) -> web.StreamResponse:
    """Show what revoking a token does, before it is confirmed."""
    return page.show(ask, "token_revoke.html", language, **await _held(ask))


async def send_revoke(ask: Ask, language: Language) -> web.StreamResponse:
    """Revoke a token, as it was confirmed."""
    values, name = await _held(ask), ask.path("token")
    if ask.form.get(form.SEAL) != values["seal"]:
        values |= {"stale": True}
        return page.show_again(ask, "token_revoke.html", language, 409, **values)
    await ask.context.sign_ins.revoke_token(name, act_line(ask, "revoke", f"tokens/{name}"))
    return page.see_other(f"/{language}/tokens")


async def _held(ask: Ask) -> dict[str, object]:
    """Return what the confirmation shows. Raises `not_found`."""
    name = ask.path("token")
    held: KnownToken | None = await ask.context.sign_ins.token(name)
    if held is None or held.identity.role == "authority":
        raise Problem("not_found", f"no token {name} that is not the authority's")
    sealed = form.seal(name, str(held.revoked))
    return {"held": held, "seal": sealed, "stale": False}


ROUTES: Final = (
    *page.pages("tokens", show_tokens, OFFICIALS, TokensShown),
    *page.forms("tokens", send_token, _AUTHORITY),
    *page.pages("tokens.csv", export_tokens, OFFICIALS, TokensShown),
    *page.pages("tokens/{token}/revoke", show_revoke, _AUTHORITY),
    *page.forms("tokens/{token}/revoke", send_revoke, _AUTHORITY),
)
