"""The switch between light and dark: a cookie, which a form of any page sets."""

import pytest

from meter.console.formats import LANGUAGES
from meter.console.page import THEME_COOKIE
from meter.console.words import words
from tests.books import ALPHA
from tests.meter.test_console_pages import Elements
from tests.people import send_form, sign_in
from tests.services import serving


@pytest.fixture
async def service(database, tmp_path):
    async with serving(database, tmp_path) as service:
        await service.open_books()
        await service.published()
        yield service


async def root_of(service, path, cookie=""):
    """Return the attributes of a page's root element, and which themes are marked as chosen."""
    answer = await service.get(path, Authorization="", Cookie=cookie)
    found = Elements(answer.body.decode()).found
    pressed = [each["value"] for tag, each in found if tag == "button" and "aria-pressed" in each]
    return dict(found)["html"], pressed


@pytest.mark.parametrize("language", LANGUAGES)
async def test_a_choice_is_kept_by_the_browser_and_leads_back(service, language):
    back = f"/{language}/?from=%E4%BD%A0"
    fields = {"theme": "dark", "back": back.replace("%", "%25"), "session": ""}
    answer = await send_form(service, f"/{language}/theme", fields)
    assert (answer.status, answer.headers["Location"]) == (303, back)
    cookie, _, rest = answer.headers["Set-Cookie"].partition("; ")
    assert cookie == f"{THEME_COOKIE}=dark"
    assert {"Secure", "HttpOnly", "SameSite=Lax", "Max-Age=31536000"} <= set(rest.split("; "))
    assert await root_of(service, back) == ({"lang": lang(language)}, ["system"])
    chosen = {"lang": lang(language), "data-theme": "dark"}
    assert await root_of(service, back, cookie) == (chosen, ["dark"])
    forged = f'{THEME_COOKIE}="><script>"'
    assert await root_of(service, back, forged) == ({"lang": lang(language)}, ["system"])
    gone = await send_form(service, f"/{language}/theme", {"theme": "system", "back": back})
    assert "Max-Age=0" in gone.headers["Set-Cookie"]


def lang(language):
    return "zh-Hans" if language == "zh" else "en"


async def test_the_form_of_a_page_names_that_page(service):
    firm = await sign_in(service, "enterprise", ALPHA)
    path = f"/zh/enterprises/{ALPHA}/records?status=withheld&from=2025-03-01"
    page = Elements((await service.get(path, **firm.headers)).body.decode())
    (back,) = [each["value"] for _, each in page.found if each.get("name") == "back"]
    answer = await firm.send(service, "/zh/theme", theme="light", back=back)
    assert answer.headers["Location"] == path
    assert words("zh")["theme_light"] in page.text


async def test_no_choice_leads_elsewhere_or_comes_from_elsewhere(service):
    for back in ("//evil.example/", "https://evil.example/", "%2F%2Fevil.example", ""):
        answer = await send_form(service, "/en/theme", {"theme": "dark", "back": back})
        assert answer.headers["Location"] == "/en/"
    answer = await send_form(service, "/en/theme", {"theme": "red"})
    assert "Max-Age=0" in answer.headers["Set-Cookie"]
    foreign = {"Sec_Fetch_Site": "cross-site"}
    answer = await send_form(service, "/en/theme", {"theme": "dark"}, **foreign)
    assert (answer.status, answer.code) == (403, "foreign_form")
    assert "Set-Cookie" not in answer.headers
