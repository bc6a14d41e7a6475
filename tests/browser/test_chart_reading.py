"""A crosshair reads a chart's table: by pointer and by keyboard, also after the part is swapped."""

import pytest

from tests import people
from tests.books import ALPHA, record
from tests.browser.chromium import check_access, opened
from tests.browser.firm import NOW, hours, open_firm
from tests.services import serving

PATH = f"/en/enterprises/{ALPHA}"


@pytest.fixture
async def service(database, tmp_path):
    async with serving(database, tmp_path, now="2025-06-01T00:00:00+08:00") as service:
        await open_firm(service, days=16)
        yield service


async def rows_of(figure):
    """Return what a chart's table says of each of its days, as a reading does."""
    names = [each.strip() for each in await figure.locator("thead th").all_text_contents()]
    found = []
    for row in await figure.locator("tbody tr").all():
        date, *figures = await row.locator("th, td").all_text_contents()
        told = [f"{name} {text}" for name, text in zip(names[1:], figures, strict=True) if text]
        found.append(" · ".join([date, *told]))
    return found


async def test_a_pointer_and_the_arrows_read_the_table(service, chromium):
    link = service.url + await people.link(service, await people.add(service, "enterprise", ALPHA))
    async with opened(chromium, link, locale="en-GB") as page:
        await page.locator("main button").click()
        await page.goto(service.url + PATH)
        figure = page.locator("figure.chart").nth(1)
        plot, reading = figure.locator("svg.plot"), figure.locator(".reading")
        rows = await rows_of(figure)
        assert [row.partition(" Aug")[0] for row in rows[-5:]] == ["16", "17", "19", "20", "21"]
        assert await reading.inner_text() == ""
        # The pointer: today, the 16th, and the 18th, which has no row, for its record was voided.
        box = await plot.bounding_box()
        day = box["width"] / 42
        for back, row, shown in ((0.5, -1, 0.5), (5.5, -5, 5.5), (3.5, -4, 4.5)):
            right = box["x"] + box["width"]
            await page.mouse.move(right - back * day, box["y"] + 80)
            assert await reading.inner_text() == rows[row]
            line = await figure.locator(".cross").bounding_box()
            assert abs(line["x"] - (right - shown * day)) < 1.5
        # The keyboard: to the ends, and a day on and back.
        await plot.focus()
        for key, row in (
            *(("Home", 0), ("ArrowLeft", 0), ("ArrowRight", 1), ("ArrowRight", 2)),
            *(("ArrowLeft", 1), ("End", -1), ("ArrowRight", -1)),
        ):
            await page.keyboard.press(key)
            assert await reading.inner_text() == rows[row], key
        await check_access(page)
        # A record changes the chart: the day is read anew, and the chart keeps the focus.
        await page.keyboard.press("End")
        before = await reading.inner_text()
        times = hours(NOW, 0, 1)
        await service.usage([record("more", "TC-2025-0103", *times, 8_000)], seq=90)
        await page.wait_for_function(
            "text => document.querySelectorAll('.reading')[1].textContent !== text", arg=before
        )
        assert await reading.inner_text() == (await rows_of(figure))[-1]
        assert await page.evaluate("document.activeElement.classList.contains('plot')")
