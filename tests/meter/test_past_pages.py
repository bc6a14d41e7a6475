"""Pages as of a past instant or size: they say so, and their links and files keep it."""

import csv
import io
import re

import pytest

from meter.console import reviews
from meter.console.past import read_as_of
from meter.console.words import words
from meter.values.problems import Problem
from tests.books import ALPHA, record
from tests.meter.test_claim_pages import check_size, text_of
from tests.meter.test_claims_http import PAPERS, TODAY
from tests.meter.test_claims_http import service as claims_service  # noqa: F401
from tests.people import sign_in
from tests.services import contract_body, coupon_body, serving

NOON = "2025-03-01T12:00:00+08:00"
LATER = "2025-03-03T12:00:00+08:00"


@pytest.mark.parametrize(
    ("typed", "asked"),
    [
        ("", ""),
        ("2025-03-31", "2025-03-31T23:59:59.999999+08:00"),
        (" 2025-03-31 18:00 ", "2025-03-31T18:00:00+08:00"),
        ("2025-03-31T18:00:09", "2025-03-31T18:00:09+08:00"),
        ("2025-03-31T18:00:09Z", "2025-03-31T18:00:09Z"),
        ("1,234", "1234"),
        ("12", "12"),
    ],
)
def test_a_person_names_an_instant_in_several_ways(typed, asked):
    assert read_as_of(typed) == asked


@pytest.mark.parametrize("typed", ["12,34", "yesterday", "31.12.2025", "2025-03-31 6 pm"])
def test_what_names_no_instant_is_told_how_to_be_written(typed):
    with pytest.raises(Problem, match="a day 2025-03-31, a time 2025-03-31 18:00, or entries"):
        read_as_of(typed)


@pytest.fixture
async def service(database, tmp_path):
    """On 1 March A has a record; on 3 March a second one, the coupon is more, and B is there."""
    async with serving(database, tmp_path, NOON) as service:
        await service.open_books(issued="1000.00")
        for seq, day in enumerate((1, 2), 1):
            hours = f"2025-03-0{day}T08:00:00+08:00", f"2025-03-0{day}T09:00:00+08:00"
            answer = await service.usage([record(f"r{seq}", "A", *hours, 64_000)], seq=seq)
            assert answer.status == 200
            service.clock.set(LATER)
        await service.ask("/v1/contracts", **contract_body("B"))
        await service.ask("/v1/coupons", **coupon_body(2025, "500.00"))
        yield service


LISTS = {  # by the path of a page: what it shows as of 1 March alone, and what now
    "coupons": (["¥1,000.00", "¥144.00", "¥856.00"], ["¥1,500.00", "¥288.00"]),
    "pools": (["¥1,000.00", "¥144.00"], ["¥1,500.00", "¥288.00"]),
    "contracts": (["¥288.00", "¥144.00"], ["¥576.00", "B"]),
    "providers/pcl/contracts": (["¥288.00"], ["¥576.00", "B"]),
    f"enterprises/{ALPHA}/contracts": (["¥144.00"], ["¥288.00", "B"]),
    f"enterprises/{ALPHA}/records": (["r1"], ["r2"]),
}


def cells(answer) -> set[str]:
    """Return the texts of a page's table, and the ids of records that it leads to."""
    body = answer.body.decode()
    (table,) = re.findall(r"<tbody>(.*?)</tbody>", body, re.DOTALL)
    return set(re.sub(r"<[^>]*>", " ", table).split())


@pytest.mark.parametrize("language", ["zh", "en"])
async def test_lists_are_shown_as_of_a_past_day_and_say_so(service, language):
    said, entry = words(language), {}
    clerk = await sign_in(service, "authority")
    for number, each in enumerate(await service.entries()):
        if each.kind == "usage":
            entry[each.id] = f"#{number}"
    for path, (then, now) in LISTS.items():
        url = f"/{language}/{path}"
        past = await service.get(f"{url}?as_of=2025-03-01", **clerk.headers)
        check_size(past)
        before = {entry.get(text, text) for text in then}
        after = {entry.get(text, text) for text in now}
        assert before <= cells(past), path
        assert not after & cells(past), path
        bar = said["as_of_past"].partition("{time}")[0].strip()
        assert bar in text_of(past)
        assert said["as_of_now"] in text_of(past)
        assert 'name="as_of" size="20" maxlength="32" value="2025-03-01"' in past.body.decode()
        shown = await service.get(url, **clerk.headers)
        assert after <= cells(shown), path
        assert said["as_of_now"] not in text_of(shown)
        (file,) = re.findall(rf'href="(/{language}/{path}\.csv[^"]*)"', past.body.decode())
        assert "as_of=2025-03-01" in file
        rows = await service.get(file.replace("&amp;", "&"), **clerk.headers)
        lines = list(csv.reader(io.StringIO(rows.body.decode("utf-8-sig"))))
        (table,) = re.findall(r"<tbody>(.*?)</tbody>", past.body.decode(), re.DOTALL)
        assert len(lines) == 1 + table.count("<tr")


async def test_the_next_page_and_the_records_of_a_contract_keep_the_time(service):
    clerk = await sign_in(service, "authority")
    await service.ask("/v1/contracts", **contract_body("C"))
    size = len(await service.entries())
    await service.ask("/v1/contracts/A/freeze", reason="x")
    page = await service.get(f"/en/contracts?limit=1&as_of={size:,}", **clerk.headers)
    body = page.body.decode().replace("&amp;", "&")
    assert f"records?contract=A&as_of={size}" in body
    seen = ["A"]
    while links := re.findall(r'href="(/en/contracts\?[^"]*after=[^"]*)"', body):
        page = await service.get(f"{links[0]}&limit=1", **clerk.headers)
        body = page.body.decode().replace("&amp;", "&")
        assert f"{size} entries" in text_of(page)
        seen += [name for name in ("A", "B", "C") if name in cells(page)]
    assert seen == ["A", "B", "C"]


@pytest.mark.parametrize("language", ["zh", "en"])
async def test_claims_are_shown_in_their_states_of_a_past_day(claims_service, language):  # noqa: F811
    service, w = claims_service, words(language)
    claim = {"item": "A", "year": 2025, **PAPERS}
    await service.ask("/v1/claims", id="C1", **claim)
    service.clock.advance(2 * 86_400)
    await service.ask("/v1/claims/C1/end", outcome="returned", reason="x")
    await service.ask("/v1/claims", id="C2", **claim)
    firm, clerk = await sign_in(service, "enterprise", ALPHA), await sign_in(service, "authority")
    base = f"/{language}/enterprises/{ALPHA}/claims"
    for visitor, path in ((firm, base), (clerk, base), (clerk, f"/{language}/claims")):
        past = await service.get(f"{path}?as_of={TODAY}", **visitor.headers)
        check_size(past)
        assert w["as_of_past"].partition("{time}")[0].strip() in text_of(past)
        assert {"C1", w["state_entered"]} <= cells(past)
        assert not {"C2", w["state_ended"]} & cells(past)
        (file,) = re.findall(rf'href="({path}\.csv[^"]*)"', past.body.decode())
        rows = await service.get(file.replace("&amp;", "&"), **visitor.headers)
        (line,) = csv.DictReader(io.StringIO(rows.body.decode("utf-8-sig")))
        assert (line[w["claim"]], line[w["claim_state"]]) == ("C1", w["state_entered"])
        text = text_of(await service.get(path, **visitor.headers))
        assert "C2" in text
        assert w["as_of_now"] not in text
    ended = await service.get(f"/{language}/claims?state=ended&as_of={TODAY}", **clerk.headers)
    assert w["no_claims_here"] in text_of(ended)
    (now,) = re.findall(rf'href="([^"]*)">{w["as_of_now"]}<', ended.body.decode())
    assert cells(await service.get(now, **clerk.headers)) >= {"C1", w["state_ended"]}


async def test_the_next_page_of_claims_keeps_the_time(claims_service, monkeypatch):  # noqa: F811
    service = claims_service
    for number in range(3):
        await service.ask("/v1/claims", id=f"C{number}", item="A", year=2025, **PAPERS)
        if number < 2:
            await service.ask(f"/v1/claims/C{number}/end", outcome="returned", reason="x")
    size = len(await service.entries())
    await service.ask("/v1/claims/C2/end", outcome="returned", reason="x")
    monkeypatch.setattr(reviews, "LISTED", 2)
    clerk = await sign_in(service, "authority")
    page = await service.get(f"/en/claims?as_of={size}", **clerk.headers)
    (link,) = re.findall(r'href="(/en/claims\?[^"]*after=[^"]*)"', page.body.decode())
    rest = await service.get(link.replace("&amp;", "&"), **clerk.headers)
    assert {"C2", words("en")["state_entered"]} <= cells(rest)


@pytest.mark.parametrize(
    ("as_of", "code"),
    [("yesterday", "malformed"), ("2024-01-01", "malformed"), ("999", "malformed")],
)
async def test_what_is_no_time_of_the_ledger_is_refused(service, as_of, code):
    clerk = await sign_in(service, "authority")
    for path in ("pools", "claims", f"enterprises/{ALPHA}/claims"):
        refused = await service.get(f"/zh/{path}?as_of={as_of}", **clerk.headers)
        assert (refused.status, refused.code) == (400, code)
