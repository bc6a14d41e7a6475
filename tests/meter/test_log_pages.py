"""The pages of the log over HTTP: the checkpoint, the search, and entries in words."""

import asyncio
import json
import re
import shlex

import pytest

from ledger.note import Verifier, claimed_checkpoint
from meter.auditor import entry_check
from meter.auditor.receipt_check import policy_of
from meter.console import log_view
from meter.console.entry_words import ACCOUNTS, KINDS
from meter.console.formats import LANGUAGES, money, short_date
from meter.console.words import words
from meter.rules.entries import FLOORED_CLASSES
from meter.rules.kinds.table import BY_NAME
from meter.values.units import format_money
from tests.books import ALPHA, BETA, record
from tests.commands import good, kashi
from tests.meter.test_console_pages import EVIL, Elements
from tests.people import sign_in
from tests.services import HOUR, enterprise_body, serving


@pytest.fixture
async def service(database, tmp_path):
    async with serving(database, tmp_path) as service:
        await service.open_books()
        await service.ask("/v1/enterprises", **enterprise_body(BETA, name=EVIL))
        await service.ask("/v1/contracts/A/freeze", reason=EVIL)
        await service.ask("/v1/contracts/A/unfreeze", reason="over")
        await service.usage([record("r/1&2", "A", *HOUR, 64_000)])
        await service.published()
        yield service


async def shown(service, visitor, path):
    answer = await service.get(path, **visitor.headers)
    assert answer.status == 200, answer.body
    return Elements(answer.body.decode())


async def test_the_command_below_the_log_downloads_and_verifies_it(service, tmp_path, monkeypatch):
    found = await shown(service, await sign_in(service, "auditor"), "/en/log")
    command = next(text for text in found.text if text.startswith("kashi verify"))
    token = service.http.headers["Authorization"].removeprefix("Bearer ")
    _, *typed = shlex.split(command.replace("…", token))
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    assert "good: root" in good(await asyncio.to_thread(kashi, *typed))
    assert (tmp_path / "here/log/checkpoint").exists()


def test_every_kind_of_entry_and_account_has_a_name():
    assert set(KINDS) == set(BY_NAME)
    assert set(ACCOUNTS) == {*FLOORED_CLASSES, "treasury", "enterprise", "claims"}
    for text in (*KINDS.values(), *ACCOUNTS.values()):
        assert text.zh.strip()
        assert text.en.strip()
        assert sorted(re.findall(r"\{\d\}", text.zh)) == sorted(re.findall(r"\{\d\}", text.en)) or (
            text is ACCOUNTS["enterprise"]
        )


@pytest.mark.parametrize("language", LANGUAGES)
async def test_an_entry_is_told_in_words_with_the_money_that_it_moved(service, language):
    auditor = await sign_in(service, "auditor")
    entries = await service.entries()
    assert {entry.kind for entry in entries} >= {"usage", "issue", "batch", "freeze"}
    for number, entry in enumerate(entries):
        found = await shown(service, auditor, f"/{language}/entries/{number}")
        title = getattr(KINDS[entry.kind], language)
        assert f"{words(language)['entry']} {number} · {title}" in found.text
        cells = [text for text in found.text if text.startswith("¥")]
        assert cells == [money(format_money(fen)) for *_, fen in entry.postings]
        for account in {each for posting in entry.postings for each in posting[:2]}:
            assert log_view.account_name(account, language) in found.text
        view = (await service.get(f"/v1/entries/{number}")).json
        assert view["leaf_hash"] in found.text
        assert entry.by in found.text
    (freeze,) = [number for number, entry in enumerate(entries) if entry.kind == "freeze"]
    answer = await service.get(f"/{language}/entries/{freeze}", **auditor.headers)
    assert EVIL in Elements(answer.body.decode()).text
    assert EVIL.encode() not in answer.body


async def test_an_entry_file_is_good_without_the_service(service):
    firm = await sign_in(service, "enterprise", ALPHA)
    number = len(await service.entries()) - 1
    answer = await service.get(f"/en/entries/{number}/file", **firm.headers)
    assert answer.headers["Content-Disposition"] == f'attachment; filename="{number}.tlog-proof"'
    verifier = Verifier.parse(service.folder.log_vkey.read_text().strip())
    proved = entry_check.check(answer.body, None, [policy_of([verifier])])
    assert (proved.index, json.loads(proved.entry)["kind"]) == (number, "usage")
    data = await service.get(f"/en/entries/{number}/bytes", **firm.headers)
    assert data.body == proved.entry
    assert (await service.get(f"/en/entries/{number}/bytes", Sec_Fetch_Mode="cors")).status == 401


async def test_an_enterprise_reads_entries_about_itself_alone(service):
    firm = await sign_in(service, "enterprise", BETA)
    kinds = [entry.kind for entry in await service.entries()]
    for number, kind in enumerate(kinds):
        for rest in ("", "/bytes", "/file"):
            answer = await service.get(f"/zh/entries/{number}{rest}", **firm.headers)
            own = kind == "enterprise" and number == kinds.index("enterprise") + 1
            own = number == len(kinds) - 1 - kinds[::-1].index("enterprise")
            assert answer.status == (200 if own else 404), (number, kind, rest)


async def test_the_log_shows_the_checkpoint_as_it_claims(service):
    auditor = await sign_in(service, "auditor")
    await service.published()
    found = await shown(service, auditor, "/en/log")
    checkpoint = (await service.get("/log/checkpoint")).body
    claimed = claimed_checkpoint(checkpoint)
    root = checkpoint.decode().splitlines()[2]
    assert {claimed.origin, str(claimed.size), root, words("en")["no_cosigners"]} <= set(found.text)
    assert words("en")["log_unverified"] in found.text
    growth = (await service.get("/v1/growth")).json["days"]
    assert {short_date(day["date"], "en") for day in growth} <= set(found.text)
    numbers = [
        int(attributes["href"].rpartition("/")[2])
        for tag, attributes in found.found
        if tag == "a" and re.fullmatch(r"/en/entries/\d+", attributes.get("href") or "")
    ]
    assert numbers == sorted(numbers, reverse=True)
    assert numbers[0] == claimed.size - 1
    start = await service.http.get(service.url, headers=auditor.headers, allow_redirects=False)
    assert start.headers["Location"].endswith("/log")
    service.clock.advance(7_300)
    assert "2 h ago" in (await shown(service, auditor, "/en/log")).text


def test_cosigners_are_told_with_the_time_that_they_state():
    note = (
        "example.com/log\n3\nOF2jDzkXKCyJOd/4UZV+UZqxhGsTUaFMCts7EWMnQqo=\n\n"
        "— example.com/log 1FXFIdzWOMUF5pSezGt/DmachpVXciLFKKnZ+sgRl97K9vchkGNZ+yCxWnHYduoRdIk6"
        "cnzBL/mXmCHblaLJwlXARAI=\n"
        "— example.com/w1 S6+3EAAAAABpVbkA9ttiY9BmmzcHmrzGLP/Qy+x9ZqN0l38T+ccP7vUpBk4OUA5pkYJHWBc"
        "Nu2llOlsbW7ap/Rgu6ZH2HdO0M4WuCg==\n"
    )
    (found,) = log_view.published(note.encode(), "en").cosigners
    assert found == log_view.Cosigner("example.com/w1", "1 January 2026 08:00:00 (Beijing time)")


async def test_a_search_leads_to_the_entries_of_what_it_finds(service):
    auditor = await sign_in(service, "auditor")
    digest = next(each.payload for each in await service.entries() if each.kind == "batch")
    size = len(await service.entries())
    for asked, kinds in {
        ALPHA: {"enterprise", "contract", "issue", "usage", "freeze", "unfreeze"},
        "A": {"contract", "usage", "freeze", "unfreeze"},
        "r/1&2": {"usage"},
        digest: {"batch", "usage"},
        "authority": None,
        "pcl": None,
    }.items():
        found = await shown(service, auditor, f"/en/log?q={asked.replace('&', '%26')}")
        links = [each["href"] for tag, each in found.found if tag == "a" and each.get("href")]
        (link,) = {each for each in links if each.endswith("#entries") and asked_in(asked, each)}
        listed = await shown(service, auditor, link.partition("#")[0])
        numbers = [
            int(each["href"].rpartition("/")[2])
            for tag, each in listed.found
            if tag == "a" and re.fullmatch(r"/en/entries/\d+", each.get("href") or "")
        ]
        entries = await service.entries()
        assert numbers == sorted(numbers) != []
        assert kinds is None or {entries[number].kind for number in numbers} == kinds
    found = await shown(service, auditor, f"/en/log?q={size - 1}")
    assert any(each.get("href") == f"/en/entries/{size - 1}" for _, each in found.found)
    assert words("en")["search_nothing"] in (await shown(service, auditor, "/en/log?q=nope")).text


def asked_in(asked, link):
    quoted = asked.replace("/", "%2F").replace("&", "%26")
    return re.search(rf"[=]({re.escape(asked)}|{re.escape(quoted)}|r/1%262)(#|&)", link)


async def test_the_newest_entries_go_on_to_the_first_one(service):
    auditor = await sign_in(service, "auditor")
    for seq in range(2, 50):
        await service.usage([], seq=seq)
    size = len(await service.entries())
    numbers, path = [], "/en/log"
    while path:
        found = await shown(service, auditor, path)
        links = [each.get("href") or "" for tag, each in found.found if tag == "a"]
        numbers += [int(x[12:]) for x in links if re.fullmatch(r"/en/entries/\d+", x)]
        older = (x for x in links if re.match(r"/en/log\?before=", x))
        path = next(older, "").partition("#")[0]
    assert numbers == [*range(size)][::-1]
    for wrong in ("0", "-1", "x"):
        answer = await service.get(f"/en/log?before={wrong}", **auditor.headers)
        assert answer.status == 400, wrong


async def test_entries_that_are_found_come_in_pages_that_keep_the_filter(service):
    auditor = await sign_in(service, "auditor")
    for seq in range(2, 30):
        await service.usage([], seq=seq)
    numbers, path = [], "/en/log?kind=batch"
    while path:
        found = await shown(service, auditor, path)
        links = [each.get("href") or "" for tag, each in found.found if tag == "a"]
        numbers += [int(x[12:]) for x in links if re.fullmatch(r"/en/entries/\d+", x)]
        path = next((x for x in links if re.match(r"/en/log.*after=", x)), "").partition("#")[0]
    kinds = [entry.kind for entry in await service.entries()]
    assert numbers == [number for number, kind in enumerate(kinds) if kind == "batch"]
    for wrong in ("kind=nope", "after=x", "q=" + "x" * 201):
        answer = await service.get(f"/en/log?{wrong}", **auditor.headers)
        assert answer.status == 400, wrong
