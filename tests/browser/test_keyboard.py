"""Every page by the keyboard alone, as far as links of a role's pages lead: one of each kind."""

import re

import pytest

from tests import people
from tests.books import ALPHA, record
from tests.browser.chromium import opened
from tests.browser.keyboard import check_tabs
from tests.claiming import again, claim, claiming, named
from tests.meter.test_every_page import walk

# Whom the pages are about, and where they begin.
STARTS = {
    "enterprise": (ALPHA, f"/en/enterprises/{ALPHA}"),
    "provider": ("pcl", "/en/providers/pcl"),
    "auditor": ("", "/en/log"),
    "authority": ("", "/en/authority"),
}
FEWEST = 10
FEWEST_OF_ANYBODY = 4


@pytest.fixture
async def both(database, tmp_path):
    """Two persons, a firm with a claim, and a record beyond its contract."""
    async with claiming(database, tmp_path) as both:
        await claim(both)
        times = ("2025-05-20T09:00:00+08:00", "2025-05-20T10:00:00+08:00")
        await both.service.usage([record("r2", "A", *times, 8_000)], seq=3)
        await both.service.published()
        yield both


def kind_of(link):
    """Return what is alike in links to pages of a kind; all acts have one form."""
    path = link.partition("?")[0]
    if not path.startswith("/en/"):
        return "another language"
    return re.sub(r"(?<=/acts/)[a-z_]+|[0-9A-Z]{18}|[0-9a-f]{64}|[0-9]+", "*", path)


def official_kind_of(link):
    """Return the same for those who see the pages of all firms and providers: one is enough."""
    return re.sub(r"/(enterprises|providers)/.+", r"/\1/*", kind_of(link))


async def test_tab_goes_through_the_pages_that_anybody_sees(both, chromium):
    pages = walk(both.service, people.Visitor("", ""), "/en/", kind_of, 1)
    async with opened(chromium, f"{both.service.url}/en/") as page:
        assert await check_pages(page, both.service, pages) >= FEWEST_OF_ANYBODY


@pytest.mark.parametrize("role", STARTS)
async def test_tab_goes_through_each_page_of_a_role(both, chromium, role):
    service, (subject, start) = both.service, STARTS[role]
    if role == "authority":
        id_ = await named(both, "li")
    else:
        id_ = await people.add(service, role, subject)
    kind = kind_of if subject else official_kind_of
    pages = walk(service, await again(service, id_), start, kind, 1)
    async with opened(chromium, service.url + await people.link(service, id_)) as page:
        await check_tabs(page)
        await page.locator("main button").click()
        assert await check_pages(page, service, pages) >= FEWEST


async def check_pages(page, service, pages):
    """Check each page of the language; return how many they are."""
    count = 0
    async for path, answer in pages:
        assert answer.status == 200, path
        if path.startswith("/en/"):
            await page.goto(service.url + path)
            await check_tabs(page)
            count += 1
    return count
