"""Whether a page is used by the keyboard alone: Tab reaches all it offers, and shows where."""

from typing import Any, Final

from playwright.async_api import Page

# How often Tab is pressed before one looks; more than a field has parts, which it stops at too.
AT_ONCE: Final = 10

# Details are opened first. Of a group of radio buttons Tab reaches one, and arrows the others.
WATCH: Final = """() => {
  document.querySelectorAll("details").forEach((each) => (each.open = true));
  const isOffered = (each) => {
    const { width, height } = each.getBoundingClientRect();
    const isShown = each.checkVisibility({ visibilityProperty: true }) && width && height;
    const isClipped = getComputedStyle(each).clipPath !== "none";
    const isHidden = !isShown || isClipped || (each.type === "radio" && !each.checked);
    return !isHidden && !each.disabled;
  };
  const look = (each) => {
    const { outlineStyle, outlineWidth, outlineColor, boxShadow } = getComputedStyle(each);
    const outline = outlineStyle === "none" ? "" : outlineStyle + outlineWidth + outlineColor;
    return outline + (boxShadow === "none" ? "" : boxShadow);
  };
  const kinds = "a[href], button, input, select, textarea, summary";
  const offered = [...document.querySelectorAll(kinds)].filter(isOffered);
  const before = new Map([...document.querySelectorAll("*")].map((each) => [each, look(each)]));
  const watched = { offered, reached: [], unseen: [], isBack: false };
  addEventListener("focusin", ({ target }) => {
    watched.isBack ||= watched.reached.includes(target);
    if (watched.isBack) return;
    watched.reached.push(target);
    const now = look(target);
    if (now === "" || now === before.get(target)) watched.unseen.push(target);
  });
  window.watched = watched;
}"""
FOUND: Final = """() => {
  const { offered, reached, unseen, isBack } = window.watched;
  const texts = (them) => them.map((each) => each.outerHTML.slice(0, 120));
  const used = texts(reached.filter((each) => offered.includes(each)));
  return { isBack, used, all: texts(reached), offered: texts(offered), unseen: texts(unseen) };
}"""


async def check_tabs(page: Page) -> None:
    """Fail where Tab leaves out what can be used, goes by another order, or does not get on.

    What has the focus looks otherwise than without: by its outline, or by a shadow.
    """
    found = await _tabbed(page)
    assert found["isBack"], (page.url, found["all"][-1:])
    assert found["used"] == found["offered"], page.url
    assert found["unseen"] == [], page.url


async def _tabbed(page: Page) -> dict[str, Any]:
    """Press Tab until the focus is back where it began, or stays; return what was reached."""
    await page.evaluate(WATCH)
    found: dict[str, Any] = {"all": None}
    while True:
        for _ in range(AT_ONCE):
            await page.keyboard.press("Tab")
        last, found = found, await page.evaluate(FOUND)
        if found["isBack"] or found["all"] == last["all"]:
            return found
