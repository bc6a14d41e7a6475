"""One caller beside others that ask or post as much as they can, as ratio to the quiet case.

An official asks one question again and again, alone and then while enterprises ask the dearest that
they may. A provider posts single records one after the other, alone and then while another provider
floods the service with batches. Each round measures the quiet case and then the others.
"""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import cycle

import aiohttp

from tests.bench.load import Feeds, Supply, closed_loop, percentile
from tests.bench.report import Bar, Say, Section, Table, ms
from tests.bench.scale import Scale
from tests.bench.servers import Ledger, Server, Service
from tests.bench.workload import (
    CONTRACTS_PER_ENTERPRISE,
    PROVIDERS,
    WEIGHTS,
    contract_id,
    enterprise_of,
)

QUESTION = f"/v1/contracts/{contract_id(0)}"
# Pages as long as may be, and records of a status that none of them has.
DEAR = (
    "records?limit=1000",
    "records?limit=1000&status=released",
    "usage?limit=1000",
    "refused?limit=1000",
)
ENTERPRISES = len(WEIGHTS) // CONTRACTS_PER_ENTERPRISE
FILL_RECORDS, FILL_CLIENTS = 500, 3
FLOOD_RECORDS, FLOOD_CLIENTS = 500, 64
FLOODING, POSTING = PROVIDERS[:2]
MOST_FLOODED = 60_000  # records a second, which no flood reaches here
MOST_POSTED = 1_000
QUIET = "alone"

BAR_READS = 15.0  # times the quiet case
BAR_POSTS = 100.0


@dataclass
class Times:
    """Seconds of each answer, by what else was going on."""

    of: dict[str, list[float]] = field(default_factory=dict)

    def add(self, beside: str, times: list[float]) -> None:
        self.of.setdefault(beside, []).extend(times)

    def ratio(self, beside: str, share: float) -> float:
        return percentile(self.of[beside], share) / percentile(self.of[QUIET], share)

    def worst(self, share: float) -> float:
        return max(self.ratio(beside, share) for beside in self.of if beside != QUIET)

    def table(self, what: str) -> Table:
        head = (what, "answers", "p50 ms", "ratio", "p99 ms", "ratio")
        return Table(head, [self._row(beside, times) for beside, times in self.of.items()])

    def _row(self, beside: str, times: list[float]) -> tuple[str, ...]:
        cells = [
            text
            for share in (0.50, 0.99)
            for text in (ms(percentile(times, share)), f"{self.ratio(beside, share):.1f}")
        ]
        return beside, f"{len(times):,}", *cells


async def run(server: Server, scale: Scale, say: Say) -> Section:
    ledger, feeds = await Ledger.make(server, "beside"), Feeds()
    firms = [enterprise_of(number * CONTRACTS_PER_ENTERPRISE) for number in range(ENTERPRISES)]
    tokens = {firm: await _token(ledger, firm) for firm in firms}
    reads, posts = Times(), Times()
    async with ledger.serving() as service:
        say("a ledger to read in", 0.0)
        await _fill(service, feeds, scale.read_records)
        for number in range(scale.rounds):
            say("reads beside expensive ones", number / scale.rounds)
            await _read(service, tokens, scale, reads)
            say("posts beside a flood", (number + 0.5) / scale.rounds)
            await _post(service, feeds, scale, posts)
    return Section(
        "beside",
        [reads.table("an official's read beside"), posts.table("a single record's post beside")],
        _bars(reads, posts),
    )


async def _token(ledger: Ledger, firm: str) -> str:
    words = (f"firm-{firm}", "--role", "enterprise", "--subject", firm)
    return (await ledger.kashi("token add", *words)).strip()


async def _fill(service: Service, feeds: Feeds, records: int) -> None:
    supply = Supply(feeds, FILL_CLIENTS, FILL_RECORDS)
    supply.top_up(records)
    await closed_loop(service, supply)


# Reads


async def _read(service: Service, tokens: dict[str, str], scale: Scale, times: Times) -> None:
    one = dict([next(iter(tokens.items()))])
    times.add(QUIET, await _ask(service, scale.window_seconds))
    for connections, asking in ((8, one), (64, one), (64, tokens)):
        who = "1 token" if len(asking) == 1 else f"{len(asking)} tokens"
        async with _asked_much(service, asking, connections):
            found = await _ask(service, scale.window_seconds)
        times.add(f"{connections} connections of {who}", found)


async def _ask(service: Service, seconds: float) -> list[float]:
    """Ask from a process of its own, which the load generator does not hold up."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.bench.asking", service.url, QUESTION, str(seconds)),
        env=os.environ | {"KASHI_TOKEN": service.token},
        stdout=asyncio.subprocess.PIPE,
    )
    out, _ = await process.communicate()
    assert process.returncode == 0, "the questions failed"
    times: list[float] = json.loads(out)
    return times


@asynccontextmanager
async def _asked_much(
    service: Service, tokens: dict[str, str], connections: int
) -> AsyncIterator[None]:
    """Let enterprises ask for their dearest pages on so many connections."""
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=connections)) as http:
        each = [
            asyncio.create_task(_ask_on(http, service.url, firm, token))
            for (firm, token), _ in zip(cycle(tokens.items()), range(connections), strict=False)
        ]
        try:
            yield
        finally:
            for task in each:
                assert not task.done(), task.exception()
                task.cancel()
            await asyncio.gather(*each, return_exceptions=True)


async def _ask_on(http: aiohttp.ClientSession, url: str, firm: str, token: str) -> None:
    headers = {"Authorization": f"Bearer {token}"}
    for page in cycle(DEAR):
        async with http.get(f"{url}/v1/enterprises/{firm}/{page}", headers=headers) as answer:
            await answer.read()
            assert answer.status in (200, 503), answer.status


# Posts


async def _post(service: Service, feeds: Feeds, scale: Scale, times: Times) -> None:
    seconds = scale.window_seconds
    times.add(QUIET, await _post_singly(service, feeds, seconds))
    flood = Supply(feeds, FLOOD_CLIENTS, FLOOD_RECORDS, [FLOODING])
    flood.top_up(round(MOST_FLOODED * seconds) + 2 * FLOOD_CLIENTS * FLOOD_RECORDS)
    flooding = asyncio.create_task(closed_loop(service, flood))
    try:
        await asyncio.sleep(seconds / 4)  # until its batches wait
        found = await _post_singly(service, feeds, seconds)
        assert not flooding.done(), "the flood ended before the posts did"
    finally:
        for waiting in flood.waiting:
            waiting.clear()
        await flooding  # what is open is answered first
    times.add(f"a flood of {FLOOD_RECORDS} a batch, {FLOOD_CLIENTS} clients", found)


async def _post_singly(service: Service, feeds: Feeds, seconds: float) -> list[float]:
    supply = Supply(feeds, 1, 1, [POSTING])
    supply.top_up(round(MOST_POSTED * seconds))
    return (await closed_loop(service, supply, seconds)).latencies


def _bars(reads: Times, posts: Times) -> list[Bar]:
    asked, posted = reads.worst(0.50), posts.worst(0.99)
    return [
        Bar(
            "an official's read beside 64 connections that ask for the dearest pages, median",
            f"≤ {BAR_READS:g} × alone",
            f"{asked:.1f} ×",
            asked <= BAR_READS,
        ),
        Bar(
            "a provider's post beside another's flood, p99",
            f"≤ {BAR_POSTS:g} × alone",
            f"{posted:.1f} ×",
            posted <= BAR_POSTS,
        ),
    ]
