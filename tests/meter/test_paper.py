"""What a page says on paper: whose it is, which time it is about, as of when, which checkpoint."""

import base64

import pytest

from ledger.note import claimed_checkpoint
from meter.console.formats import LANGUAGES, moment, number
from meter.console.words import words
from tests.books import ALPHA, record
from tests.meter.test_console_pages import Elements
from tests.people import sign_in
from tests.services import HOUR, serving


@pytest.fixture
async def service(database, tmp_path):
    async with serving(database, tmp_path) as service:
        await service.open_books()
        await service.usage([record("r1", "A", *HOUR, 64_000)])
        await service.published()
        yield service


async def on_paper(service, visitor, path):
    """Return the facts of a page's paper by their names; a `dd` is one text here."""
    answer = await service.get(path, **visitor.headers)
    assert answer.status == 200, answer.body
    paper = answer.body.decode().partition('<dl class="facts paper" data-part="paper">')[2]
    found = {}
    for fact in paper.partition("</dl>")[0].split("<dt>")[1:]:
        name, _, value = fact.partition("</dt>")
        found[name] = " ".join(Elements(value).text)
    return found


@pytest.mark.parametrize("language", LANGUAGES)
async def test_every_page_of_a_subject_says_what_it_is_on_paper(service, language):
    w = words(language)
    firm = await sign_in(service, "enterprise", ALPHA)
    provider = await sign_in(service, "provider", "pcl")
    published = claimed_checkpoint((await service.get("/log/checkpoint")).body)
    as_of = (await service.get("/v1/withheld")).json["as_of"]
    origin = w["paper_checkpoint"].format(origin=published.origin, size=number(str(published.size)))
    facts = {
        w["paper_as_of"]: w["as_of_time"].format(
            time=moment(as_of["time"], language), entries=number(str(as_of["entries"]))
        ),
        w["checkpoint"]: f"{origin} {base64.b64encode(published.root).decode()}",
    }
    year = {"zh": "2025年1月1日 – 2025年12月31日", "en": "1 January 2025 – 31 December 2025"}
    some = {"zh": "2025年3月1日 – 2025年3月4日", "en": "1 March 2025 – 4 March 2025"}
    since = {"zh": "2025年3月1日 – …", "en": "1 March 2025 – …"}
    entries = (await service.get(f"/v1/enterprises/{ALPHA}/records")).json["records"]
    of_firm = {
        "": year[language],
        "/usage?by=month": year[language],
        "/records?from=2025-03-01&until=2025-03-05": some[language],
        "/records?from=2025-03-01&until=": since[language],
        f"/records/{entries[0]['entry']}": w["period_all"],
        "/contracts": w["period_all"],
        "/refused": w["period_all"],
    }
    registered = (await service.get(f"/v1/enterprises/{ALPHA}")).json["enterprise"]
    who = {w["paper_name"]: registered["name"], w["paper_uscc"]: ALPHA}
    for path, period in of_firm.items():
        found = await on_paper(service, firm, f"/{language}/enterprises/{ALPHA}{path}")
        assert found == who | {w["paper_period"]: period} | facts, path
    registered = (await service.get("/v1/providers/pcl")).json
    who = {w["paper_name"]: registered["name"], w["paper_uscc"]: registered["uscc"]}
    for tab in ("", "/refused", "/withheld", "/contracts"):
        found = await on_paper(service, provider, f"/{language}/providers/pcl{tab}")
        assert found == who | {w["paper_period"]: w["period_all"]} | facts, tab


async def test_before_anything_is_published_there_is_no_checkpoint(service):
    (service.folder.log / "checkpoint").unlink()
    firm = await sign_in(service, "enterprise", ALPHA)
    w = words("en")
    found = await on_paper(service, firm, f"/en/enterprises/{ALPHA}/contracts")
    assert found[w["checkpoint"]] == w["not_published"]


async def test_what_an_open_page_fetches_brings_its_paper_up_to_date(service):
    firm = await sign_in(service, "enterprise", ALPHA)
    path = f"/en/enterprises/{ALPHA}?part=live"
    before = await on_paper(service, firm, path)
    await service.usage([record("r2", "A", *HOUR, 1_000)], seq=2)
    after = await on_paper(service, firm, path)
    assert before != after
    assert before.keys() == after.keys()
