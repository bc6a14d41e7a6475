"""What an enterprise's first page says is made once, and anew after whatever could change it."""

import re
from html import unescape

import pytest

from meter.console import enterprise
from meter.host.kept import Kept
from meter.values.problems import Problem
from meter.values.units import DAY_SECONDS, format_instant, parse_date
from tests.books import ALPHA, BETA, PROGRAMME, policy_text, record, void
from tests.browser.firm import NOW, hours, open_firm
from tests.meter.test_console_pages import Elements
from tests.people import sign_in
from tests.services import contract_body, enterprise_body, serving

PATH = f"/en/enterprises/{ALPHA}"
FILTER = "contract=TC-2025-0101"


@pytest.fixture
async def service(database, tmp_path):
    async with serving(database, tmp_path, now="2025-06-01T00:00:00+08:00") as service:
        await open_firm(service, days=16)
        yield service


class Looking:
    """Somebody who looks at a page; `made` counts how often what it says was made."""

    def __init__(self, service, visitor, monkeypatch):
        self.service = service
        self.visitor = visitor
        self.made = 0
        make = enterprise._overview

        async def counted(*arguments):
            self.made += 1
            return await make(*arguments)

        monkeypatch.setattr(enterprise, "_overview", counted)

    async def look(self, path=PATH, visitor=None):
        """Return what the page says, and how often that was made for it."""
        before = self.made
        visitor = visitor or self.visitor
        answer = await self.service.get(path, **visitor.headers)
        assert answer.status == 200, answer.body
        return answer.body.decode(), self.made - before


@pytest.fixture
async def looking(service, monkeypatch):
    return Looking(service, await sign_in(service, "enterprise", ALPHA), monkeypatch)


async def test_a_page_that_nothing_changed_is_not_made_again(looking):
    first, made = await looking.look()
    assert made == 1
    assert await looking.look() == (first, 0)
    part, made = await looking.look(f"{PATH}?part=live")
    assert made == 0
    assert part.partition("<section")[2].partition("</main>")[0][:5_000] in first


async def test_a_part_of_a_list_that_is_fetched_anew_leads_on_like_the_whole(service, monkeypatch):
    monkeypatch.setattr(enterprise, "LISTED", 7)
    visitor = await sign_in(service, "enterprise", ALPHA)
    whole, part = [
        unescape(re.search(r'href="([^"]*[?;]after=[^"]*)"', answer.body.decode())[1])
        for query in ("", "&part=live")
        for answer in [await service.get(f"{PATH}/records?{FILTER}{query}", **visitor.headers)]
    ]
    assert part == whole
    assert (await service.get(whole, **visitor.headers)).status == 200


async def test_whatever_is_committed_makes_a_page_anew(looking, service):
    await service.ask("/v1/enterprises", **enterprise_body(BETA))
    await service.ask("/v1/contracts", **contract_body("B", enterprise=BETA))
    await looking.look()
    budget = {"programme": PROGRAMME, "year": 2025, "amount": "400000000.00", "document": "9号"}
    name = {"document": "变更", "name": "新名字", "reason": "改名"}
    coupon = {"enterprise": ALPHA, "programme": PROGRAMME, "year": 2025, "reason": "退回"}
    contract = "/v1/contracts/TC-2025-0103"
    events = {
        "a record": service.usage([record("r", "TC-2025-0103", *hours(NOW, 0, 1), 8_000)], seq=99),
        "a void": service.usage(voids=[void("r")], seq=100),
        "an issue": service.issue(2025, "1.00"),
        "a withdrawal": service.ask("/v1/coupons/withdraw", **coupon, amount="1.00"),
        "a freeze": service.ask(f"{contract}/freeze", reason="检查"),
        "another's issue from the pool": service.issue(2025, "1.00", BETA),
        "a budget": service.ask("/v1/budgets", **budget),
        "the name": service.ask(f"/v1/enterprises/{ALPHA}/amend", **name, applicant="enterprise"),
        "the provider's name": service.ask("/v1/providers/pcl/amend", **name),
        "a policy": service.activate(policy_text()),
    }
    seen = set()
    for event, happens in events.items():
        await happens
        said, made = await looking.look()
        assert made == 1, event
        for each in ("issued", "granted", "remaining", "uncovered"):
            balance = await service.balance()
            assert f"{int(balance[each][:-3]):,}.{balance[each][-2:]}" in said, event
        seen.add(said)
    assert len(seen) == len(events)
    assert "新名字" in said


async def test_a_day_makes_a_page_anew(looking, service):
    day = parse_date(NOW[:10])
    service.clock.set(format_instant(day + 3_600))
    first, _ = await looking.look()
    service.clock.set(format_instant(day + DAY_SECONDS - 1))
    assert await looking.look() == (first, 0)
    service.clock.advance(1)
    said, made = await looking.look()
    assert made == 1
    assert said != first


async def test_a_page_is_made_for_each_language_role_and_coupon(looking, service):
    official = await sign_in(service, "auditor")
    await looking.look()
    for path, visitor in (
        (PATH.replace("/en/", "/zh/"), None),
        (PATH, official),
        (f"{PATH}?year=2026", None),
    ):
        assert (await looking.look(path, visitor))[1] == 1, path
        assert (await looking.look(path, visitor))[1] == 0, path
    said, _ = await looking.look(visitor=official)
    assert looking.visitor.token not in said
    assert official.token in said


async def test_a_failed_section_is_not_kept(looking, monkeypatch):
    ask = enterprise.answer

    async def failing(asked, handler, query=None, **names):
        if handler is enterprise.get_days:
            raise Problem("busy", "try again")
        return await ask(asked, handler, query, **names)

    with monkeypatch.context() as patch:
        patch.setattr(enterprise, "answer", failing)
        assert "busy" in (await looking.look())[0]
    said, made = await looking.look()
    assert made == 1
    assert not any("busy" in text for text in Elements(said).text)


async def test_what_was_asked_for_longest_ago_is_forgotten_first():
    kept = Kept(max_size=10)
    kept.keep("a", 1, 4)
    kept.keep("b", 2, 4)
    assert kept.get("a") == 1
    kept.keep("c", 3, 4)
    assert [kept.get(key) for key in "abc"] == [1, None, 3]
    kept.keep("a", 5, 6)
    assert [kept.get(key) for key in "abc"] == [5, None, 3]
    kept.keep("d", 6, 11)
    assert [kept.get(key) for key in "abcd"] == [None] * 4
