"""The demonstration that is served: seven months, here three weeks, then on; links for roles."""

import asyncio
import os
import re
import signal
from io import StringIO

import aiohttp
import pytest
from click.testing import CliRunner
from rich.console import Console

from meter.cli.main import main
from meter.console.words import words
from meter.demo import season, serving
from meter.host.data_folder import DATABASE_VARIABLE
from meter.values.units import DAY_SECONDS, format_date, parse_date
from tests.conftest import memory_folder
from tests.people import FORM


@pytest.fixture
def folder(monkeypatch):
    monkeypatch.delenv(DATABASE_VARIABLE, raising=False)
    monkeypatch.setattr(season, "ENDS", season.BEGINS + 21 * DAY_SECONDS)
    monkeypatch.setattr(serving, "LIVE_SECONDS", 0.1)
    with memory_folder() as folder:
        yield folder


async def told(out: StringIO, serving_: asyncio.Task) -> str:
    """Return what was printed, once all of it was."""
    while "Ctrl-C" not in out.getvalue():
        assert not serving_.done(), out.getvalue()
        await asyncio.sleep(0.1)
    return out.getvalue()


async def signed_in(http: aiohttp.ClientSession, link: str) -> str:
    """Sign in as a browser does; returns the cookie."""
    page = await (await http.get(link)).text()
    fields = dict(re.findall(r'name="(\w+)" value="([^"]*)"', page))
    headers = {"Origin": "null", "Sec-Fetch-Site": "same-origin", "Content-Type": FORM}
    path = link.partition("?")[0]
    answer = await http.post(path, data=fields, headers=headers, allow_redirects=False)
    assert answer.status == 303
    return answer.headers["Set-Cookie"].partition(";")[0]


async def test_each_role_has_a_link_and_the_clusters_go_on_until_they_are_stopped(folder):
    out = StringIO()
    served = asyncio.create_task(serving.serve_demo(folder, 0, Console(file=out, width=200)))
    links = re.findall(
        r"(\w+):\s+(http://127\.0\.0\.1:\d+/zh/sign-in/link\S+)", await told(out, served)
    )
    assert [role for role, _ in links] == [
        *("enterprise", "provider", "auditor", "authority", "authority"),
    ]
    async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as http:
        cookies = [await signed_in(http, link) for _, link in links]
        page = f"{links[0][1].partition('/zh/')[0]}/zh/enterprises/{season.MODELS}"
        seen = set()
        async with asyncio.timeout(20):
            while len(seen) < 2:
                answer = await http.get(page, headers={"Cookie": cookies[0]})
                assert answer.status == 200
                seen.add(re.search(r'class="large"[^>]*>([^<]+)<', await answer.text())[1])
        refused = await http.get(f"{page}/refused", headers={"Cookie": cookies[0]})
        assert "报送太晚" in await refused.text()
    os.kill(os.getpid(), signal.SIGINT)
    assert await asyncio.wait_for(served, 20) == 0


async def test_months_are_closed_and_confirmed_in_their_time(folder, monkeypatch):
    monkeypatch.setattr(season, "ENDS", season.BEGINS + 33 * DAY_SECONDS)
    monkeypatch.setattr(season, "CLOSING_DAYS", 2)
    for name in ("ANSWER_DAYS", "GAP_DAYS"):
        monkeypatch.setattr(serving, name, 1)
    out = StringIO()
    served = asyncio.create_task(serving.serve_demo(folder, 0, Console(file=out, width=200)))
    link = re.search(r"http://127\.0\.0\.1:\d+/zh/sign-in/link\S+", await told(out, served))[0]
    async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as http:
        headers = {"Cookie": await signed_in(http, link)}
        page = f"{link.partition('/zh/')[0]}/zh/enterprises/{season.MODELS}/months"
        text = await (await http.get(page, headers=headers)).text()
    (row,) = re.findall(r"<tr>.*2025-02.*</tr>", text)
    assert words("zh")["month_confirmed"] in row
    os.kill(os.getpid(), signal.SIGINT)
    assert await asyncio.wait_for(served, 20) == 0


def test_most_months_are_closed_within_the_season_and_the_last_of_these_may_be_confirmed():
    days = {month: format_date(instant) for instant, month in season.closings().items()}
    assert days["2025-02"] == "2025-04-10"
    assert days["2025-06"] == "2025-08-10"
    assert days["2025-07"] == "2025-09-10"  # after the season: somebody may close it by hand
    assert parse_date(days["2025-06"]) + serving.ANSWER_DAYS * DAY_SECONDS > season.ENDS


async def test_it_keeps_out_of_a_database_that_is_named(folder, monkeypatch):
    monkeypatch.setenv(DATABASE_VARIABLE, "postgresql://nowhere/kashi")
    out = StringIO()
    assert await serving.serve_demo(folder, 0, Console(file=out, width=200)) == 1
    assert DATABASE_VARIABLE in out.getvalue()


def test_a_trace_is_not_served(tmp_path):
    trace = tmp_path / "trace.csv"
    trace.write_text("")
    found = CliRunner().invoke(main, ["demo", "--serve", "--trace", str(trace)])
    assert found.exit_code == 2
    assert "takes no trace" in found.output
