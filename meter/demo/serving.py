"""`kashi demo --serve`: seven months of three enterprises and two providers, for a browser.

    a new ledger -> rules, contracts, coupons -> seven months of signed usage, some of them closed
      -> a link for each role -> a report every two seconds, until Ctrl-C

The service is a real one on a PostgreSQL of its own, and listens on this machine's loopback only.
Its clock is moved through the seven months, and runs on by itself from there.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from itertools import count, cycle
from pathlib import Path
from typing import Any, Final

from rich.console import Console

from ledger import canon
from ledger.errors import LedgerError
from meter.agent.simulate import Cluster, simulated_key
from meter.client import ClientError, Service, Stream, registration
from meter.demo import season
from meter.demo.cast import PROGRAMME
from meter.demo.clock import MovedClock
from meter.demo.telling import Story
from meter.host.clock import clock_by_hand
from meter.host.data_folder import DATABASE_VARIABLE, DataFolder, database_url
from meter.host.postgres import PostgresError
from meter.host.tokens import Identity
from meter.service import running as service_running
from meter.service import setup, sign_ins
from meter.service.admin import add_token
from meter.service.setup import SetupError
from meter.values.problems import Problem
from meter.values.roles import Role
from meter.values.strict import Instant
from meter.values.units import DAY_SECONDS, MICROSECONDS
from meter.wire.batch import Record

ORIGIN: Final = "kashi.example/season"
AUTHORITY: Final = setup.Authority(("wang", "li"))
REPORT_SECONDS: Final = 12 * 3_600
LIVE_SECONDS: Final = 2
LATE_DAYS: Final = 60
GAP_DAYS: Final = 5  # before the end: a report that was lost
ANSWER_DAYS: Final = 25  # after the closing of a month: then a firm confirms it
LINK_SECONDS: Final = 24 * 3_600
# Whose page each link opens, as (id, role, subject, name); the authority's are two.
PERSONS: Final[tuple[tuple[str, Role, str, str], ...]] = (
    ("zhao", "enterprise", season.MODELS, "赵敏"),
    ("qian", "provider", "pcl", "钱伟"),
    ("sun", "auditor", "", "孙丽"),
    ("wang-web", "authority", "", "王强"),
    ("li-web", "authority", "", "李静"),
)
FIRM: Final = Identity("models-books", "enterprise", season.MODELS)
_FAULTS: Final = (ClientError, LedgerError, PostgresError, Problem, SetupError, OSError)


async def serve_demo(folder: Path, port: int, console: Console) -> int:
    """Serve from an empty folder until it is interrupted; return the exit code."""
    story = Story(console)
    try:
        await _serve(DataFolder(folder), port, story)
    except _FAULTS as fault:
        story.bad(f"The demonstration failed: {fault}")
        return 1
    return 0


async def _serve(folder: DataFolder, port: int, story: Story) -> None:
    if database_url() is not None:
        raise SetupError(
            "not_yours", f"{DATABASE_VARIABLE} is set; this keeps out of your database"
        )
    clock = MovedClock(season.BEGINS)
    setup.check_test_clock(ORIGIN)
    await setup.initialise(folder, ORIGIN, AUTHORITY, clock_by_hand(clock))
    endpoint = service_running.Endpoint(port=port)
    async with (
        service_running.running(folder, endpoint, clock_by_hand(clock)) as running,
        Service(running.url, _token(folder, "wang")) as wang,
        Service(running.url, _token(folder, "li")) as li,
        Service(running.url, await add_token(folder, FIRM)) as firm,
    ):
        stage = await Stage.of(clock, wang, li, firm)
        await stage.register()
        with story.bar("seven months of reports") as advance:
            reports = list(range(season.BEGINS, season.ENDS, REPORT_SECONDS))[1:]
            for done, moment in enumerate(reports, 1):
                await stage.report(moment)
                await stage.settle(moment)
                advance(done, len(reports))
        await stage.report_late()
        for id_, role, subject, name in PERSONS:
            await sign_ins.add_person(folder, Identity(id_, role, subject), name)
            link = await sign_ins.make_link(folder, id_, clock(), LINK_SECONDS)
            story.say(f"{name}, {role}:")
            story.say(f"{running.url}{link}")
        story.good("each link signs in once; a report follows every two seconds, until Ctrl-C")
        going_on = asyncio.create_task(stage.go_on())
        try:
            await service_running.until_interrupted(running.clock, running.ended)
        finally:
            going_on.cancel()


def _token(folder: DataFolder, person: str) -> str:
    return folder.token_of(person).read_text(encoding="utf-8").strip()


@dataclass(slots=True)
class Stage:
    """The authority's two persons, an enterprise, and the clusters of the providers."""

    clock: MovedClock
    first: Service
    second: Service
    firm: Service
    receipt_key: str
    clusters: list[Cluster]
    requests: "count[int]"

    @classmethod
    async def of(cls, clock: MovedClock, first: Service, second: Service, firm: Service) -> "Stage":
        """Return the stage, with what entry 0 says to providers that join."""
        genesis = (await first.ask("/v1/entries/0"))["entry"]
        digest = sha256(canon.encode(genesis)).hexdigest()
        clusters = [
            Cluster(
                seed=seed,
                stream=Stream(
                    ORIGIN, digest, each.id, each.stream, each.keyid, simulated_key(seed)
                ),
                nodes=each.nodes,
                rentals=[lease.rental for lease in season.LEASES if lease.provider == each.id],
                clock=season.BEGINS,
            )
            for seed, each in enumerate(season.PROVIDERS, 1)
        ]
        key = genesis["receipt_key"]["public_key"]
        return cls(clock, first, second, firm, key, clusters, count(1))

    async def register(self) -> None:
        """Set the rules, and register who takes part."""
        await self._decide("policy", {"programme": PROGRAMME, "version": "2024-12"})
        for each, cluster in zip(season.PROVIDERS, self.clusters, strict=True):
            await self._decide("provider", each.body)
            signing = registration(cluster.stream.key, ORIGIN, each.id, each.keyid)
            await self._decide("key", {"provider": each.id, **signing})
        for body in season.ENTERPRISES:
            await self._decide("enterprise", body)
        for lease in season.LEASES:
            await self._decide("contract", lease.body)
        for body in season.COUPONS:
            await self._decide("issue", body)
        for id_, role, _, _ in PERSONS:
            if role == "authority":
                await self._decide("token", {"id": id_, "holder": id_.partition("-")[0]})

    async def _decide(self, command: str, body: Mapping[str, Any]) -> None:
        """Let one person propose a command, and the other confirm it."""
        proposal = {"command": command, "body": body}
        made = await self.first.command("/v1/proposals", proposal, f"demo-{next(self.requests)}")
        path = f"/v1/proposals/{made['entry']}/confirm"
        await self.second.command(path, {}, f"demo-{next(self.requests)}")

    async def report(self, moment: int) -> None:
        """Let both clusters work until a moment, and report; a few reports are lost."""
        self.clock.move_to(moment)
        for cluster in self.clusters:
            cluster.run_until(moment)
            if cluster.failed and moment % (30 * DAY_SECONDS) < REPORT_SECONDS:
                await self._post(
                    cluster, cluster.apply_void(cluster.failed[-1:], "节点故障，不收费")
                )
            if moment // DAY_SECONDS == season.ENDS // DAY_SECONDS - GAP_DAYS:
                cluster.stream.last_seq += 1
            await self._post(cluster, cluster.report())

    async def settle(self, moment: int) -> None:
        """Close the month whose time it is, and let an enterprise confirm one closed before."""
        closings = season.closings()
        if moment in closings:
            await self._decide("month_closing", {"month": closings[moment]})
        before = moment - ANSWER_DAYS * DAY_SECONDS
        if before in closings:
            path = f"/v1/months/{closings[before]}/confirm"
            request = f"demo-{next(self.requests)}"
            await self.firm.command(path, {"enterprise": season.MODELS}, request)

    async def report_late(self) -> None:
        """Report something that is too old to be taken."""
        cluster, lease = self.clusters[0], season.LEASES[0]
        end = season.ENDS - LATE_DAYS * DAY_SECONDS
        record = Record(
            id="slurm:late:0",
            contract=lease.id,
            device=lease.device,
            milli_devices=8_000,
            start=Instant(end - 3_600),
            end=Instant(end),
        )
        await self._post(cluster, cluster.stream.next_batch([record]))

    async def go_on(self) -> None:
        """Report what works now, every two seconds."""
        for cluster in cycle(self.clusters):
            await asyncio.sleep(LIVE_SECONDS)
            cluster.run_until(self.clock() // MICROSECONDS)
            await self._post(cluster, cluster.report())

    async def _post(self, cluster: Cluster, batch: Any) -> None:
        await self.first.post_batch(cluster.stream.sign(batch), self.receipt_key)
