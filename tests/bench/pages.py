"""An enterprise's page against its balance, and posting while such pages are open.

The ledger has ten contracts at each of fifty enterprises, and usage of each day of most of a year.
The first page and the balance that stands on it are asked for in turn, on a connection each; then
the page just after a batch of such usage, which makes it anew. Then batches of 500 records are
posted, alone and while a hundred people have their page open.
"""

import asyncio
import json
import os
import random
import sys
import time
from collections import deque
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection
from itertools import islice
from statistics import median
from typing import Any

from meter.values.units import DAY_SECONDS, MICROSECONDS, format_instant, parse_instant
from tests.bench import living
from tests.bench.load import Window, closed_loop, percentile
from tests.bench.report import Bar, Say, Section, Table, ms, spread
from tests.bench.scale import Scale
from tests.bench.servers import Ledger, Server, Service
from tests.bench.workload import (
    HOUR_SECONDS,
    PRICES,
    PROVIDERS,
    YEAR,
    Envelope,
    Stream,
    contract_id,
    coupon,
    rules_and_providers,
)
from tests.books import PROGRAMME, uscc_of

CONTRACTS_OF_ONE = 10
BEGINS = parse_instant("2025-02-01T00:00:00+08:00")
DAYS = 320
STRETCH_DAYS = 20  # less than what is too late
BATCH_RECORDS = 500
CLIENTS = 6  # a multiple of the providers
PAIRS = 3  # of windows, at most
SLOT_SECONDS = 600  # of a record that is posted in a window
MAX_RATE = 20_000  # records a second, for which is signed

BAR_RATIO = 6.0
BAR_SECONDS = 0.050
BAR_RATE = 0.95


class Supply:
    """Batches of consecutive days for some clients, each with a stream of its own."""

    def __init__(self, contracts: int, records_a_day: int, name: str = "reporter") -> None:
        self.waiting: list[deque[Envelope]] = [deque() for _ in range(CLIENTS)]
        self._streams = [
            Stream(PROVIDERS[number % len(PROVIDERS)], f"{name}-{number}")
            for number in range(CLIENTS)
        ]
        self._contracts = contracts
        self._a_day = records_a_day
        self._chance = random.Random(1)

    def sign(self, days: range) -> None:
        """Sign the usage of some days."""
        for place, (stream, waiting) in enumerate(zip(self._streams, self.waiting, strict=True)):
            mine = range(place, self._contracts, CLIENTS)  # at the stream's provider
            texts = [text for day in days for text in self._records(mine, day)]
            for first in range(0, len(texts), BATCH_RECORDS):
                waiting.append(stream.seal_texts(texts[first : first + BATCH_RECORDS]))

    def _records(self, contracts: Sequence[int], day: int) -> Iterator[str]:
        for number in contracts:
            for hour in range(self._a_day):
                start = BEGINS + day * DAY_SECONDS + hour * HOUR_SECONDS
                yield _record(self._chance, number, start, HOUR_SECONDS)

    async def post(self, service: Service) -> Window:
        """Post all that is signed."""
        window = Window()
        while any(self.waiting):
            mine = [waiting for waiting in self.waiting if waiting]
            window = await closed_loop(service, _Waiting(mine))
        return window


class LiveSupply:
    """Batches of short records of some days for the same clients, each about all its contracts."""

    def __init__(self, contracts: int, days: range) -> None:
        self.waiting: list[deque[Envelope]] = [deque() for _ in range(CLIENTS)]
        self._chance = random.Random(2)
        self._feeds = [
            (
                Stream(PROVIDERS[place % len(PROVIDERS)], f"live-{place}"),
                self._records(range(place, contracts, CLIENTS), days),
            )
            for place in range(CLIENTS)
        ]

    def top_up(self, records: int) -> None:
        """Sign until so many records wait, the same number of batches for each client."""
        batches = -(-records // (BATCH_RECORDS * CLIENTS))
        for waiting, (stream, texts) in zip(self.waiting, self._feeds, strict=True):
            while len(waiting) < batches:
                waiting.append(stream.seal_texts(list(islice(texts, BATCH_RECORDS))))

    def _records(self, contracts: range, days: range) -> Iterator[str]:
        for day in days:
            for second in range(0, DAY_SECONDS, SLOT_SECONDS):
                for number in contracts:
                    start = BEGINS + day * DAY_SECONDS + second
                    yield _record(self._chance, number, start, SLOT_SECONDS)


def _record(chance: random.Random, contract: int, start: int, seconds: int) -> str:
    return json.dumps(
        {
            "id": f"slurm:{contract}:{start}",
            "contract": contract_id(contract),
            "device": chance.choice(list(PRICES)),
            "milli_devices": chance.choice((1, 2, 4, 8)) * 1_000,
            "start": format_instant(start),
            "end": format_instant(start + seconds),
        }
    )


@dataclass
class _Waiting:
    waiting: list[deque[Envelope]]


@dataclass
class Findings:
    """Times in seconds, rates in records a second."""

    page: list[float] = field(default_factory=list)
    made: list[float] = field(default_factory=list)  # the page, after a batch
    balance: list[float] = field(default_factory=list)
    alone: list[float] = field(default_factory=list)
    beside: list[float] = field(default_factory=list)
    fetched: list[float] = field(default_factory=list)  # pages a second, beside


def commands(firms: int) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the authority's commands that open the books of some enterprises: URL and body."""
    yield from rules_and_providers()
    for number in range(firms):
        yield "/v1/enterprises", _enterprise(number)
    for number in range(firms * CONTRACTS_OF_ONE):
        yield "/v1/contracts", _contract(number)
    for number in range(firms):  # whose contracts reach the threshold by now
        yield "/v1/coupons", coupon(firm(number), "10000000.00")


def firm(number: int) -> str:
    return uscc_of(100 + number)


def _enterprise(number: int) -> dict[str, Any]:
    return {
        "uscc": firm(number),
        "name": f"深圳第{number + 1}智能科技有限公司",
        "kind": "enterprise",
        "founded_on": "2017-04-01",
    }


def _contract(number: int) -> dict[str, Any]:
    return {
        "id": contract_id(number),
        "contract_no": f"HT-{number}",
        "programme": PROGRAMME,
        "enterprise": firm(number // CONTRACTS_OF_ONE),
        "provider": PROVIDERS[number % len(PROVIDERS)],
        "amount": "3000000.00",
        "signed_on": "2025-01-15",
        "from": "2025-02-01",
        "until": "2026-02-01",
        "use": "training",
        "prices": PRICES,
        "related_party": False,
    }


async def run(server: Server, scale: Scale, say: Say) -> Section:
    contracts = scale.paged_firms * CONTRACTS_OF_ONE
    days = min(DAYS, max(2 * STRETCH_DAYS, scale.paged_entries // contracts))
    supply = Supply(contracts, max(1, round(scale.paged_entries / contracts / days)))
    ledger = await Ledger.make(server, "pages", commands(scale.paged_firms), _after(STRETCH_DAYS))
    found = Findings()
    for first in range(0, days - STRETCH_DAYS, STRETCH_DAYS):
        say(f"day {first} of {days}", 0.6 * first / days)
        await _post(ledger, supply, range(first, first + STRETCH_DAYS))
    ledger.now = _after(days)
    live = LiveSupply(contracts, range(days - STRETCH_DAYS, days))
    rounds = 2 * min(scale.rounds, PAIRS)
    async with ledger.serving() as service:
        say("the page and the balance", 0.6)
        await _ask(ledger, service, live, found, scale)
        for number in range(rounds):
            say("posts beside open pages", 0.7 + 0.3 * number / rounds)
            live.top_up(max(BATCH_RECORDS * CLIENTS, round(MAX_RATE * scale.paged_seconds)))
            lookers = scale.lookers if number % 2 else 0
            firms = [firm(each % scale.paged_firms) for each in range(lookers)]
            await _measure_posts(ledger, service, live, found, firms, scale.paged_seconds)
    return Section("pages", _tables(found, scale), _bars(found, scale))


def _instant(ledger: Ledger) -> int:
    """Return when the ledger's clock begins, in microseconds."""
    return parse_instant(ledger.now) * MICROSECONDS


def _after(days: int) -> str:
    return format_instant(BEGINS + days * DAY_SECONDS)


async def _post(ledger: Ledger, supply: Supply, days: range) -> None:
    """Post the usage of some days, on the last of them."""
    supply.sign(days)
    ledger.now = _after(days.stop)
    async with ledger.serving() as service:
        await supply.post(service)


async def _ask(
    ledger: Ledger, service: Service, live: LiveSupply, found: Findings, scale: Scale
) -> None:
    """Ask for page and balance in turn, and for the page after batches."""
    os.environ |= {"KASHI_DATABASE_URL": ledger.dsn}
    (looker,) = await living.sign_in(ledger.data, service.url, _instant(ledger), [firm(0)])
    cookies = looker.http.cookie_jar.filter_cookies(service.url)
    cookie = "; ".join(f"{name}={each.value}" for name, each in cookies.items())
    await looker.http.close()
    balance = f"/v1/enterprises/{firm(0)}/balance?programme={PROGRAMME}&year={YEAR}"
    page = (looker.page, {"Cookie": cookie})
    questions = (page, (balance, service.authorization))
    found.page, found.balance = await asyncio.to_thread(
        _alternate, service, questions, scale.questions
    )
    for _ in range(max(1, scale.questions // 10)):
        live.top_up(BATCH_RECORDS * CLIENTS)
        await closed_loop(service, _Waiting([deque([live.waiting[0].popleft()])]))
        found.made += (await asyncio.to_thread(_alternate, service, (page,), 1, 0))[0]


def _alternate(
    service: Service, questions: tuple[tuple[str, dict[str, str]], ...], count: int, before: int = 2
) -> list[list[float]]:
    """Return the seconds to the first byte of each question's answers."""
    times: list[list[float]] = [[] for _ in questions]
    connections = [HTTPConnection(service.host, service.port) for _ in questions]
    for number in range(-before, count):  # before the clock starts too
        for (path, headers), connection, own in zip(questions, connections, times, strict=True):
            began = time.perf_counter()
            connection.request("GET", path, headers=headers)
            answer = connection.getresponse()
            seconds = time.perf_counter() - began
            assert answer.status == 200, answer.read()
            answer.read()
            if number >= 0:
                own.append(seconds)
    return times


async def _measure_posts(  # noqa: PLR0913, PLR0917 - one argument for each part
    ledger: Ledger,
    service: Service,
    live: LiveSupply,
    found: Findings,
    firms: list[str],
    seconds: float,
) -> None:
    if not firms:
        found.alone.append((await closed_loop(service, live, seconds)).rate)
        return
    async with _lookers(ledger, service, firms) as fetched:
        window = await closed_loop(service, live, seconds)
    found.beside.append(window.rate)
    found.fetched.append(fetched[0] / window.seconds)


@asynccontextmanager
async def _lookers(ledger: Ledger, service: Service, firms: list[str]) -> AsyncIterator[list[int]]:
    """Let people have their pages open; the list has how many were fetched, at the end."""
    fetched: list[int] = []
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.bench.living"),
        *(ledger.data.path, service.url, str(_instant(ledger)), *firms),
        env=ledger.environment,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    line = await process.stdout.readline()
    assert line == b"open\n", "the pages were not opened"
    yield fetched
    out, _ = await process.communicate(b"")  # ends its standard input
    assert process.returncode == 0, "a page was lost"
    fetched.append(int(out))


# As text


def _tables(found: Findings, scale: Scale) -> list[Table]:
    asked = [
        (name, f"{len(times):,}", ms(percentile(times, 0.5)), ms(percentile(times, 0.99)))
        for name, times in (
            ("the page", found.page),
            ("the page after a batch", found.made),
            ("its balance", found.balance),
        )
    ]
    posted = [
        ("alone", spread(found.alone), ""),
        (
            f"beside {scale.lookers} open pages",
            spread(found.beside),
            f"{median(found.fetched):.1f}",
        ),
    ]
    return [
        Table(("first byte of", "answers", "p50 ms", "p99 ms"), asked),
        Table((f"{BATCH_RECORDS} a batch, {CLIENTS} clients", "records/s", "pages/s"), posted),
    ]


def _bars(found: Findings, scale: Scale) -> list[Bar]:
    balance = median(found.balance)
    rate = median(found.beside) / median(found.alone)
    return [
        *_page_bars("an enterprise's page, first byte", median(found.page), balance),
        *_page_bars("the same just after a batch", median(found.made), balance),
        Bar(
            f"rate of posts beside {scale.lookers} open pages",
            f"≥ {BAR_RATE} × that without",
            f"{rate:.2f} ×",
            rate >= BAR_RATE,
        ),
    ]


def _page_bars(what: str, page: float, balance: float) -> list[Bar]:
    ratio = f"{page / balance:.1f} ×"
    within = f"≤ {BAR_RATIO:.0f} × that of its balance"
    return [
        Bar(what, within, ratio, page <= BAR_RATIO * balance),
        Bar(what, f"≤ {ms(BAR_SECONDS)} ms", f"{ms(page)} ms", page <= BAR_SECONDS),
    ]
