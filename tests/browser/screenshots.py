"""`make screenshots`: pictures of every page of the demonstration, into docs/screenshots.

Each page is taken in both languages, light and dark, at 1280 pixels, and light on a phone of 390. A
picture has as many colours as a palette holds, which shows the same and is a third of the size.
`make screenshots ARGS='months pools'` takes the pages of these names alone.
"""

import asyncio
import re
import sys
import tempfile
from collections.abc import Collection
from contextlib import suppress
from io import BytesIO, StringIO
from pathlib import Path

from PIL import Image
from playwright.async_api import Browser, Page, async_playwright
from rich.console import Console

from meter.console.formats import LANGUAGES
from meter.demo import season
from meter.demo.serving import PERSONS, serve_demo
from meter.values.roles import Role
from tests.browser.chromium import OPTIONS, PROGRAM

REPOSITORY = Path(__file__).parents[2]
FOLDER = REPOSITORY / "docs/screenshots"
LOOKS = {
    f"{language}{name}": {"language": language, "width": width, "scheme": scheme}
    for language in LANGUAGES
    for name, width, scheme in (
        ("", 1280, "light"),
        ("-dark", 1280, "dark"),
        ("-390", 390, "light"),
    )
}
TALLEST = 4_000  # pixels of a picture; a longer page goes on like that
COLOURS = 64
FIRM, CENTRE = f"/enterprises/{season.MODELS}", "/providers/pcl"
LEASE = "/contracts/TC-2025-0101"
FIRST = "tbody a"  # the first link of a list leads to the page
# By name: whose page, the path below the language, and the link in it that leads on, if one does.
PAGES: dict[str, tuple[Role, str, str]] = {
    "public": ("enterprise", "/", ""),
    "verify": ("enterprise", "/verify", ""),
    "notices": ("enterprise", "/notices", ""),
    "account": ("enterprise", "/account", ""),
    "alerts": ("enterprise", "/alerts", ""),
    "enterprise": ("enterprise", FIRM, ""),
    "enterprise-usage": ("enterprise", f"{FIRM}/usage?by=month", ""),
    "enterprise-records": ("enterprise", f"{FIRM}/records?limit=20", ""),
    "enterprise-record": ("enterprise", f"{FIRM}/records?status=withheld", FIRST),
    "enterprise-contracts": ("enterprise", f"{FIRM}/contracts", ""),
    "enterprise-refused": ("enterprise", f"{FIRM}/refused", ""),
    "enterprise-claims": ("enterprise", f"{FIRM}/claims", ""),
    "enterprise-months": ("enterprise", f"{FIRM}/months", ""),
    "enterprise-statement": ("enterprise", f"{FIRM}/statements?month=2025-08", ""),
    "contract-statement": ("enterprise", f"{LEASE}/statements?month=2025-08", ""),
    "enterprise-claim-new": ("enterprise", f"{FIRM}/claims", 'a[href*="/claims/new"]'),
    "provider": ("provider", CENTRE, ""),
    "provider-batches": ("provider", f"{CENTRE}/batches", ""),
    "provider-refused": ("provider", f"{CENTRE}/refused", ""),
    "provider-withheld": ("provider", f"{CENTRE}/withheld", ""),
    "provider-contracts": ("provider", f"{CENTRE}/contracts", ""),
    "provider-months": ("provider", f"{CENTRE}/months", ""),
    "provider-statement": ("provider", f"{CENTRE}/statements?month=2025-08", ""),
    "provider-contract-statement": ("provider", f"{LEASE}/statements?month=2025-08", ""),
    "log": ("auditor", "/log", ""),
    "access-log": ("auditor", "/access-log", ""),
    "entry": ("auditor", "/log", 'a[href*="/entries/"]'),
    "authority": ("authority", "/authority", ""),
    "review": ("authority", "/authority", 'a[href*="/review/"]'),
    "proposals": ("authority", "/proposals?status=confirmed", ""),
    "proposal": ("authority", "/proposals?status=confirmed", 'main a[href*="/proposals/"]'),
    "acts": ("authority", "/acts", ""),
    "act": ("authority", f"/acts/issue?enterprise={season.MODELS}&year=2025", ""),
    "enterprises": ("authority", "/enterprises", ""),
    "contracts": ("authority", "/contracts", ""),
    "providers": ("authority", "/providers", ""),
    "policies": ("authority", "/policies", ""),
    "claims": ("authority", "/claims", ""),
    "payments": ("authority", "/payments", ""),
    "months": ("authority", "/months", ""),
    "coupons": ("authority", "/coupons?as_of=2025-06-30", ""),
    "pools": ("authority", "/pools?as_of=2025-06-30", ""),
    "people": ("authority", "/people", ""),
    "person": ("authority", "/people", 'a[href*="/people/"]'),
    "tokens": ("authority", "/tokens", ""),
}
Pages = dict[str, tuple[str, str]]  # path and link by name
OF_NOBODY = {"sign-in": "/sign-in", "sign-in-link": "/sign-in/link"}


async def main(folder: Path, names: Collection[str]) -> None:
    """Serve the demonstration, and take each picture, of some names, as a person of its role."""
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
                own = {name: held[1:] for name, held in PAGES.items() if held[0] == role}
                await _take_all(page, url, _chosen(own, names), folder)
                await page.context.close()
            page = await (await browser.new_context()).new_page()
            public = {name: (path, "") for name, path in OF_NOBODY.items()}
            await _take_all(page, url, _chosen(public, names), folder)
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


def _chosen(own: Pages, names: Collection[str]) -> Pages:
    """Return the pages of some names, or all."""
    return {name: page for name, page in own.items() if not names or name in names}


async def _take_all(page: Page, url: str, own: Pages, folder: Path) -> None:
    """Take some pages of whoever is signed in."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, (path, link) in own.items():
        for look, asked in LOOKS.items():
            await page.set_viewport_size({"width": asked["width"], "height": 900})
            await page.emulate_media(color_scheme=asked["scheme"])
            await _open(page, f"{url}/{asked['language']}{path}")
            if link:
                led = page.locator(link).first
                if not await led.count():
                    sys.exit(f"{name}: no link {link} at {page.url}: {await _told(page)}")
                await _open(page, f"{url}{await led.get_attribute('href')}")
            tall = await page.evaluate("() => document.documentElement.scrollHeight")
            clip = {"x": 0, "y": 0, "width": asked["width"], "height": min(tall, TALLEST)}
            data = await page.screenshot(full_page=True, clip=clip)
            picture = Image.open(BytesIO(data)).convert("RGB").quantize(COLOURS, dither=0)
            picture.save(folder / f"{name}-{look}.png", optimize=True)


async def _open(page: Page, url: str) -> None:
    """Open a page, or end with what it says instead."""
    answer = await page.goto(url)
    if answer is None or not answer.ok:
        sys.exit(f"{url}: {await _told(page)}")


async def _told(page: Page) -> str:
    return (await page.locator("main").inner_text())[:500]


if __name__ == "__main__":
    asyncio.run(main(FOLDER, sys.argv[1:]))
