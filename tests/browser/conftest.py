"""The browser that the tests of pages share."""

from collections.abc import AsyncIterator

import pytest
from playwright.async_api import Browser, async_playwright

from tests.browser.chromium import OPTIONS, PROGRAM
from tests.interop.programs import need


@pytest.fixture
async def chromium() -> AsyncIterator[Browser]:
    """A browser without any state."""
    need("chromium", PROGRAM)
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=PROGRAM, args=OPTIONS)
        yield browser
        await browser.close()
