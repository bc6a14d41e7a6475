"""A real Chromium for tests, and what no page may do in it: the system's, never a download.

    async with opened(chromium, url, width=390) as page:
        assert await page.title() == "..."

A page that writes an error or a warning into its console (a violation of the policy of content is
one), asks another host, or fails to load something, fails the test. The console also names the
status of a form that was refused: those that a test means are `refused`.
"""

import re
import shutil
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Browser, Page, expect

PROGRAM = shutil.which("chromium")
# No sandbox, for CI runs as root; and a browser that speaks to nobody of its own accord.
OPTIONS = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    "--disable-dev-shm-usage",
]
HEIGHT = 900
_REFUSED = "Failed to load resource: the server responded with a status of"


@asynccontextmanager
async def opened(
    browser: Browser, url: str, *, width: int = 1280, refused: Sequence[int] = (), **options: Any
) -> AsyncIterator[Page]:
    """Open a page in a context of its own, with Playwright's options, such as `color_scheme`."""
    options = {"viewport": {"width": width, "height": HEIGHT}} | options
    context = await browser.new_context(**options)
    page = await context.new_page()
    complaints = complaints_of(page, urlsplit(url).netloc)
    answer = await page.goto(url)
    assert answer is not None
    assert answer.status == 200, await answer.text()
    yield page
    meant = tuple(f"error: {_REFUSED} {status} " for status in refused)
    found = [each for each in complaints if not each.startswith(meant)]
    assert found == [], found
    assert len(complaints) - len(found) == len(refused), complaints
    await context.close()


async def arrive(page: Page, address: str) -> None:
    """Wait until a page's address ends so, whatever two clicks of a button began on the way.

    The second click ends what the first one loads, which `Page.wait_for_url` takes for a fault.
    """
    await expect(page).to_have_url(re.compile(f"{address}$"), timeout=30_000)
    await page.wait_for_load_state()


def complaints_of(page: Page, host: str) -> list[str]:
    """Return a list that gets a line for each thing that no page may do."""
    found: list[str] = []

    def hear(message: Any) -> None:
        if message.type in ("error", "warning"):
            found.append(f"{message.type}: {message.text}")

    def see(request: Any) -> None:
        if urlsplit(request.url).netloc != host:
            found.append(f"asks {request.url}")

    def fail(request: Any) -> None:
        if request.failure != "net::ERR_ABORTED":  # a page that was left, or a file that is saved
            found.append(f"failed: {request.url}")

    page.on("console", hear)
    page.on("pageerror", lambda error: found.append(f"exception: {error}"))
    page.on("request", see)
    page.on("requestfailed", fail)
    return found


async def check_access(page: Page) -> None:
    """Fail where axe finds a fault of accessibility."""
    results = await Axe().run(page)
    assert results.response["violations"] == [], results.generate_report()


async def is_wider_than_its_window(page: Page) -> bool:
    """Return whether a page has to be scrolled sideways."""
    element = "document.documentElement"
    return bool(await page.evaluate(f"{element}.scrollWidth > {element}.clientWidth"))
