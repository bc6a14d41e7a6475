"""Signing in and out in a real browser, which keeps the cookie and says where forms come from."""

import pytest

from meter.console.formats import LANGUAGES
from meter.console.sign_in import start_of
from meter.console.words import words
from meter.host.tokens import Identity
from tests.books import ALPHA
from tests.browser.chromium import check_access, is_wider_than_its_window, opened
from tests.people import add, link
from tests.services import serving


@pytest.mark.parametrize("language", LANGUAGES)
async def test_a_person_signs_in_by_a_link_and_out_again(database, tmp_path, chromium, language):
    w = words(language)
    async with serving(database, tmp_path, now="2025-03-20T12:00:00+08:00") as service:
        await service.open_books()
        path = await link(service, await add(service, "enterprise", ALPHA))
        url = service.url + path.replace("/zh/", f"/{language}/")
        async with opened(chromium, url, width=390) as page:
            await check_access(page)
            await page.get_by_role("button", name=w["link_button"]).click()
            who = Identity("zhao", "enterprise", ALPHA)
            await page.wait_for_url(service.url + start_of(who, language))
            await page.goto(f"{service.url}/{language}/account")
            assert await page.locator("dd").nth(2).inner_text() == ALPHA
            await check_access(page)
            assert not await is_wider_than_its_window(page)
            (cookie,) = await page.context.cookies()
            assert (cookie["name"], cookie["sameSite"]) == ("__Host-kashi", "Lax")
            assert cookie["secure"]
            assert cookie["httpOnly"]
            await page.reload()
            await page.get_by_role("button", name=w["sign_out"]).click()
            await page.wait_for_url(f"{service.url}/{language}/")
            assert await page.context.cookies() == []
            await page.goto(f"{service.url}/{language}/account?x=1")
            assert page.url.endswith(f"/{language}/sign-in?next=/{language}/account%3Fx%3D1")
            await check_access(page)
