"""The bar of whoever is signed in: on every page, the same, and with seven tabs at most."""

import re

import pytest

from tests.books import ALPHA, record
from tests.people import sign_in
from tests.services import HOUR, serving

MOST = 7
# Whose pages, and where they begin.
STARTS = {
    "enterprise": (ALPHA, f"/zh/enterprises/{ALPHA}"),
    "provider": ("pcl", "/zh/providers/pcl"),
    "auditor": ("", "/zh/authority"),
    "authority": ("", "/zh/authority"),
}
# Pages that belong to nobody, one that nobody has, and one that is not for every role.
OTHERS = ("/zh/", "/zh/account", "/zh/verify", "/zh/notices", "/zh/alerts", "/zh/nope", "/zh/acts")


@pytest.fixture
async def service(database, tmp_path):
    async with serving(database, tmp_path) as service:
        await service.open_books()
        await service.usage([record("r1", "A", *HOUR, 8_000)])
        await service.published()
        yield service


def tabs_of(answer, place="<header>"):
    """Return the paths of the tabs of a page's bar, or of those in its content, and the current."""
    found = answer.body.decode().partition(place)[2].partition('<nav class="tabs')[2]
    links = re.findall(r'<a href="([^"?]*)[^"]*"( aria-current)?', found.partition("</nav>")[0])
    return [path for path, _ in links], [path for path, current in links if current]


@pytest.mark.parametrize("role", STARTS)
async def test_every_page_has_the_bar_which_leads_to_one_s_start(service, role):
    subject, start = STARTS[role]
    visitor = await sign_in(service, role, subject)
    number = (await service.get("/v1/entries?kind=usage")).json["entries"][0]["number"]
    first = await service.get(start, **visitor.headers)
    bar, current = tabs_of(first)
    assert current == [start]
    assert (bar[0], len(bar) <= MOST, len(set(bar))) == (start, True, len(bar))
    for path in (*OTHERS, f"/zh/entries/{number}"):
        shown = await service.get(path, **visitor.headers)
        assert tabs_of(shown)[0] == bar, path
        assert tabs_of(shown)[1] == ([path] if path in bar else []), path
    for path in bar:
        shown = await service.get(path, **visitor.headers)
        assert (shown.status, tabs_of(shown)) == (200, (bar, [path])), path


async def test_nobody_signed_in_has_no_bar(service):
    for path in ("/zh/", "/zh/verify", "/zh/sign-in"):
        assert tabs_of(await service.get(path, Authorization="")) == ([], [])


@pytest.mark.parametrize(
    ("path", "current"),
    [
        (f"/zh/enterprises/{ALPHA}/usage", "/zh/enterprises"),
        ("/zh/providers/pcl/contracts", "/zh/providers"),
    ],
)
async def test_an_official_keeps_the_bar_above_the_tabs_of_a_firm_or_a_provider(
    service, path, current
):
    auditor = await sign_in(service, "auditor")
    shown = await service.get(path, **auditor.headers)
    assert tabs_of(shown)[1] == [current]
    below, here = tabs_of(shown, "<main")
    assert here == [path]
    for each in below:
        assert (await service.get(each, **auditor.headers)).status == 200, each


async def test_a_firm_turns_from_claims_to_months_within_a_tab(service):
    firm = await sign_in(service, "enterprise", ALPHA)
    base = f"/zh/enterprises/{ALPHA}"
    for path in (f"{base}/claims", f"{base}/months"):
        shown = await service.get(path, **firm.headers)
        assert tabs_of(shown)[1] == [f"{base}/claims"]
        assert tabs_of(shown, "<main") == ([f"{base}/claims", f"{base}/months"], [path])
