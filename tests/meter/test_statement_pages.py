"""Pages of statements of contracts and providers, and a provider's months."""

import asyncio
import csv
import html
import io
import json
import re

import pytest

from meter.console.words import words
from meter.values.roles import OFFICIALS
from tests.books import ALPHA, BETA
from tests.commands import good, kashi
from tests.meter.test_claim_pages import check_size, text_of
from tests.meter.test_months_http import MARCH, close, used
from tests.people import sign_in
from tests.services import serving

MONEY = re.compile(r"[-−]?¥[-−]?[0-9,]+\.[0-9]{2}")
LANGUAGES = ("zh", "en")


@pytest.fixture
async def service(database, tmp_path):
    """Contract A of one firm and B of another, used in March, which is closed."""
    async with serving(database, tmp_path, MARCH) as service:
        await used(service)
        await close(service)
        await service.published()
        yield service


async def page_of(service, visitor, path):
    """Return a page and its text."""
    shown = await service.get(path, **visitor.headers)
    assert shown.status == 200, (path, shown.body)
    check_size(shown)
    return shown.body.decode(), text_of(shown)


def links(page):
    return set(re.findall(r'href="([^"]*)"', page))


@pytest.mark.parametrize("language", LANGUAGES)
async def test_a_provider_goes_from_its_months_and_contracts_to_statements(service, language):
    pcl, w = await sign_in(service, "provider", "pcl"), words(language)
    base, own = f"/{language}/providers/pcl", f"/{language}/contracts/A/statements"
    page, text = await page_of(service, pcl, f"{base}/months")
    assert ("2025-03" in text, MONEY.findall(text)) == (True, ["¥576.00"])
    statement = f"{base}/statements?month=2025-03"
    assert {statement, f"{base}/statements"} <= links(page)
    listed, _ = await page_of(service, pcl, f"{base}/contracts")
    assert {own, f"{base}/statements"} <= links(listed)
    for path, costs in ((statement, 5), (f"{own}?month=2025-03", 3)):
        page, text = await page_of(service, pcl, path)
        assert len(MONEY.findall(text)) == costs
        assert {"¥288.00"} <= set(MONEY.findall(text)) <= {"¥288.00", "¥576.00"}
        told = {w[name] for name in ("granted", "entitled", "issued") if f">{w[name]}<" in page}
        assert told == set()
        assert not {link for link in links(page) if "/entries/" in link}
        _, query = path.split("?")
        assert f"{path.partition('?')[0]}.csv?{query}" in links(page)
    assert "A" in re.search(r"<h1>(.*)</h1>", page)[1]


@pytest.mark.parametrize("language", LANGUAGES)
async def test_a_firm_goes_from_a_contract_to_its_statement(service, language):
    alpha, w = await sign_in(service, "enterprise", ALPHA), words(language)
    base, path = f"/{language}/enterprises/{ALPHA}", f"/{language}/contracts/A/statements"
    listed, _ = await page_of(service, alpha, f"{base}/records?contract=A")
    assert path in links(listed)
    whole, _ = await page_of(service, alpha, f"{base}/records")
    assert path not in links(whole)
    page, text = await page_of(service, alpha, f"{path}?month=2025-03")
    assert f">{w['granted']}<" in page
    assert MONEY.findall(text) == ["¥288.00", "¥144.00", "¥144.00"] * 3
    entries = {link for link in links(page) if "/entries/" in link}
    assert entries
    for link in entries:
        assert (await service.get(link, **alpha.headers)).status == 200
    assert {f"{path}?month=2025-02", f"{path}?month=2025-04"} <= links(page)


async def test_officials_see_both_and_follow_them_to_entries(service):
    for role in OFFICIALS:
        official = await sign_in(service, role)
        page, _ = await page_of(service, official, "/en/contracts/A/statements?month=2025-03")
        assert f"/en/enterprises/{ALPHA}/records" in links(page)
        page, _ = await page_of(service, official, "/en/providers/pcl/statements?month=2025-03")
        entries = {link for link in links(page) if "/entries/" in link}
        assert entries
        for link in entries:
            assert (await service.get(link, **official.headers)).status == 200
        assert (await service.get("/en/providers/pcl/months", **official.headers)).status == 403


async def test_who_has_no_part_in_it_has_no_page(service):
    pcl, beta = (
        await sign_in(service, "provider", "pcl"),
        await sign_in(service, "enterprise", BETA),
    )
    for end in ("", ".csv"):
        for contract in ("A", "Z"):
            path = f"/en/contracts/{contract}/statements{end}"
            assert (await service.get(path, **beta.headers)).status == 404
        assert (
            await service.get(f"/en/providers/szu/statements{end}", **pcl.headers)
        ).status == 404
        assert (
            await service.get(f"/en/providers/pcl/statements{end}", **beta.headers)
        ).status == 403
    assert (await service.get("/en/providers/szu/months", **pcl.headers)).status == 404
    assert (await service.get("/en/providers/pcl/months", **beta.headers)).status == 403


async def test_the_command_of_a_page_makes_its_hash_again(service, tmp_path):
    pcl, alpha = (
        await sign_in(service, "provider", "pcl"),
        await sign_in(service, "enterprise", ALPHA),
    )
    found = set()
    for number, (visitor, path) in enumerate(
        (
            (pcl, "/en/providers/pcl/statements"),
            (pcl, "/en/contracts/A/statements"),
            (alpha, "/en/contracts/A/statements"),
            (alpha, f"/en/enterprises/{ALPHA}/statements"),
        )
    ):
        page, text = await page_of(service, visitor, f"{path}?month=2025-03")
        (command,) = re.findall(r"<code>kashi (audit statement [^<]*)</code>", page)
        target, key = tmp_path / f"{number}.json", service.folder.log_vkey.read_text().strip()
        given = {"LOG": service.folder.log, "FILE": target, "VKEY": key}
        asked = [given.get(word, word) for word in html.unescape(command).split()]
        good(await asyncio.to_thread(kashi, *asked))
        made = json.loads(target.read_text())["hash"]
        assert made in text
        found.add(made)
    assert len(found) == 4


async def test_a_file_has_the_figures_that_its_page_tells(service):
    pcl, alpha = (
        await sign_in(service, "provider", "pcl"),
        await sign_in(service, "enterprise", ALPHA),
    )
    for visitor, figures in ((pcl, 3), (alpha, 8)):
        path = "/en/contracts/A/statements.csv?month=2025-03"
        data = (await service.get(path, **visitor.headers)).body.decode("utf-8-sig")
        head, *rows = csv.reader(io.StringIO(data))
        assert {len(row) for row in (head, *rows)} == {7 + figures}
        assert [row[7] for row in rows] == ["288.00"]
