"""The pages of the log in a real browser, as an auditor uses them."""

import pytest

from meter.auditor import entry_check
from meter.console.words import words
from tests import people
from tests.books import record
from tests.browser.chromium import check_access, is_wider_than_its_window, opened
from tests.browser.test_public_page import WIDTHS
from tests.services import HOUR, serving


@pytest.fixture
async def service(database, tmp_path):
    async with serving(database, tmp_path) as service:
        await service.open_books()
        await service.usage([record("r1", "A", *HOUR, 64_000)])
        await service.published()
        yield service


async def link(service):
    return service.url + await people.link(service, await people.add(service, "auditor"))


async def sign_in(page):
    await page.locator("main button").click()
    await page.wait_for_url("**/log")


async def test_an_auditor_finds_a_record_s_entry_and_verifies_it_here_and_offline(
    service, chromium
):
    w = words("en")
    async with opened(chromium, await link(service), locale="en-GB") as page:
        await sign_in(page)
        await page.goto(f"{service.url}/en/log")
        await page.get_by_label(w["search_what"]).fill("r1")
        await page.get_by_role("button", name=w["search"]).click()
        await page.locator("section li a").filter(has_text="r1").first.click()
        await page.locator("tbody th a").first.click()
        assert "¥288.00" in await page.locator("main").inner_text()
        async with page.expect_download() as download:
            await page.get_by_role("link", name=w["proved_entry"]).click()
        saved = await (await download.value).path()
        vkey = service.folder.log_vkey.read_text().strip()
        proved = entry_check.check_file(saved, None, [vkey], None)
        assert b'"id":"r1"' in proved.entry
        await page.get_by_role("link", name=w["verify_here"]).click()
        await page.wait_for_function("() => document.querySelector('#verdict').textContent !== ''")
        assert await page.inner_text("#verdict") == w["verify_good"]
        await page.goto(f"{service.url}/en/log")
        await page.get_by_role("link", name="authority", exact=True).click()
        kinds = await page.locator("tbody td:nth-child(3)").all_inner_texts()
        assert kinds[0] == "Beginning of the ledger"
        assert "Usage record" not in kinds


async def test_whoever_is_not_signed_in_is_told_so_by_the_verifier(service, chromium):
    w = words("en")
    context = await chromium.new_context()
    page = await context.new_page()
    await page.goto(f"{service.url}/en/verify?entry=3")
    await page.wait_for_function("() => document.querySelector('#verdict').textContent !== ''")
    assert w["verify_not_given"] in await page.inner_text("#verdict")
    await context.close()


@pytest.mark.parametrize(("language", "scheme"), [("zh", "light"), ("en", "dark")])
async def test_each_page_is_for_everybody(service, chromium, language, scheme):
    async with opened(chromium, await link(service), color_scheme=scheme) as page:
        await sign_in(page)
        for path in ("log", "log?q=A", "log?kind=batch", "entries/8", "entries/1"):
            await page.goto(f"{service.url}/{language}/{path}")
            for width in WIDTHS.values():
                await page.set_viewport_size({"width": width, "height": 900})
                assert not await is_wider_than_its_window(page), (path, width)
            await check_access(page)
