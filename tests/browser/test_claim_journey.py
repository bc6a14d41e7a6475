"""A claim from entry to payment by three persons in a real browser, by what pages show alone."""

from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import pytest

from meter.console.words import words
from tests import people
from tests.books import ALPHA
from tests.browser.chromium import (
    arrive,
    check_access,
    complaints_of,
    is_wider_than_its_window,
    opened,
)
from tests.browser.test_public_page import WIDTHS
from tests.claiming import NOTICE_URL, PAPERS, TODAY, claim, claiming, named
from tests.services import authorization

INVOICE, PAYMENT = PAPERS["invoices"][0], PAPERS["payments"][0]


@asynccontextmanager
async def visiting(both, chromium, id_, language, *, script):
    """Sign somebody in by a link, in a browser that may be told that a form was not taken."""
    path = (await people.link(both.service, id_)).replace("/zh/", f"/{language}/")
    context = await chromium.new_context(java_script_enabled=script, accept_downloads=True)
    page = await context.new_page()
    complaints = complaints_of(page, urlsplit(both.service.url).netloc)
    await page.goto(both.service.url + path)
    await page.get_by_role("button", name=words(language)["link_button"]).click()
    yield page
    assert [each for each in complaints if "responded with a status of 4" not in each] == []
    await context.close()


async def fill_papers(page, w):
    """Fill a claim's form in as a person does, by the labels of its fields."""
    for row, fields in ((w["invoice_row"], INVOICE), (w["payment_row"], PAYMENT)):
        group = page.get_by_role("group", name=row.format(n=1))
        for name, value in fields.items():
            if name not in ("seller", "buyer"):  # the page has them
                await group.get_by_label(w[f"claim_field_{name}"], exact=True).fill(value)
    await page.get_by_label(w["claim_delivery"], exact=True).fill(PAPERS["delivery"])


async def decide(page, w, act, **given):
    """Take a step with a claim from its page: open its form, fill it in, confirm the figures."""
    await page.get_by_role("link", name=w[f"step_{act}"], exact=True).click()
    for name, value in given.items():
        field = page.get_by_label(w[f"claim_field_{name}"], exact=True)
        if await field.evaluate("e => e.tagName") == "SELECT":
            await field.select_option(value)
        else:
            await field.fill(value)
    ask = page.get_by_role("button", name=w["step_review"], exact=True)
    if await ask.count():
        await ask.click()
    await page.get_by_role("button", name=w["step_book"].format(act=w[f"step_{act}"])).dblclick()


async def open_claim(page, w, name):
    await page.get_by_role("link", name=w["claims_all"], exact=True).first.click()
    await page.get_by_role("link", name=name, exact=True).click()


@pytest.mark.parametrize(("language", "script"), [("zh", True), ("en", False)])
async def test_a_claim_is_entered_reviewed_and_paid_by_three_persons(
    database, tmp_path, chromium, language, script
):
    w = words(language)
    async with claiming(database, tmp_path) as both:
        firm = await people.add(both.service, "enterprise", ALPHA)
        wang, li = await named(both, "wang"), await named(both, "li")

        def visit(id_):
            return visiting(both, chromium, id_, language, script=script)

        async with visit(firm) as page:
            name = await enter(page, w, script=script)
        async with visit(wang) as page:
            await page.get_by_role("link", name=name, exact=True).click()
            await decide(page, w, "check")
            await arrive(page, f"/claims/{name}")
            await decide(page, w, "approve", amount="400000.00")
            assert "same_person" in await page.locator("#faults").inner_text()
        async with visit(li) as page:
            await open_claim(page, w, name)
            await decide(page, w, "approve", amount="400000.00")
            await arrive(page, f"/claims/{name}")
            await decide(page, w, "notice", url=NOTICE_URL)
            await arrive(page, f"/claims/{name}")
            assert w["state_noticed"] in await page.locator("h1").inner_text()
            await page.goto(f"{both.service.url}/{language}/notices")
            notice = page.get_by_role("link", name=w["notice_read"])
            assert await notice.get_attribute("href") == NOTICE_URL
        both.service.clock.advance(8 * 86_400)
        async with visit(wang) as page:
            await open_claim(page, w, name)
            await decide(page, w, "order")
            await arrive(page, f"/claims/{name}")
            await pay(page, w, name)
        kinds = [entry.kind for entry in await both.service.entries()]
        for kind in ("claim", "claim_check", "approval", "notice", "order", "payment"):
            assert kinds.count(kind) == 1, kind


async def enter(page, w, *, script):
    """Enter a claim, whose figures grow by themselves with a script; returns its id."""
    await page.get_by_role("link", name=w["tab_settling"], exact=True).click()
    await page.get_by_role("link", name=f"{w['claim_begin']} A 2025").click()
    figures = page.locator('[data-part="payable"]')
    invoiced = figures.get_by_role("row", name=w["op_invoiced"])
    assert "¥0.00" in await invoiced.inner_text()
    await fill_papers(page, w)
    if script:
        await invoiced.get_by_text("¥1,000,000.00").wait_for()
    else:
        await page.get_by_role("button", name=w["recalculate"]).last.click()
        assert "¥1,000,000.00" in await invoiced.inner_text()
    await page.get_by_role("button", name=w["continue"]).click()
    name = await page.locator(".panel .facts code").first.inner_text()
    await page.get_by_role("button", name=w["claim_submit"]).dblclick()
    await arrive(page, f"/claims/{name}")
    assert w["state_entered"] in await page.locator("h1").inner_text()
    return name


async def pay(page, w, name):
    """Take the list for the bank, and bring its results: wrong ones, good ones, these again."""
    await page.get_by_role("link", name=w["claims_all"], exact=True).click()
    await page.get_by_role("link", name=w["bank"], exact=True).click()
    async with page.expect_download() as download:
        await page.get_by_role("link", name=w["bank_download"]).click()
    listed = (await (await download.value).path()).read_text("utf-8-sig")
    head, line = listed.splitlines()
    good = line.removesuffix(",,,,") + f",paid,city-1,{TODAY},"
    await upload(page, w, f"{head}\r\n{good}\r\n{good.replace(name, 'CL-none')}\r\n")
    assert f"{w['bank_line']} 3:" in await page.locator("#faults").inner_text()
    assert "unknown_claim" in await page.locator("#faults").inner_text()
    await upload(page, w, f"{head}\r\n{good}\r\n")
    await page.get_by_role("button", name=w["bank_confirm"]).dblclick()
    known = page.get_by_text(w["bank_known"])
    await known.or_(page.get_by_text(w["bank_done"])).first.wait_for()
    await upload(page, w, f"{head}\r\n{good}\r\n")
    assert w["bank_known"] in await page.locator("main").inner_text()
    await page.get_by_role("link", name=name, exact=True).click()
    assert w["state_paid"] in await page.locator("h1").inner_text()


async def upload(page, w, text):
    """Choose a file, and have it checked."""
    file = {"name": "bank.csv", "mimeType": "text/csv", "buffer": text.encode()}
    await page.get_by_label(w["bank_file"]).set_input_files(files=[file])
    await page.get_by_role("button", name=w["bank_check"]).click()


async def test_each_page_of_claims_is_for_everybody(database, tmp_path, chromium):
    async with claiming(database, tmp_path) as both:
        await claim(both)
        service = both.service
        firm = await people.add(service, "enterprise", ALPHA)
        new = f"enterprises/{ALPHA}/claims"
        visits = {
            firm: (new, f"{new}/new?item=A&year=2025", "claims/C1", "claims/C1/withdraw"),
            await named(both, "li"): ("claims", "claims/C1", "claims/C1/check", "payments"),
        }
        for id_, paths in visits.items():
            link = service.url + await people.link(service, id_)
            async with opened(chromium, link, color_scheme="dark") as page:
                await page.locator("main button").click()
                for path in (*paths, "notices"):
                    await page.goto(f"{service.url}/en/{path}")
                    for width in WIDTHS.values():
                        await page.set_viewport_size({"width": width, "height": 900})
                        assert not await is_wider_than_its_window(page), (path, width)
                    await check_access(page)


async def test_a_file_is_hashed_in_the_browser_and_stays_there(database, tmp_path, chromium):
    async with claiming(database, tmp_path) as both:
        firm = await people.add(both.service, "enterprise", ALPHA)
        link = both.service.url + await people.link(both.service, firm)
        async with opened(chromium, link) as page:
            await page.locator("main button").click()
            base = f"{both.service.url}/zh/enterprises/{ALPHA}"
            await page.goto(f"{base}/claims/new?item=A&year=2025")
            field = page.locator("[name=delivery]")
            file = {"name": "d.pdf", "mimeType": "application/pdf", "buffer": b"abc"}
            await page.locator("input[type=file]").first.set_input_files(files=[file])
            await page.wait_for_function(
                "() => document.querySelector('[name=delivery]').value.length === 64"
            )
            # FIPS 180-4, the example of SHA-256.
            assert (await field.input_value()).startswith("ba7816bf8f01cfea")
            gap = words("zh")["evidence_delivery"]
            await page.wait_for_function(
                "w => !document.querySelector('[data-part=payable] .warn').innerText.includes(w)",
                arg=gap,
            )


async def test_an_objection_is_recorded_by_the_digest_of_its_file(database, tmp_path, chromium):
    async with claiming(database, tmp_path) as both:
        service = both.service
        ours = await authorization(service, "firm-1", "enterprise", ALPHA)
        body = {"id": "C1", "item": "A", "year": 2025, **PAPERS}
        assert (await service.post("/v1/claims", body, Authorization=ours)).status == 201
        await both.post("wang", "/v1/claims/C1/check")
        await both.post("li", "/v1/claims/C1/approve", {"amount": "1.00"}, "approve")
        notice = {"from": TODAY, "until": "2025-05-27", "url": NOTICE_URL}
        await both.post("li", "/v1/claims/C1/notice", notice)
        w = words("en")
        link = service.url + await people.link(service, await named(both, "li"))
        async with opened(chromium, link) as page:
            await page.locator("main button").click()
            await page.goto(f"{service.url}/en/claims/C1")
            await page.get_by_role("link", name=w["step_objection"], exact=True).click()
            file = {"name": "o.txt", "mimeType": "text/plain", "buffer": b"abc"}
            await page.get_by_label(w["claim_field_file"]).set_input_files(files=[file])
            await page.wait_for_function(
                "() => document.querySelector('[name=sha256]').value.length === 64"
            )
            await page.get_by_role("button", name=w["step_review"], exact=True).click()
            book = w["step_book"].format(act=w["step_objection"])
            await page.get_by_role("button", name=book).dblclick()
            await arrive(page, "/claims/C1")
        entry = (await service.entries())[-1]
        assert (entry.kind, entry.person) == ("objection", "li")
        assert entry.sha256.startswith("ba7816bf8f01cfea")
