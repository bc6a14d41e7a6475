"""The pages of the log: its checkpoint, its entries, and one entry in words with its proof."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Final

from aiohttp import hdrs, web
from msgspec import UNSET, Meta, UnsetType

from ledger.proof import Proof
from meter.api.cursor import PageQuery
from meter.api.get import MAX_NUMBER, EntriesQuery, get_entries, get_entry, get_entry_bytes
from meter.api.get_growth import get_growth
from meter.api.get_own import SearchQuery, get_search
from meter.api.get_people import get_persons
from meter.api.log import get_checkpoint
from meter.api.proofs import get_entry_proof
from meter.api.responses import EntryPage, EntryView
from meter.api.routes import Ask, answer
from meter.console import log_view, page
from meter.console.formats import Language, age, moment
from meter.console.sign_in import EVERYBODY
from meter.values.problems import Problem
from meter.values.roles import OFFICIALS
from meter.values.units import MICROSECONDS, parse_moment

ENTRIES: Final = 20  # on a page


class LogQuery(EntriesQuery, frozen=True, forbid_unknown_fields=False):
    """What is searched for, and which entries are shown; the newest where no filter is named.

    `before` is the entry before which the newest ones go on.
    """

    q: Annotated[str, Meta(max_length=200)] = ""
    before: Annotated[int, Meta(ge=1, le=MAX_NUMBER)] | UnsetType = UNSET


async def show_log(ask: Ask, language: Language) -> web.StreamResponse:
    """Show checkpoint, growth, search and entries."""
    query: LogQuery = ask.query
    async with ask.at_once() as asked:
        growth = await answer(asked, get_growth)
        entries = await _entries(asked, query, growth.as_of.entries)
        found = await answer(asked, get_search, SearchQuery(query.q)) if query.q.strip() else None
        persons = await answer(asked, get_persons, PageQuery(limit=1_000))
    filters = _filters(query)
    return page.show(
        ask,
        "log.html",
        language,
        published=await _published(ask, language),
        newest=moment(growth.as_of.time, language),
        age=_age(ask, growth.as_of.time, language),
        size=growth.as_of.entries,
        chart=log_view.growth_chart(growth, language),
        q=query.q,
        found=None if found is None else [log_view.found_value(each) for each in found.found],
        found_more=found is not None and found.more,
        filters=filters,
        entries=[log_view.entry_values(each, language) for each in entries.entries],
        next=entries.next if entries.more else None,
        older=_older(query, entries.entries),
        persons=persons.persons,
        keys=ask.context.registry.now.log_keys(),
        base=page.site_of(ask),
    )


def _age(ask: Ask, newest: str, language: Language) -> str:
    """Return how old the newest entry is: a log that stands still ages."""
    return age((ask.context.clock.counted() - parse_moment(newest)) // MICROSECONDS, language)


def _filters(query: LogQuery) -> dict[str, str]:
    names = (name for name in EntriesQuery.__struct_fields__ if name not in ("after", "limit"))
    return {name: str(getattr(query, name)) for name in names if getattr(query, name) is not UNSET}


async def _entries(ask: Ask, query: LogQuery, size: int) -> EntryPage:
    """Return the entries that filters find, oldest first; without one the newest, newest first."""
    wanted = {name: getattr(query, name) for name in EntriesQuery.__struct_fields__}
    if _filters(query) or query.after >= 0:
        found: EntryPage = await answer(
            ask, get_entries, EntriesQuery(**wanted | {"limit": ENTRIES})
        )
        return found
    end = size if query.before is UNSET else min(query.before, size)
    newest = EntriesQuery(after=max(-1, end - ENTRIES - 1), limit=min(end, ENTRIES))
    page_of = await answer(ask, get_entries, newest)
    return EntryPage(page_of.entries[::-1], page_of.next, False, page_of.as_of)


def _older(query: LogQuery, shown: Sequence[EntryView]) -> int | None:
    """Return the entry before which the newest ones go on, if they are shown and there are more."""
    if _filters(query) or query.after >= 0 or shown[-1].number == 0:
        return None
    return shown[-1].number


async def _published(ask: Ask, language: Language) -> log_view.Published | None:
    try:
        checkpoint = await get_checkpoint(ask)
    except Problem:
        return None
    assert isinstance(checkpoint.body, bytes), "it was read from a file"
    return log_view.published(checkpoint.body, language)


async def show_entry(ask: Ask, language: Language) -> web.StreamResponse:
    """Show an entry in words."""
    entry = await answer(ask, get_entry)
    return page.show(ask, "entry.html", language, entry=log_view.entry_values(entry, language))


async def send_entry(ask: Ask, _language: Language) -> web.StreamResponse:
    """Send an entry's bytes, and nothing else."""
    response: web.StreamResponse = await answer(ask, get_entry_bytes)
    return response


async def send_entry_file(ask: Ask, _language: Language) -> web.StreamResponse:
    """Send an entry file: its proof by the newest checkpoint, with the entry in it."""
    entry, proof = await answer(ask, get_entry_bytes), await answer(ask, get_entry_proof)
    file = replace(Proof.parse(proof.body), extra=entry.body).format()
    name = f"{int(ask.path('entry'))}.tlog-proof"
    headers = {
        hdrs.CONTENT_TYPE: "application/octet-stream",
        hdrs.CONTENT_DISPOSITION: f'attachment; filename="{name}"',
        hdrs.CACHE_CONTROL: "private, no-cache",
        **page.SECURITY,
    }
    return web.Response(body=file, headers=headers)


ROUTES: Final = (
    *page.pages("log", show_log, roles=OFFICIALS, query=LogQuery),
    *page.pages("entries/{entry}", show_entry, roles=EVERYBODY),
    *page.pages("entries/{entry}/bytes", send_entry, roles=EVERYBODY),
    *page.pages("entries/{entry}/file", send_entry_file, roles=EVERYBODY),
)
