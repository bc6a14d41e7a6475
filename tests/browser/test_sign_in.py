"""Signing in and out in a real browser, which keeps the cookie and says where forms come from."""

import pytest

from meter.console.formats import LANGUAGES
from meter.console.sign_in import start_of
from meter.console.words import words
from meter.host.clock import SYSTEM_CLOCK
from meter.host.tokens import Identity
from meter.service.sign_ins import bind_person
from tests.books import ALPHA
from tests.browser.chromium import arrive, check_access, is_wider_than_its_window, opened
from tests.issuer import SECRET, issuing
from tests.people import add, environment, link
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


@pytest.mark.parametrize("language", LANGUAGES)
async def test_a_person_signs_in_at_an_issuer_of_another_site(
    database, tmp_path, chromium, language
):
    """The way back is cross-site, and the browser sends the cookies all the same."""
    async with issuing("localhost") as issuer:
        async with serving(database, tmp_path, clock=SYSTEM_CLOCK) as service:
            folder = service.folder.path
        (folder / "s.secret").write_text(SECRET)
        (folder / "sign-in.toml").write_text(
            f'[issuer]\nurl = "{issuer.url}"\nclient_id = "kashi"\nsecret_file = "s.secret"\n'
        )
        async with serving(database, tmp_path, clock=SYSTEM_CLOCK) as service:
            id_ = await add(service, "auditor", name="陈晨")
            with environment(service):
                await bind_person(service.folder, id_, issuer.subject)
            url = f"{service.url}/{language}/sign-in?next=/{language}/account"
            async with opened(chromium, url, width=390) as page:
                await check_access(page)
                # What the browser does between the sites is not the page's doing.
                other = await page.context.new_page()
                await other.goto(url)
                await other.get_by_role("link", name=words(language)["issuer_link"]).click()
                await other.wait_for_url(f"{service.url}/{language}/account")
                assert await other.locator("dd").nth(0).inner_text() == "陈晨"
                names = {cookie["name"] for cookie in await page.context.cookies()}
                assert names == {"__Host-kashi"}


async def test_an_official_ends_a_person_with_the_keyboard(database, tmp_path, chromium):
    w = words("zh")
    async with serving(database, tmp_path, now="2025-03-20T12:00:00+08:00") as service:
        other = await add(service, "enterprise", ALPHA, "<李>")
        path = await link(service, await add(service, "authority"))
        async with opened(chromium, f"{service.url}{path}&next=/zh/people", width=390) as page:
            await page.get_by_role("button", name=w["link_button"]).click()
            await page.wait_for_url(f"{service.url}/zh/people")
            await check_access(page)
            assert not await is_wider_than_its_window(page)
            await page.get_by_role("link", name=w["people_end"], exact=True).focus()
            await page.keyboard.press("Enter")
            await page.wait_for_url(f"{service.url}/zh/people/{other}/end")
            assert "<李>" in await page.locator("dl").inner_text()
            await check_access(page)
            await page.get_by_role("button", name=w["people_end"], exact=True).focus()
            await page.keyboard.press("Enter")
            await page.wait_for_url(f"{service.url}/zh/people")
            assert await page.get_by_role("link", name=w["people_end"], exact=True).count() == 0


@pytest.mark.parametrize("language", LANGUAGES)
async def test_a_person_is_added_by_a_page_and_signs_in(database, tmp_path, chromium, language):
    """From the overview, by what the pages show, on a phone."""
    w = words(language)
    options = {"locale": language, "width": 390}
    async with serving(database, tmp_path, now="2025-03-20T12:00:00+08:00") as service:
        await service.open_books()
        path = await link(service, await add(service, "authority"))
        start = f"{service.url}{path}&next=/{language}/authority"
        async with opened(chromium, start, refused=[400], **options) as page:
            await page.locator("main button").click()
            await page.get_by_role("link", name=w["people"], exact=True).click()
            await page.get_by_label(w["account_name"], exact=True).fill("<李>")
            await page.get_by_label(w["account_id"], exact=True).fill("li")
            await page.get_by_label(w["account_role"]).select_option("enterprise")
            await page.get_by_role("button", name=w["people_add"]).click()
            assert w["fault_subject"] in await page.get_by_role("alert").inner_text()
            await check_access(page)
            await page.get_by_label(w["people_subject"]).fill(ALPHA)
            await page.get_by_role("button", name=w["people_add"]).dblclick()
            await arrive(page, f"{service.url}/{language}/people/li")
            await check_access(page)
            assert not await is_wider_than_its_window(page)
            await page.get_by_role("button", name=w["person_link"]).click()
            await check_access(page)
            assert not await is_wider_than_its_window(page)
            shown = await page.locator("#made").inner_text()
            tabs = page.get_by_role("navigation", name=w["people"])
            await tabs.get_by_role("link", name=w["tokens"]).click()
            await check_access(page)
            assert not await is_wider_than_its_window(page)
        async with opened(chromium, shown, **options) as page:
            await page.get_by_role("button", name=w["link_button"]).click()
            who = Identity("li", "enterprise", ALPHA)
            await page.wait_for_url(service.url + start_of(who, language))
            assert "<李>" in await page.locator(".account").inner_text()
