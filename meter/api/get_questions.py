"""GET /v1/questions: money moves that are lawful, and that somebody should be able to explain.

A request reads the entries of records after a number, up to a bound, and finds what these raise
(`views.flags`). All that a question is about must lie in what one request reads: a filter makes
that far more, and the verifier and the monitor see everything. What lies between two enterprises is
found by their provider.
"""

from collections.abc import AsyncIterator
from typing import Annotated, Final

from msgspec import UNSET, Meta, Struct, UnsetType

from ledger import canon
from ledger import store as ledger_store
from meter.api.get import MAX_NUMBER
from meter.api.responses import QuestionPage, QuestionView, as_of
from meter.api.routes import Ask, Route
from meter.host.breath import Breath
from meter.rules.capacity import QUARTERS_PER_DAY
from meter.rules.entries import AcceptedEntry, DaySummarised, RecordEntry, RecordVoided
from meter.rules.kinds.table import read_entry
from meter.rules.state import AcceptedRecord, DeviceTimeId, State
from meter.tables import connections, load, pages
from meter.values.roles import OFFICIALS
from meter.values.strict import Id, Uscc
from meter.views.flags import Question, Questions

_OF_RECORDS: Final = (
    *(b'"kind":"usage"', b'"kind":"purchase"', b'"kind":"void"', b'"kind":"release"'),
    b'"kind":"summary"',
)
_Asking = RecordEntry | DaySummarised


class QuestionsQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """What to look at: the entries after a number, of all or of one subject."""

    after: Annotated[int, Meta(ge=-1, le=MAX_NUMBER)] = -1
    provider: Id | UnsetType = UNSET
    enterprise: Uscc | UnsetType = UNSET


async def get_questions(ask: Ask) -> QuestionPage:
    """What the records after a number raise as questions."""
    query: QuestionsQuery = ask.query
    async with ask.reading() as connection:
        head, known = await ask.context.snapshot(connection)
        found, reached = await _record_entries(connection, query, head.size)
        state = State(contracts=known.state.contracts, providers=known.state.providers)
        # What is not read yet may hold the summaries that are missing.
        is_all = reached >= head.size - 1
        if is_all:
            state.last_at = ask.context.clock.counted()
        elif found:  # what was searched may hold no record
            state.last_at = found[-1][1].at
        await _load_records(connection, state, found)
        questions = Questions(state)
        for number, entry in found:
            questions.entry(number, entry)
        await load.load_device_time(connection, state, _days(questions))
    page = [_question(each) for each in questions.found() if _is_asked_for(query, state, each)]
    return QuestionPage(page, reached, reached < head.size - 1, as_of(head.size, head.last_at))


async def _record_entries(
    connection: connections.Connection, query: QuestionsQuery, size: int
) -> tuple[list[tuple[int, _Asking]], int]:
    """Return the entries of records after a number, and the last entry that was searched."""
    found: list[tuple[int, _Asking]] = []
    breath, read = Breath(), 0
    async for number, data in _candidates(connection, query, size):
        await breath.take()
        read += 1
        entry = _record_entry(data)
        if entry is not None:
            found.append((number, entry))
        if read == pages.MAX_QUESTIONED:
            return found, number
    return found, max(query.after, size - 1)


def _candidates(
    connection: connections.Connection, query: QuestionsQuery, size: int
) -> AsyncIterator[tuple[int, bytes]]:
    most = pages.MAX_QUESTIONED
    if query.enterprise is not UNSET:
        return pages.entries_about(connection, f"enterprise:{query.enterprise}", query.after, most)
    if query.provider is not UNSET:
        return pages.entries_about(connection, f"provider:{query.provider}", query.after, most)
    return ledger_store.entries(connection, query.after + 1, min(size, query.after + 1 + most))


def _record_entry(data: bytes) -> _Asking | None:
    if not any(kind in data for kind in _OF_RECORDS):
        return None
    entry = read_entry(canon.decode(data))
    return entry if isinstance(entry, _Asking) else None


async def _load_records(
    connection: connections.Connection, state: State, found: list[tuple[int, _Asking]]
) -> None:
    """Let the state know each record that one of the entries voids."""
    for number, entry in found:
        if isinstance(entry, AcceptedEntry):
            state.records[entry.provider, entry.id] = AcceptedRecord(number, entry, [])
    voided = {(each.provider, each.id) for _, each in found if isinstance(each, RecordVoided)}
    await load.load_records(connection, state, voided - state.records.keys())


def _days(questions: Questions) -> set[tuple[DeviceTimeId, int]]:
    """Return the days whose device-time in use decides about questions."""
    return {
        (("provider", provider, device), quarter // QUARTERS_PER_DAY)
        for provider, device, quarter in questions.quarters
    }


def _is_asked_for(query: QuestionsQuery, state: State, question: Question) -> bool:
    """Return whether a question is about the subjects of the filters: segments hold others too."""
    if query.provider not in (UNSET, question.provider):
        return False
    owners = {state.contracts[name].agreed.enterprise for name in question.contracts}
    return query.enterprise is UNSET or query.enterprise in owners


def _question(question: Question) -> QuestionView:
    return QuestionView(
        kind=question.kind,
        provider=question.provider,
        contracts=list(question.contracts),
        count=question.count,
        entries=list(question.entries),
    )


ROUTES: Final = [
    Route(
        "GET",
        "/v1/questions",
        get_questions,
        "Money moves that are lawful and want an explanation",
        QuestionPage,
        roles=OFFICIALS,
        query=QuestionsQuery,
    )
]
