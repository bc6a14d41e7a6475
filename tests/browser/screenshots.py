"""`make screenshots`: pictures of the pages of the demonstration, into docs/screenshots.

Each page is taken in Chinese and light, at 1280 pixels; some in English and dark, or on a phone.
"""

import asyncio
import re
import sys
import tempfile
from contextlib import suppress
from io import StringIO
from pathlib import Path

from playwright.async_api import Browser, Page, async_playwright
from rich.console import Console

from meter.demo import season
from meter.demo.serving import PERSONS, serve_demo
from meter.values.roles import Role
from tests.browser.chromium import OPTIONS, PROGRAM

REPOSITORY = Path(__file__).parents[2]
FOLDER = REPOSITORY / "docs/screenshots"
LOOKS = {
    "zh": {"language": "zh", "width": 1280, "scheme": "light"},
    "en-dark": {"language": "en", "width": 1280, "scheme": "dark"},
    "zh-390": {"language": "zh", "width": 390, "scheme": "light"},
}
BASE = f"/enterprises/{season.MODELS}"
# By name: whose page, the path below the language, and in which looks.
PAGES: dict[str, tuple[Role, str, tuple[str, ...]]] = {
    "public": ("enterprise", "/", ("zh",)),
    "enterprise": ("enterprise", BASE, tuple(LOOKS)),
    "enterprise-usage": ("enterprise", f"{BASE}/usage?by=month", ("zh",)),
    "enterprise-records": ("enterprise", f"{BASE}/records", ("zh",)),
    "enterprise-record": ("enterprise", f"{BASE}/records?status=withheld", ("zh", "en-dark")),
    "enterprise-contracts": ("enterprise", f"{BASE}/contracts", ("zh",)),
    "enterprise-refused": ("enterprise", f"{BASE}/refused", ("zh",)),
    "provider": ("provider", "/providers/pcl", ("zh", "en-dark")),
    "provider-batches": ("provider", "/providers/pcl/batches", ("zh", "zh-390")),
    "provider-withheld": ("provider", "/providers/pcl/withheld", ("zh",)),
    "log": ("auditor", "/log", ("zh", "en-dark")),
    "authority": ("authority", "/authority", tuple(LOOKS)),
}


async def main(folder: Path) -> None:
    """Serve the demonstration, and take each picture as a person of its role."""
    out = Console(file=StringIO(), width=200)
    with tempfile.TemporaryDirectory(prefix="kashi-demo-") as name:
        Path(name).chmod(0o711)
        serving = asyncio.create_task(serve_demo(Path(name), 0, out))
        links = await _links(out, serving)
        roles = [role for _, role, _, _ in PERSONS]
        async with async_playwright() as playwright:
            browser = await playwright.chromium.launch(executable_path=PROGRAM, args=OPTIONS)
            for role in dict.fromkeys(roles):
                url, link = links[roles.index(role)]
                page = await _signed_in(browser, url + link)
                await _take_all(page, url, role, folder)
                await page.context.close()
            await browser.close()
        serving.cancel()
        with suppress(asyncio.CancelledError):
            await serving


async def _links(out: Console, serving: "asyncio.Task[int]") -> list[tuple[str, str]]:
    """Return the service's URL and the link of each person, once they are told."""
    while True:
        await asyncio.sleep(1)
        told = out.file.getvalue()
        if serving.done():
            sys.exit(told)
        if "Ctrl-C" in told:
            return re.findall(r"(http://[^/\s]+)(/zh/sign-in/link\?code=\S+)", told)


async def _signed_in(browser: Browser, link: str) -> Page:
    page = await (await browser.new_context()).new_page()
    await page.goto(link)
    await page.locator("main button").click()
    await page.wait_for_url(lambda url: "/sign-in" not in url)
    return page


async def _take_all(page: Page, url: str, whose: Role, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, (role, path, looks) in PAGES.items():
        for look in looks if role == whose else ():
            asked = LOOKS[look]
            await page.set_viewport_size({"width": asked["width"], "height": 900})
            await page.emulate_media(color_scheme=asked["scheme"])
            await page.goto(f"{url}/{asked['language']}{path}")
            if name == "enterprise-record":
                await page.locator("tbody a").first.click()
                await page.locator(".sentence").first.wait_for()
            await page.screenshot(path=folder / f"{name}-{look}.png", full_page=True)


if __name__ == "__main__":
    asyncio.run(main(FOLDER))
