"""Pages that are open follow the ledger: one stream for a browser, and only what changed is new."""

import asyncio
from urllib.parse import unquote

import pytest

from meter.api import events
from meter.console import enterprise
from meter.console.formats import money
from meter.console.words import words
from meter.service import sign_ins
from meter.service.running import Endpoint
from tests import people
from tests.books import ALPHA, PROGRAMME, record
from tests.browser.chromium import complaints_of
from tests.browser.firm import NOW, hours, open_firm
from tests.services import serving

TABS = 8
PATH = f"/zh/enterprises/{ALPHA}"


@pytest.fixture
async def service(database, tmp_path, monkeypatch):
    monkeypatch.setattr(enterprise, "SILENCE_SECONDS", 2)
    monkeypatch.setattr(enterprise, "RETRY_SECONDS", 1)
    monkeypatch.setattr(events, "HEARTBEAT_SECONDS", 0.5)
    async with serving(database, tmp_path, now="2025-06-01T00:00:00+08:00") as service:
        await open_firm(service, days=16)
        yield service


@pytest.fixture
async def context(service, chromium):
    """A browser in which somebody of the firm is signed in."""
    context = await chromium.new_context()
    id_ = await people.add(service, "enterprise", ALPHA)
    page = await context.new_page()
    await page.goto(service.url + await people.link(service, id_))
    await page.locator("main button").click()
    await page.wait_for_url("**/enterprises/*")
    await page.close()
    yield context
    await context.close()


async def opened(service, context):
    page = await context.new_page()
    page.complaints = complaints_of(page, service.url.partition("//")[2])
    await page.goto(service.url + PATH)
    await page.locator('[data-is="live"]').wait_for()
    return page


async def post(service, seq, cards=8):
    """Post a record; returns what remains then, as pages write it."""
    times = hours(NOW, 0, 1)
    await service.usage([record(f"live-{seq}", "TC-2025-0103", *times, cards * 1_000)], seq=seq)
    path = f"/v1/enterprises/{ALPHA}/balance?programme={PROGRAMME}&year=2025"
    return money((await service.get(path)).json["remaining"])


async def test_a_figure_moves_in_eight_tabs_over_one_stream(service, context):
    pages = [await opened(service, context) for _ in range(TABS)]
    remaining = await post(service, 90)
    for page in pages:
        await page.locator(".large", has_text=remaining).wait_for(timeout=5_000)
    assert await streams(pages) == [1, TABS - 1]
    await pages[0].close()  # the one that held the stream
    await asyncio.sleep(1)
    remaining = await post(service, 91)
    for page in pages[1:]:
        await page.locator(".large", has_text=remaining).wait_for(timeout=5_000)
        assert page.complaints == []


async def streams(pages):
    """Return how many tabs hold the stream's lock, and how many wait for it."""
    count = "navigator.locks.query().then(q => [q.held.length, q.pending.length])"
    return await pages[0].evaluate(count)


async def test_focus_and_open_details_stay_and_new_rows_are_marked(service, context):
    page = await opened(service, context)
    await page.locator("details summary").first.click()
    link = page.locator('[data-part="contracts"] a').first
    await link.focus()
    target = await link.get_attribute("href")
    remaining = await post(service, 90)
    await page.locator(".large", has_text=remaining).wait_for(timeout=5_000)
    assert await page.locator("details table").first.is_visible()
    assert await page.locator(":focus").get_attribute("href") == target
    assert await page.locator("tr.new").count() == 1
    await page.locator("tr.new").wait_for(state="detached", timeout=8_000)
    assert remaining in await page.locator("#announcement").inner_text()
    assert page.complaints == []


async def test_a_lost_service_is_told_and_the_page_goes_on_when_it_is_back(
    service, context, database, tmp_path
):
    page = await opened(service, context)
    lost, _, rest = words("zh")["live_lost"].partition("{time}")
    remaining = await post(service, 90)
    await page.locator(".large", has_text=remaining).wait_for(timeout=5_000)
    port = int(service.url.rpartition(":")[2])
    await service.stop()
    told = page.locator('[data-is="lost"]')
    await told.wait_for(timeout=10_000)
    text = await told.inner_text()
    assert text.startswith(lost)
    assert text.endswith(rest)
    async with serving(
        database, tmp_path, clock=service.clock, endpoint=Endpoint(port=port)
    ) as again:
        remaining = await post(again, 91)
        await page.locator(".large", has_text=remaining).wait_for(timeout=10_000)
        await page.locator('[data-is="live"]').wait_for(timeout=10_000)


@pytest.mark.parametrize("how", ["revoked", "expired", "forged"])
async def test_a_session_that_is_over_shows_nothing_new_and_asks_to_sign_in(service, context, how):
    page = await opened(service, context)
    before = await page.locator(".large").inner_text()
    match how:
        case "revoked":
            await end_everybody(service)
        case "expired":
            service.clock.advance(13 * 3600)
        case "forged":
            (session,) = await page.context.cookies()
            await page.context.add_cookies([session | {"value": "A" * 43}])
            await page.reload()
    if how != "forged":
        await page.locator('[data-is="again"]').wait_for(timeout=10_000)
        await service.usage([record("late", "TC-2025-0103", *hours(NOW, 0, 1), 8_000)], seq=95)
        await asyncio.sleep(1.5)
        assert await page.locator(".large").inner_text() == before
        await page.reload()
    assert await page.locator("h1").inner_text() == words("zh")["sign_in"]
    assert f"next=/zh/enterprises/{ALPHA}" in unquote(page.url)


async def end_everybody(service):
    """End all who may sign in, as an operator does."""
    with people.environment(service):
        for person in await sign_ins.list_persons(service.folder):
            await sign_ins.end_person(service.folder, person.who.token_id, service.clock())


async def test_a_person_who_is_signed_out_is_told(service, context):
    page = await opened(service, context)
    other = await context.new_page()
    await other.goto(service.url + PATH)
    await other.get_by_role("button", name=words("zh")["sign_out"]).click()
    await page.locator('[data-is="again"]').wait_for(timeout=10_000)
    assert words("zh")["live_again"] in await page.locator("#live-state").inner_text()
