"""A month was closed: firms hear of it by event, alert and notice, with the end of their term."""

import json

import pytest

from meter.console.words import words
from meter.views.events import Event, Position, Viewer, Walk
from tests.alerts import told, wanting
from tests.books import ALPHA, BETA, PROGRAMME, Books, micros, uscc_of
from tests.meter.test_claim_pages import text_of
from tests.meter.test_months import used as used_books
from tests.meter.test_months_http import MARCH, close, used
from tests.people import sign_in
from tests.services import ask, serving

UNTIL = "2025-05-02T12:00:00+08:00"  # 30 days after the closing


def events(books: Books, number: int, role: str, subject: str = "") -> list[Event]:
    """Return the events of an entry for a viewer."""
    walk = Walk(Viewer(role, subject), Position(number))
    return walk.take(books.state, books.entries[number])


def test_every_firm_that_there_was_is_told_and_its_successor_instead_of_it():
    books = used_books()
    february = books.close_month("2025-02")
    late = uscc_of(77)
    books.enterprise(late)
    books.succeed(BETA, ALPHA)
    march = books.close_month("2025-03")
    (event,) = events(books, february, "enterprise", BETA)
    assert (event.id, event.name, event.data.month) == (str(february), "month.closed", "2025-02")
    term = micros(event.data.answer_until) - books.entries[february].at
    assert term == 30 * 86_400 * 1_000_000
    assert events(books, february, "enterprise", late) == []
    assert events(books, march, "enterprise", BETA) == []
    for firm in (ALPHA, late):
        (event,) = events(books, march, "enterprise", firm)
        assert event.data.month == "2025-03"
    assert events(books, march, "provider", "pcl") == []
    (event,) = events(books, march, "auditor")
    assert event.name == "entry"


async def test_a_closing_is_committed_with_its_alerts_to_firms_alone(database, tmp_path):
    async with serving(database, tmp_path, MARCH) as service:
        await used(service)
        firms = [await wanting(service, "enterprise", firm) for firm in (ALPHA, BETA)]
        others = await wanting(service, "provider", "pcl"), await wanting(service, "auditor")
        assert (await service.post("/v1/months/2025-03/close", {})).code == "gaps_open"
        await close(service)
        assert [await told(service, each) for each in firms] == [["month_closed"]] * 2
        assert [await told(service, each) for each in others] == [[], []]
        sql = "SELECT body FROM meter.alert WHERE kind = 'month_closed' LIMIT 1"
        ((body,),) = await ask(service.dsn, sql)
        data = json.loads(body)["data"]
        assert (data["month"], data["answer_until"]) == ("2025-03", UNTIL)


@pytest.mark.parametrize(("language", "ends_by"), [("zh", "answer"), ("en", "time")])
async def test_a_firm_s_first_page_says_what_may_be_answered_until_it_is(
    database, tmp_path, language, ends_by
):
    said = words(language)["notice_month"].format(month="2025-03", until="2025-05-02 12:00")
    path = f"/{language}/enterprises/{ALPHA}?programme={PROGRAMME}&year=2025"
    async with serving(database, tmp_path, MARCH) as service:
        await used(service)
        firm = await sign_in(service, "enterprise", ALPHA)
        clerk = await sign_in(service, "authority")

        async def says(visitor) -> bool:
            shown = await service.get(path, **visitor.headers)
            assert shown.status == 200
            return said in text_of(shown)

        assert not await says(firm)
        await close(service)
        assert (await says(firm), await says(clerk)) == (True, False)
        if ends_by == "time":
            service.clock.set("2025-05-03T00:00:00+08:00")
            firm = await sign_in(service, "enterprise", ALPHA)
        else:
            await service.ask("/v1/months/2025-03/confirm", enterprise=ALPHA)
        assert not await says(firm)
