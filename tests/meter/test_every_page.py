"""Every page that links lead to, of a full ledger: small, closed, and with names that stay text.

Each role's pages are walked from the one that it begins with.
"""

import asyncio
import gzip
import html
import re
from urllib.parse import unquote

import pytest

from meter.values.units import day_of, day_start, format_instant, parse_date
from tests.books import ALPHA, DEVICE, record, uscc_of
from tests.browser.firm import hours
from tests.meter.test_console_pages import EVIL, Elements
from tests.people import sign_in
from tests.services import (
    Clock,
    contract_body,
    enterprise_body,
    key_body,
    provider_body,
    serving,
)

DAYS = 366
CONTRACTS = 60
OF_A_KIND = 2  # pages whose paths differ by a number, a word of the ledger or a value
MAX_PLAIN = 120_000
MAX_PACKED = 25_000
FIRST = "2024-12-20"


async def fill(service, clock):
    """A firm of sixty contracts with a year of use, and every list longer than a page."""
    await service.activate()
    devices = {DEVICE: 100_000}
    await service.ask("/v1/providers", **provider_body(devices=devices, name=EVIL))
    await service.ask("/v1/providers/pcl/keys", **key_body("pcl-1"))
    await service.ask("/v1/enterprises", **enterprise_body(name=EVIL))
    for number in range(CONTRACTS):
        terms = {
            "contract_no": f"{EVIL}{number}",
            "max_devices": {DEVICE: 64},
            "starts": "2024-12-20",
        }
        await service.ask("/v1/contracts", **contract_body(f"TC-{number:04}", **terms))
    await service.issue(2025, "400000.00")
    for number in range(30):
        uscc = uscc_of(100 + number)
        await service.ask("/v1/enterprises", **enterprise_body(uscc, name=f"{EVIL}{number}"))
        await service.ask("/v1/contracts", **contract_body(f"O-{number}", enterprise=uscc))
        await service.issue(2025, "1000.00", uscc)
    first = day_of(parse_date(FIRST))
    for place in range(0, DAYS, 3):
        day = format_instant(day_start(first + place))
        clock.set(format_instant(day_start(first + place + 1) + 3600))
        records = [
            record(f"<b>{place}:{number}", f"TC-{number:04}", *hours(day, 8, 9), 8_000)
            for number in (0, 1, 2, place % CONTRACTS)
        ]
        records.append(record(f"<i>{place}", "TC-0001", *hours(day, 10, 11), 65_000))
        records.append(record(f"<u>{place}", "none", *hours(day, 10, 11), 1_000))
        await service.usage(records, seq=2 * place + 1)


def kind_of(link):
    """Return a link without the numbers, the words of the ledger and the values that it holds."""
    return re.sub(r"=[^&]*|[0-9A-Z]{18}|TC-[0-9]+|[0-9a-f]{64}|[0-9]+", "*", unquote(link))


async def walk(service, visitor, start, kind_of=kind_of, of_a_kind=OF_A_KIND):
    """Yield each page that links lead to from one, with its bytes; a few of a kind."""
    waiting, seen, kinds = [start], {start}, {kind_of(start): 1}
    while waiting:
        path = waiting.pop(0)
        answer = await service.get(path, **visitor.headers)
        await asyncio.sleep(0)
        if answer.headers["Content-Type"].startswith("text/html"):
            yield path, answer
        else:
            continue
        for tag, each in Elements(answer.body.decode()).found:
            link = (each.get("href") or "").partition("#")[0] if tag == "a" else ""
            if not re.match(r"/(zh|en)/", link) or link in seen or ".csv" in link:
                continue
            seen.add(link)
            kind = kind_of(link)
            kinds[kind] = kinds.get(kind, 0) + 1
            if kinds[kind] <= of_a_kind:
                waiting.append(link)


@pytest.mark.long
async def test_every_page_of_a_full_ledger_is_small_closed_and_of_text(database, tmp_path):
    clock = Clock(f"{FIRST}T00:00:00+08:00")
    async with serving(database, tmp_path, clock=clock) as service:
        await fill(service, clock)
        await service.published()
        for role, subject, start in (
            ("enterprise", ALPHA, f"/zh/enterprises/{ALPHA}?year=2025"),
            ("provider", "pcl", "/en/providers/pcl"),
            ("auditor", "", "/zh/log"),
            ("authority", "", "/en/authority"),
        ):
            visitor = await sign_in(service, role, subject, EVIL)
            count = 0
            async for path, answer in walk(service, visitor, start):
                assert answer.status == 200, (role, path, answer.status)
                check(path, answer)
                count += 1
            assert count > 10, (role, count)


def check(path, answer):
    """Check the size of a page, and that nothing gets into it or runs in it."""
    assert len(answer.body) <= MAX_PLAIN, (path, len(answer.body))
    assert len(gzip.compress(answer.body)) <= MAX_PACKED, path
    text = answer.body.decode()
    for evil in (EVIL, "<b>", "<i>", "<u>"):
        assert evil not in text, path
    assert html.escape(EVIL, quote=False).replace('"', "&#34;") in text  # the person's own name
    for tag, attributes in Elements(text).found:
        assert tag not in ("style", "iframe", "object", "base"), path
        assert tag != "script" or attributes["src"].startswith("/assets/"), path
        assert not any(name == "style" or name.startswith("on") for name in attributes), path
        for name in ("href", "src", "action"):
            assert re.match(r"/(?!/)|#|$", attributes.get(name) or ""), (path, attributes)
