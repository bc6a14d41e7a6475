"""Streams of events that a test listens to, and a random past that they tell."""

import asyncio
import contextlib
import json
import random
from collections import defaultdict
from dataclasses import dataclass, field

import aiohttp
import pytest

from meter.host.data_folder import DATABASE_VARIABLE
from meter.host.tokens import Identity
from meter.service import admin as services
from tests.books import ALPHA, BETA, DEVICE, lifted, parse_instant, record, uscc_of, void
from tests.services import contract_body, coupon_body, enterprise_body, key_body, provider_body

EIGHT = parse_instant("2025-03-01T08:00:00+08:00")
YEAR = 2025


@dataclass
class Heard:
    """The blocks of a stream as they came: events, and places without one."""

    events: list[tuple[str, str, dict]] = field(default_factory=list)
    last_id: str = ""
    blocks: int = 0

    def take(self, block: str) -> None:
        self.blocks += 1
        lines = [line.partition(": ") for line in block.split("\n") if line and line[0] != ":"]
        fields = {name: value for name, _, value in lines}
        self.last_id = fields.get("id", self.last_id)
        if "data" in fields:
            self.events.append((fields["id"], fields["event"], json.loads(fields["data"])))

    @property
    def ids(self) -> list[str]:
        return [event[0] for event in self.events]

    def named(self, name: str) -> list[dict]:
        return [data for _, found, data in self.events if found == name]


@contextlib.asynccontextmanager
async def listening(service, token: str, after: str | None = None, heard: Heard | None = None):
    """Listen in the background; yields the blocks so far."""
    heard = heard if heard is not None else Heard()
    headers = {"Authorization": f"Bearer {token}"}
    if after is not None:
        headers["Last-Event-ID"] = after
    opened = asyncio.Event()

    async def listen() -> None:
        async with (
            aiohttp.ClientSession(headers=headers) as session,
            session.get(service.url + "/v1/events", timeout=None) as answer,
        ):
            assert answer.status == 200, await answer.read()
            assert answer.headers["Content-Type"] == "text/event-stream"
            rest = b""
            with contextlib.suppress(aiohttp.ClientPayloadError):
                async for piece in answer.content.iter_any():
                    *blocks, rest = (rest + piece).split(b"\n\n")
                    for block in blocks:
                        heard.take(block.decode())
                    opened.set()

    task = asyncio.create_task(listen())
    try:
        waiting = asyncio.create_task(opened.wait())
        await asyncio.wait({task, waiting}, return_when=asyncio.FIRST_COMPLETED, timeout=10)
        if task.done():
            task.result()
        yield heard
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def until(condition, seconds: float = 10) -> None:
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - what is heard is plain data
            await asyncio.sleep(0.01)


async def replay(service, token: str, after: str = "-1") -> Heard:
    """Hear all there is after an id."""
    last = str(service.intake.watermark.size - 1)
    async with listening(service, token, after) as heard:
        await until(lambda: heard.last_id == last)
    return heard


async def token(service, name: str, role: str, subject: str = "") -> str:
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv(DATABASE_VARIABLE, service.dsn)
        return await services.add_token(service.folder, Identity(name, role, subject))


async def tokens(service) -> dict[str, str]:
    """Return a token for each viewer of the history."""
    wanted = {
        "alpha": ("enterprise", ALPHA),
        "beta": ("enterprise", BETA),
        "pcl": ("provider", "pcl"),
        "other": ("provider", "other"),
        "audit": ("auditor", ""),
    }
    return {name: await token(service, name, *rest) for name, rest in wanted.items()}


async def random_past(service, steps: int = 30) -> None:
    """Two enterprises, two providers, too few cards, small coupons: everything happens."""
    chance = random.Random(11)
    await service.activate(lifted())
    for provider in ("pcl", "other"):
        number = 9 if provider == "pcl" else 8
        body = provider_body(provider, uscc=uscc_of(number), devices={DEVICE: 24})
        await service.ask("/v1/providers", **body)
        await service.ask(f"/v1/providers/{provider}/keys", **key_body(f"{provider}-1", provider))
    for uscc in (ALPHA, BETA):
        await service.ask("/v1/enterprises", **enterprise_body(uscc, name=uscc))
    for name, enterprise, provider in (
        *(("A", ALPHA, "pcl"), ("B", ALPHA, "pcl"), ("C", ALPHA, "other")),
        *(("X", BETA, "pcl"), ("Y", BETA, "other")),
    ):
        await service.ask(
            "/v1/contracts", **contract_body(name, enterprise=enterprise, provider=provider)
        )
    await more_past(service, chance, 0, steps)


async def more_past(service, chance, first: int, steps: int) -> None:
    names = defaultdict(list)
    for step in range(first, first + steps):
        service.clock.advance(chance.choice((0, 1, 60)))
        for provider, contracts in (("pcl", "ABX"), ("other", "CY")):
            made = [some_record(chance, f"r{step}-{i}", contracts) for i in range(3)]
            taken = [void(names[provider].pop())] if names[provider] and step % 3 == 0 else []
            answer = await service.usage(
                made, taken, provider=provider, keyid=f"{provider}-1", seq=step + 1
            )
            assert answer.status == 200, answer.body
            names[provider] += [each["id"] for each in made]
        if step % 4 == 1:
            await service.issue(YEAR, f"{chance.randrange(1, 90)}.00", chance.choice((ALPHA, BETA)))
        if step % 5 == 2:
            body = {"provider": "pcl", "id": names["pcl"][-2], "reason": "seen by a reviewer"}
            await service.post("/v1/records/release", body)
        if step % 7 == 3:
            body = {"provider": "other", "id": names["other"].pop(0), "reason": "not so"}
            await service.post("/v1/records/void", body)
        if step % 6 == 5:
            await service.post("/v1/coupons/withdraw", coupon_body(YEAR, "1.00", ALPHA))
    await service.post("/v1/contracts/X/freeze")
    await service.post("/v1/contracts/X/unfreeze")
    await service.ask("/v1/providers/pcl/keys", **key_body(f"spare-{first}"))


def some_record(chance, name: str, contracts: str) -> dict:
    start = EIGHT + chance.randrange(8) * 900
    milli_devices = chance.randrange(1, 20_000)
    return record(name, chance.choice(contracts), start, EIGHT + 9000, milli_devices)


async def heard_all(service, heard: Heard) -> None:
    """Wait until the stream has the last entry, or its place behind it."""
    await until(lambda: heard.last_id == str(service.intake.watermark.size - 1))
