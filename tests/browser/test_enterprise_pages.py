"""An enterprise's pages in a real browser."""

import pytest

from meter.console.words import words
from tests import people
from tests.books import ALPHA
from tests.browser.chromium import check_access, is_wider_than_its_window, opened
from tests.browser.firm import open_firm
from tests.browser.test_public_page import WIDTHS
from tests.services import serving

TABS = ("", "/usage?by=month", "/usage?by=device", "/records", "/contracts", "/refused")


@pytest.fixture
async def service(database, tmp_path):
    async with serving(database, tmp_path, now="2025-06-01T00:00:00+08:00") as service:
        await open_firm(service, days=16)
        yield service


@pytest.fixture
async def link(service):
    """Make single-use links of a person of the firm, each to be opened in a browser."""
    id_ = await people.add(service, "enterprise", ALPHA)

    async def make() -> str:
        return service.url + await people.link(service, id_)

    return make


async def sign_in(page):
    await page.locator("main button").click()
    await page.wait_for_url("**/enterprises/*")


@pytest.mark.parametrize(("language", "scheme"), [("zh", "light"), ("en", "dark")])
async def test_each_page_is_for_everybody(service, chromium, link, language, scheme):
    base = f"{service.url}/{language}/enterprises/{ALPHA}"
    async with opened(chromium, await link(), color_scheme=scheme) as page:
        await sign_in(page)
        paths = [base + tab for tab in TABS]
        await page.goto(f"{base}/records?status=withheld")
        paths.append(service.url + await page.locator("tbody a").get_attribute("href"))
        for path in paths:
            await page.goto(path)
            for width in WIDTHS.values():
                await page.set_viewport_size({"width": width, "height": 900})
                assert not await is_wider_than_its_window(page), (path, width)
            await check_access(page)


async def test_a_journey_without_a_script_goes_from_the_link_to_a_record_s_proof(chromium, link):
    """Only what the page shows is used: sign in, a record, its entry, sign out."""
    w = words("zh")
    async with opened(chromium, await link(), java_script_enabled=False, locale="zh-CN") as page:
        await (
            page.get_by_role("button", name=words("en")["link_button"])
            .or_(page.get_by_role("button", name=w["link_button"]))
            .click()
        )
        await page.get_by_role("link", name="中文").or_(page.locator("h1")).first.click()
        await page.get_by_role("link", name=w["tab_records"], exact=True).click()
        await page.get_by_label(w["status"]).select_option(w["status_withheld"])
        await page.get_by_role("button", name=w["show"]).click()
        rows = page.locator("tbody tr")
        assert await rows.count() == 1
        await rows.get_by_role("link").click()
        assert "250 台设备 × 4 小时" in await page.locator("main").inner_text()
        async with page.expect_download() as download:
            await page.get_by_role("link", name=w["entry_file"].partition("}")[2]).click()
        assert (await download.value).suggested_filename.endswith(".entry")
        await page.get_by_role("button", name=w["sign_out"]).click()
        assert await page.locator("h1").inner_text() == w["public_title"]


async def test_the_page_is_used_by_keyboard_alone(service, chromium, link):
    async with opened(chromium, await link()) as page:
        await sign_in(page)
        await page.goto(f"{service.url}/zh/enterprises/{ALPHA}")
        focused = page.locator(":focus")
        await page.keyboard.press("Tab")
        assert await focused.inner_text() == words("zh")["skip"]
        seen = []
        for _ in range(30):
            await page.keyboard.press("Tab")
            seen.append(await focused.evaluate("e => e.tagName"))
            assert await focused.evaluate("e => getComputedStyle(e).outlineStyle") != "none"
            if seen[-1] == "SUMMARY":
                break
        await page.keyboard.press("Enter")
        assert await page.locator("details table").first.is_visible()


async def test_the_page_prints_its_figures_on_a4(service, chromium, link):
    async with opened(chromium, await link(), color_scheme="dark") as page:
        await sign_in(page)
        await page.goto(f"{service.url}/zh/enterprises/{ALPHA}")
        assert not await page.locator(".paper").is_visible()
        await page.emulate_media(media="print")
        for name in ("paper_name", "paper_uscc", "paper_period", "paper_as_of", "checkpoint"):
            fact = page.locator(".paper dt", has_text=words("zh")[name])
            assert await fact.is_visible(), name
        assert ALPHA in await page.locator(".paper").inner_text()
        for gone in ("nav", ".account", ".tools", ".live", "footer"):
            assert not await page.locator(gone).first.is_visible()
        colour = "getComputedStyle(document.body).backgroundColor"
        assert await page.evaluate(colour) == "rgb(255, 255, 255)"
