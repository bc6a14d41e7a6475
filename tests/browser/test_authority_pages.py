"""The authority's pages in a real browser."""

import pytest

from meter.console.words import words
from tests import people
from tests.books import ALPHA, record
from tests.browser.chromium import arrive, check_access, is_wider_than_its_window, opened
from tests.browser.test_public_page import WIDTHS
from tests.services import HOUR, contract_body, serving


@pytest.fixture
async def service(database, tmp_path):
    async with serving(database, tmp_path) as service:
        await service.open_books()
        limited = contract_body("B", max_devices={"ascend-910b": 8})
        await service.ask("/v1/contracts", **limited)
        await service.usage([record("r1", "A", *HOUR, 64_000)])
        await service.usage([record("over", "B", *HOUR, 16_000)], seq=3)
        await service.published()
        yield service


async def test_a_reviewer_releases_a_record_that_waits(service, chromium):
    """Only what the page shows is used, without a script, and twice clicked books once."""
    w = words("en")
    link = service.url + await people.link(service, await people.add(service, "authority"))
    async with opened(chromium, link, java_script_enabled=False, locale="en-GB") as page:
        await page.locator("main button").click()
        await page.goto(f"{service.url}/en/authority")
        await page.get_by_role("link", name="over", exact=True).click()
        assert "¥36.00" in await page.locator("main").inner_text()
        await page.get_by_label(w["reason"]).fill("seen on site")
        await page.get_by_role("button", name=w["act_release"]).click()
        assert "¥18.00" in await page.locator("main").inner_text()
        await page.get_by_role("button", name=w["act_give"]).dblclick()
        await arrive(page, "/entries/[^/]+")
        assert "Withheld record released" in await page.locator("h1").inner_text()
        assert "¥18.00" in await page.locator("main").inner_text()
        await page.goto(f"{service.url}/en/authority")
        assert w["no_withheld"] in await page.locator("main").inner_text()
    kinds = [entry.kind for entry in await service.entries()]
    assert kinds.count("release") == 1


async def test_each_page_is_for_everybody(service, chromium):
    link = service.url + await people.link(service, await people.add(service, "authority"))
    number = (await service.get("/v1/withheld")).json["withheld"][0]["entry"]
    body = {"command": "freeze", "body": {"contract": "A", "reason": "asked"}}
    proposal = (await service.ask("/v1/proposals", **body))["entry"]
    async with opened(chromium, link, color_scheme="dark") as page:
        await page.locator("main button").click()
        for path in ("authority", f"review/{number}", f"proposals/{proposal}"):
            await page.goto(f"{service.url}/zh/{path}")
            for width in WIDTHS.values():
                await page.set_viewport_size({"width": width, "height": 900})
                assert not await is_wider_than_its_window(page), (path, width)
            await check_access(page)


# Short texts of a table that stand on three lines or more.
BROKEN = """() => [...document.querySelectorAll("th, td")].filter((cell) => {
  const text = cell.innerText.trim();
  const content = document.createRange();
  content.selectNodeContents(cell);
  const lines = new Set([...content.getClientRects()].map((box) => Math.round(box.bottom)));
  return text.length <= 8 && !/\\s/.test(text) && lines.size > 2;
}).map((cell) => cell.innerText)"""
PAPER = 680  # pixels of A4 between its margins


async def test_a_table_on_paper_breaks_no_short_text_into_letters(service, chromium):
    link = service.url + await people.link(service, await people.add(service, "authority"))
    async with opened(chromium, link, width=PAPER) as page:
        await page.locator("main button").click()
        await page.emulate_media(media="print")
        for path in ("authority", f"enterprises/{ALPHA}", f"enterprises/{ALPHA}/statements"):
            await page.goto(f"{service.url}/zh/{path}")
            assert await page.evaluate(BROKEN) == [], path
            assert not await is_wider_than_its_window(page), path
            assert not await page.locator("button").first.is_visible()
        await check_access(page)
