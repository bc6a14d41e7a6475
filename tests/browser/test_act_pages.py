"""The authority's acts in a real browser: only what the pages show is used."""

import pytest

from meter.console.act_forms import ACTS
from meter.console.words import words
from tests import people
from tests.books import ALPHA, DEVICE, PROGRAMME, PROVIDER_USCC, record
from tests.browser.chromium import arrive, check_access, is_wider_than_its_window, opened
from tests.browser.keyboard import check_tabs
from tests.browser.test_public_page import WIDTHS
from tests.meter.test_authority_pages import person_of
from tests.meter.test_proposals import city
from tests.services import HOUR, coupon_body, key_body, serving


@pytest.fixture
async def both(database, tmp_path):
    """Two persons; a firm with a contract, usage, and no coupon yet."""
    async with city(database, tmp_path) as both:
        await both.open_books()
        await both.service.usage([record("r1", "A", *HOUR, 64_000)])
        await both.service.published()
        yield both


async def link(both, person):
    return both.service.url + await people.link(both.service, await person_of(both, person))


async def start(page, both, language):
    await page.locator("main button").click()
    await page.goto(f"{both.service.url}/{language}/authority")


async def fill_issue(page, w, amount, reason="decision 12"):
    """Go from the overview by the list of firms to the form of an issue, and fill it in."""
    tabs = page.get_by_role("navigation", name=w["role_authority"])
    await tabs.get_by_role("link", name=w["registers_enterprises"], exact=True).click()
    await page.get_by_role("link", name=w["act_issue_short"], exact=True).click()
    assert await page.get_by_label(w["field_enterprise"]).input_value() == ALPHA
    await page.get_by_label(w["field_year"]).fill("2025")
    await page.get_by_label(w["field_amount"]).fill(amount)
    await page.get_by_label(w["field_reason"]).fill(reason)
    await page.get_by_label(w["field_programme"]).select_option(PROGRAMME)
    await page.get_by_role("button", name=w["act_check"]).click()


async def row(page, w, name):
    """Return the cells of a figure: of what, before, after."""
    found = page.locator("tr").filter(has=page.get_by_role("rowheader", name=w[name], exact=True))
    return await found.locator("td").all_inner_texts()


@pytest.mark.parametrize("language", ["zh", "en"])
async def test_a_coupon_is_issued_by_two_persons(both, chromium, language):
    """From the overview to the firm's page, without a script; double clicks book once."""
    w = words(language)
    options = {"java_script_enabled": False, "locale": language}
    async with opened(chromium, await link(both, "wang"), refused=[403], **options) as page:
        size = len(await both.service.entries())
        await start(page, both, language)
        await fill_issue(page, w, "500.00")
        assert await row(page, w, "figure_issued") == [f"{ALPHA} 2025", "¥0.00", "¥500.00"]
        assert await row(page, w, "figure_granted") == [f"{ALPHA} 2025", "¥0.00", "¥144.00"]
        assert w["act_two_persons"] in await page.locator("main").inner_text()
        await page.get_by_role("button", name=w["act_propose"]).dblclick()
        await arrive(page, "/proposals/[^/]+")
        assert len(await both.service.entries()) == size + 1
        await page.get_by_role("button", name=w["act_confirm"]).click()
        assert w["refusal_same_person"] in await page.get_by_role("alert").inner_text()
        assert len(await both.service.entries()) == size + 1
    async with opened(chromium, await link(both, "li"), **options) as page:
        size = len(await both.service.entries())
        await start(page, both, language)
        proposals = page.locator("section", has=page.locator("#proposals"))
        await proposals.locator("li").get_by_role("link").click()
        text = await page.locator("main").inner_text()
        assert "wang" in text
        assert "decision 12" in text
        assert await row(page, w, "figure_remaining") == [f"{ALPHA} 2025", "¥0.00", "¥356.00"]
        await page.get_by_role("button", name=w["act_confirm"]).dblclick()
        await arrive(page, "/entries/[^/]+")
        assert len(await both.service.entries()) == size + 1
        await page.goto(f"{both.service.url}/{language}/authority")
        await page.get_by_role("link", name="深圳某某科技有限公司").first.click()
        text = await page.locator("main").inner_text()
        assert "¥356.00" in text
        assert "¥144.00" in text


@pytest.mark.parametrize("language", ["zh", "en"])
async def test_a_stale_confirmation_shows_the_new_figures(both, chromium, language):
    """Somebody else issues meanwhile: of the form, and of the proposal's confirmation."""
    w = words(language)
    async with opened(chromium, await link(both, "wang"), refused=[409]) as page:
        await start(page, both, language)
        await fill_issue(page, w, "500.00")
        await both.by_both("issue", **coupon_body(2025, "7.00"))
        size = len(await both.service.entries())
        await page.get_by_role("button", name=w["act_propose"]).click()
        alert = page.get_by_role("alert")
        assert await alert.inner_text() == w["stale"]
        assert await alert.evaluate("e => e === document.activeElement")
        assert await row(page, w, "figure_issued") == [f"{ALPHA} 2025", "¥7.00", "¥507.00"]
        assert len(await both.service.entries()) == size
        await page.get_by_role("button", name=w["act_propose"]).click()
        await page.wait_for_url("**/proposals/*")
        assert len(await both.service.entries()) == size + 1


async def test_a_form_is_filled_in_by_keyboard_and_its_fault_is_focused(both, chromium):
    w = words("zh")
    async with opened(chromium, await link(both, "wang"), refused=[400]) as page:
        await start(page, both, "zh")
        await page.goto(f"{both.service.url}/zh/acts/freeze")
        focused = page.locator(":focus")
        for _ in range(40):
            await page.keyboard.press("Tab")
            if await focused.get_attribute("name") == "contract":
                break
        await page.keyboard.type("none")
        await page.keyboard.press("Enter")
        await page.wait_for_selector("#faults")
        assert await focused.get_attribute("id") == "faults"
        await page.keyboard.press("Tab")
        await page.keyboard.press("Enter")  # to the field
        await page.keyboard.press("Tab")
        assert w["refusal_unknown_contract"] in await page.locator("#fault-contract").inner_text()
        await page.get_by_label(w["field_contract"]).fill("A")
        await page.keyboard.press("Enter")
        await page.wait_for_selector("h2#figures")
        await page.get_by_role("button", name=w["act_give"]).focus()
        await page.keyboard.press("Enter")
        await page.wait_for_url("**/entries/*")
    assert (await both.service.entries())[-1].kind == "freeze"


ONBOARDING = {
    "policy": {"programme": PROGRAMME, "version": "2024-12"},
    "provider": {
        "id": "pcl",
        "uscc": PROVIDER_USCC,
        "name": "鹏城",
        "devices": f"{DEVICE} 128",
        "enlisted.batch": "2025-1",
        "enlisted.from": "2025-01-01",
        "enlisted.until": "2026-01-01",
    },
    "key": {"provider": "pcl"},
    "enterprise": {
        "uscc": ALPHA,
        "name": "甲公司",
        "kind": "enterprise",
        "founded_on": "2020-01-01",
    },
    "contract": {
        "id": "A",
        "contract_no": "HT-1",
        "programme": PROGRAMME,
        "enterprise": ALPHA,
        "provider": "pcl",
        "amount": "1000000.00",
        "signed_on": "2025-01-01",
        "from": "2025-01-01",
        "until": "2026-01-01",
        "use": "training",
        "prices": f"{DEVICE} 4.50",
        "related_party": "no",
    },
    "issue": {"programme": PROGRAMME, "enterprise": ALPHA, "year": "2025", "amount": "900.00"},
}


@pytest.mark.parametrize("language", ["zh", "en"])
async def test_a_programme_is_opened_by_forms_alone(database, tmp_path, chromium, language):
    """From an empty ledger to a coupon, without a script, on a phone."""
    w = words(language)
    async with serving(database, tmp_path) as service:
        clerk = service.url + await people.link(service, await people.add(service, "authority"))
        options = {"java_script_enabled": False, "locale": language, "width": 390}
        async with opened(chromium, clerk, **options) as page:
            await page.locator("main button").click()
            for act, values in ONBOARDING.items():
                await page.goto(f"{service.url}/{language}/acts")
                await page.get_by_role("link", name=w[f"act_{act}"], exact=True).click()
                body = key_body("pcl-1") if act == "key" else {}
                more = {name: body[name] for name in ("keyid", "public_key", "proof") if body}
                for name, value in (values | more).items():
                    field = page.locator(f'[name="{name}"]')
                    if await field.evaluate("e => e.tagName") == "SELECT":
                        await field.select_option(value)
                    else:
                        await field.fill(value)
                await page.get_by_role("button", name=w["act_check"]).click()
                await page.get_by_role("button", name=w["act_give"]).dblclick()
                await arrive(page, "/entries/[^/]+")
            await page.goto(f"{service.url}/{language}/enterprises/{ALPHA}")
            assert "¥900.00" in await page.locator("main").inner_text()
        kinds = [entry.kind for entry in await service.entries()]
        assert [kind for kind in kinds if kind in ONBOARDING] == list(ONBOARDING)


@pytest.mark.parametrize(("language", "scheme"), [("zh", "light"), ("en", "dark")])
async def test_each_page_is_for_everybody(both, chromium, language, scheme):
    w = words(language)
    number = await both.propose("issue", **coupon_body(2025, "7.00"))
    lists = ("enterprises", "contracts", "providers", "policies", "contracts?q=zzz")
    others = ("proposals", "log", "people", "acts", f"proposals/{number}")
    forms = tuple(f"acts/{act}" for act in ACTS)
    async with opened(chromium, await link(both, "wang"), color_scheme=scheme) as page:
        await start(page, both, language)

        async def look(where):
            for width in WIDTHS.values():
                await page.set_viewport_size({"width": width, "height": 900})
                assert not await is_wider_than_its_window(page), (where, width)
            await check_access(page)

        for path in (*lists, *others, *forms):
            await page.goto(f"{both.service.url}/{language}/{path}")
            await look(path)
        await page.goto(f"{both.service.url}/{language}/acts/freeze?contract=A")
        await page.get_by_role("button", name=w["act_check"]).click()
        await look("a confirmation")
        await check_tabs(page)
