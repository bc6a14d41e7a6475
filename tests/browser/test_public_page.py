"""The public page in a real browser."""

import re

import pytest

from meter.console.formats import LANGUAGES
from meter.console.words import words
from tests.browser.chromium import check_access, complaints_of, is_wider_than_its_window, opened
from tests.services import serving

WIDTHS = {"wide": 1280, "phone": 390, "zoomed": 640}  # at 200 % half as many units fit
A4_POINTS = (595, 842)


@pytest.fixture
async def service(database, tmp_path):
    async with serving(database, tmp_path, now="2025-03-20T12:00:00+08:00") as service:
        await service.open_books()
        service.clock.set("2025-04-02T12:00:00+08:00")
        await service.published()
        yield service


@pytest.mark.parametrize("language", LANGUAGES)
async def test_the_page_is_for_everybody_in_every_light_and_width(service, chromium, language):
    url = f"{service.url}/{language}/"
    for scheme in ("light", "dark"):
        for width in WIDTHS.values():
            async with opened(chromium, url, width=width, color_scheme=scheme) as page:
                assert await page.locator("h1").inner_text() == words(language)["public_title"]
                await check_access(page)
                assert not await is_wider_than_its_window(page), (scheme, width)


async def test_the_browser_finds_what_a_page_must_not_do(service, chromium):
    """The checks above can fail: a page that does all that is forbidden is caught."""
    context = await chromium.new_context()
    page = await context.new_page()
    complaints = complaints_of(page, "kashi.example")
    await page.goto(f"{service.url}/zh/")
    await page.evaluate(
        "() => { document.body.insertAdjacentHTML('beforeend',"
        ' \'<p style="color: #ccc; width: 9999px">x</p><img src="/nothing.png">\'); }'
    )
    await page.wait_for_function("() => document.images[0].complete")
    assert any(text.startswith(f"asks {service.url}") for text in complaints)
    assert any("Content Security Policy" in text for text in complaints)
    assert any("404" in text for text in complaints)
    with pytest.raises(AssertionError, match="image-alt"):
        await check_access(page)
    await context.close()


async def test_the_page_is_used_by_keyboard_alone(service, chromium):
    async with opened(chromium, f"{service.url}/zh/") as page:
        await page.keyboard.press("Tab")
        focused = page.locator(":focus")
        assert await focused.inner_text() == words("zh")["skip"]
        assert await focused.is_visible()
        for _ in range(10):
            await page.keyboard.press("Tab")
            if await focused.inner_text() == words("zh")["other_language"]:
                break
        await page.keyboard.press("Enter")
        await page.wait_for_url(f"{service.url}/en/")


async def test_the_page_prints_on_a4_light_and_without_navigation(service, chromium):
    async with opened(chromium, f"{service.url}/zh/", color_scheme="dark") as page:
        printed = (await page.pdf(prefer_css_page_size=True)).decode("latin-1")
        boxes = re.findall(r"/MediaBox \[0 0 ([0-9.]+) ([0-9.]+)\]", printed)
        assert {(round(float(wide)), round(float(high))) for wide, high in boxes} == {A4_POINTS}
        await page.emulate_media(media="print")
        colour = "getComputedStyle(document.body).backgroundColor"
        assert await page.evaluate(colour) == "rgb(255, 255, 255)"
        assert not await page.locator("nav").first.is_visible()


async def test_the_switch_is_stronger_than_the_system_and_needs_no_script(service, chromium):
    w = words("en")
    colour = "getComputedStyle(document.body).backgroundColor"
    look = {"color_scheme": "light", "java_script_enabled": False}
    async with opened(chromium, f"{service.url}/en/", **look) as page:
        seen = []
        for name in ("theme_dark", "theme_light", "theme_system"):
            await page.get_by_role("button", name=w[name]).click()
            pressed = page.locator('button[aria-pressed="true"]')
            assert await pressed.inner_text() == w[name]
            seen.append(await page.evaluate(colour))
        assert seen == ["rgb(16, 20, 19)", "rgb(244, 246, 245)", "rgb(244, 246, 245)"]
    async with opened(chromium, f"{service.url}/en/") as page:
        await page.get_by_role("button", name=w["theme_dark"]).click()
        await check_access(page)
        await page.emulate_media(media="print")
        assert await page.evaluate(colour) == "rgb(255, 255, 255)"
        assert not await page.locator("footer").is_visible()
