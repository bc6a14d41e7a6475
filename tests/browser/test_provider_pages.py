"""A provider's pages in a real browser."""

import pytest

from meter.console.words import words
from tests import people
from tests.books import record
from tests.browser.chromium import check_access, is_wider_than_its_window, opened
from tests.browser.test_public_page import WIDTHS
from tests.services import HOUR, contract_body, serving


@pytest.fixture
async def service(database, tmp_path):
    async with serving(database, tmp_path) as service:
        await service.open_books()
        limited = contract_body("B", max_devices={"ascend-910b": 8})
        await service.ask("/v1/contracts", **limited)
        await service.usage([record("r1", "A", *HOUR, 64_000)])
        over = [record("r2", "B", *HOUR, 16_000), record("r3", "none", *HOUR, 1_000)]
        await service.usage(over, seq=40_000)
        await service.published()
        yield service


@pytest.mark.parametrize(("language", "scheme"), [("zh", "light"), ("en", "dark")])
async def test_a_provider_goes_through_all_tabs_without_a_script(
    service, chromium, language, scheme
):
    w = words(language)
    link = service.url + await people.link(service, await people.add(service, "provider", "pcl"))
    look = {"color_scheme": scheme, "java_script_enabled": False}
    async with opened(chromium, link, **look) as page:
        await page.locator("main button").click()
        await page.goto(f"{service.url}/{language}/providers/pcl")
        for tab, told in (
            ("tab_streams", "2–39999"),
            ("tab_batches", "40000"),
            ("tab_rejected", "unknown_contract"),
            ("withheld", "¥36.00"),
            ("tab_contracts", "¥360.00"),
        ):
            await page.get_by_role("link", name=w[tab], exact=True).click()
            assert told in await page.locator("main").inner_text()


async def test_each_page_is_for_everybody(service, chromium):
    link = service.url + await people.link(service, await people.add(service, "provider", "pcl"))
    async with opened(chromium, link, color_scheme="dark") as page:
        await page.locator("main button").click()
        for tab in ("", "/batches", "/refused", "/withheld", "/contracts"):
            await page.goto(f"{service.url}/zh/providers/pcl{tab}")
            for width in WIDTHS.values():
                await page.set_viewport_size({"width": width, "height": 900})
                assert not await is_wider_than_its_window(page), (tab, width)
            await check_access(page)
