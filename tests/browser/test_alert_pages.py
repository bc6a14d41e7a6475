"""The pages of alerts in a real browser."""

from meter.console.words import words
from tests import people
from tests.books import ALPHA
from tests.browser.chromium import check_access, is_wider_than_its_window, opened
from tests.browser.test_public_page import WIDTHS
from tests.services import serving


async def test_a_firm_adds_a_target_and_sends_a_test_with_the_keyboard(
    database, tmp_path, chromium
):
    """Without a script, by what the page shows; each page is for everybody."""
    w = words("en")
    async with serving(database, tmp_path) as service:
        await service.open_books()
        person = await people.add(service, "enterprise", ALPHA)
        link = service.url + await people.link(service, person)
        async with opened(chromium, link, java_script_enabled=False, locale="en-GB") as page:
            await page.locator("main button").click()
            await page.goto(f"{service.url}/en/enterprises/{ALPHA}")
            await page.get_by_role("link", name=w["alerts"], exact=True).click()
            await page.get_by_label(w["alerts_address"]).fill("https://hooks.example/a")
            await page.get_by_role("checkbox", name=w["alert_used_80"]).focus()
            await page.keyboard.press("Space")
            await page.get_by_role("button", name=w["alerts_add"]).focus()
            await page.keyboard.press("Enter")
            await page.get_by_role("link", name="https://hooks.example/a").click()
            assert await page.get_by_role("checkbox", checked=True).count() == 1
            await page.get_by_role("button", name=w["alerts_send_test"]).dblclick()
            await page.locator("tbody tr").first.wait_for()
            assert await page.locator("tbody tr").count() == 1
            target = page.url
        async with opened(chromium, service.url + await people.link(service, person)) as page:
            await page.locator("main button").click()
            for path in (f"{service.url}/zh/alerts", target):
                await page.goto(path)
                for width in WIDTHS.values():
                    await page.set_viewport_size({"width": width, "height": 900})
                    assert not await is_wider_than_its_window(page), (path, width)
                await check_access(page)
