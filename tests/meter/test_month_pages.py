"""The pages of months: a firm confirms one and disputes a record, officials see what waits."""

import re
from html import unescape

import pytest

from meter.console import months
from meter.console.words import words
from tests.books import ALPHA, BETA
from tests.meter.test_claim_pages import EVIL, check_size, text_of
from tests.meter.test_months_http import MARCH, close, dispute_five, used
from tests.people import sign_in
from tests.services import check_sums, serving

MONTHS = f"/enterprises/{ALPHA}/months"


def keyed(answer, **values: str) -> dict[str, str]:
    """Return the fields of a form of a page, with its key."""
    (key, *_) = re.findall(r'name="key" value="([^"]*)"', answer.body.decode())
    return {"key": key} | values


@pytest.mark.parametrize("language", ["zh", "en"])
async def test_a_firm_disputes_a_record_and_confirms_a_month(database, tmp_path, language):
    said, path = words(language), f"/{language}{MONTHS}"
    async with serving(database, tmp_path, MARCH) as service:
        await used(service)
        firm = await sign_in(service, "enterprise", ALPHA)
        empty = await service.get(path, **firm.headers)
        assert (empty.status, said["no_months"] in text_of(empty)) == (200, True)
        await close(service)
        shown = await service.get(f"{path}?contract=A&id=r1", **firm.headers)
        check_size(shown)
        assert "¥288.00 ¥144.00" in text_of(shown)
        assert 'name="id" type="text" value="r1"' in shown.body.decode()
        dispute = keyed(shown, step="dispute", contract="A", id="r1", reason=EVIL)
        size = len(await service.entries())
        wrong = await firm.send(service, path, **dispute | {"id": "r9"})
        assert (wrong.status, wrong.code) == (404, "unknown_record")
        assert 'value="r9"' in wrong.body.decode()
        for _ in range(2):  # a double click
            assert (await firm.send(service, path, **dispute)).headers["Location"] == path
        assert len(await service.entries()) == size + 1
        listed = await service.get(path, **firm.headers)
        assert said["dispute_open"] in text_of(listed)
        assert EVIL not in listed.body.decode()
        confirm = keyed(listed, step="confirm", month="2025-03")
        refused = await firm.send(service, path, **confirm)
        assert (refused.status, refused.code) == (409, "dispute_open")
        other = await sign_in(service, "enterprise", BETA)
        assert (await other.send(service, path, **confirm)).status == 404
        await service.ask("/v1/records/void", provider="pcl", id="r1", reason="seen")
        assert (await firm.send(service, path, **confirm)).status == 303
        done = text_of(await service.get(path, **firm.headers))
        assert said["month_confirmed"] in done
        assert said["dispute_upheld"] in done
        entry = (await service.entries())[-1]
        assert (entry.kind, entry.person) == ("month_confirmation", "")
    await check_sums(database)


@pytest.mark.parametrize("language", ["zh", "en"])
async def test_officials_see_which_month_waits_and_what_is_disputed(database, tmp_path, language):
    said = words(language)
    async with serving(database, tmp_path, MARCH) as service:
        await used(service)
        body = {"contract": "A", "provider": "pcl", "id": "r1", "reason": "it never ran"}
        await service.ask("/v1/records/dispute", **body)
        clerk, auditor = await sign_in(service, "authority"), await sign_in(service, "auditor")
        link = f'href="/{language}/acts/month_closing?month=2025-03"'
        path = f"/{language}/months"
        waiting = await service.get(path, **clerk.headers)
        check_size(waiting)
        page = waiting.body.decode()
        assert link in page
        assert f'href="/{language}/acts/void?provider=pcl&amp;id=r1"' in page
        assert f'href="/{language}/acts/dispute_dismissal?provider=pcl&amp;id=r1"' in page
        seen = await service.get(path, **auditor.headers)
        assert said["dispute_open"] in text_of(seen)
        assert "/acts/" not in seen.body.decode()
        await close(service)
        closed = await service.get(path, **clerk.headers)
        assert link not in closed.body.decode()
        assert said["month_is_closed"] in text_of(closed)
        firm = await sign_in(service, "enterprise", ALPHA)
        assert (await service.get(path, **firm.headers)).status == 403


async def test_no_dispute_is_beyond_the_pages(database, tmp_path, monkeypatch):
    monkeypatch.setattr(months, "LISTED", 2)
    async with serving(database, tmp_path, MARCH) as service:
        await dispute_five(service)
        clerk = await sign_in(service, "authority")
        firm = await sign_in(service, "enterprise", ALPHA)
        assert await listed(service, "/en/months", clerk) == [["r1", "r2"], ["r5"]]
        everything = [["r5", "r4"], ["r3", "r2"], ["r1"]]
        assert await listed(service, "/zh/months?state=all", clerk) == everything
        assert await listed(service, "/en/months?state=dismissed", clerk) == [["r4"]]
        assert await listed(service, f"/zh{MONTHS}", firm) == everything
        assert await listed(service, f"/en{MONTHS}?contract=A&id=%3Cr&x=1", firm) == everything
        assert (await service.get("/en/months?state=lost", **clerk.headers)).status == 400


async def listed(service, path: str, visitor) -> list[list[str]]:
    """Return the disputed records of a page and of those that it leads to."""
    found = []
    while path:
        page = (await service.get(path, **visitor.headers)).body.decode()
        found.append(re.findall(r'<th scope="row" class="name"><code>(\w+)</code>', page))
        (path, *_) = re.findall(r'<p class="pager"><a class="button" href="([^"]*)"', page) or [""]
        path = unescape(path)
    return found
