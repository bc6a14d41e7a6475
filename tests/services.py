"""A running service for tests: real HTTP, a real database, and a clock that the test sets.

    async with serving(database, tmp_path) as service:
        await service.open_books()
        answer = await service.usage([record("r1", "A", *HOUR, 64_000)])
        assert answer.json["results"][0]["granted"] == "144.00"

`serving` makes the ledger in an empty database, or goes on with an existing one: leaving it and
entering again is a restart. Keys of providers are those of `books.signer`.
"""

import asyncio
import base64
import contextlib
import errno
import itertools
import json
import os
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg
import pytest

from ledger import canon
from ledger import store as ledger_store
from ledger.files import Files
from ledger.folder import FolderWriter
from ledger.roles import Roles
from ledger.tlog import Tree, leaf_hash
from meter.auditor.replay import Audit
from meter.client import registration
from meter.host import clock as host_clock
from meter.host.data_folder import DATABASE_VARIABLE, DataFolder
from meter.host.tokens import Identity
from meter.intake import Intake
from meter.rules.entries import Entry
from meter.rules.evolve import evolve
from meter.rules.kinds.table import read_entry
from meter.rules.snapshot import files_of
from meter.rules.state import State
from meter.service import running as service_running
from meter.service import setup
from meter.service.admin import add_token
from meter.service.front import fronting
from meter.service.leader import serving_fronts
from meter.tables.sessions import Address
from meter.values.roles import Role
from meter.values.units import MICROSECONDS, format_money
from meter.wire import dsse
from tests.books import (
    ALPHA,
    DEVICE,
    PROGRAMME,
    PROVIDER_USCC,
    balances,
    expected_balances,
    micros,
    signer,
)

ORIGIN = "kashi.test/service"
NOON = "2025-03-01T12:00:00+08:00"
# With this set, all tests ask a front: `KASHI_TEST_FRONT=1 pytest tests/meter/test_http.py`.
BY_FRONT = bool(os.environ.get("KASHI_TEST_FRONT"))
HOUR = ("2025-03-01T08:00:00+08:00", "2025-03-01T09:00:00+08:00")
PROJECTIONS = (
    *(
        "registration",
        "closed_proposal",
        "record",
        "withheld",
        "refused",
        "stream",
        "gap",
        "usage_day",
        "summary",
        "segment_subject",
    ),
    *("device_time", "contract_total", "contract_segment", "contract_year", "contract_year_past"),
    "contract_total_past",
    *("coupon", "coupon_past", "coupon_day", "pool_day", "pool", "pool_past"),
    *("ledger_month", "month_booking"),
)


class Clock:
    """A clock that stands still until the test moves it."""

    def __init__(self, instant: str) -> None:
        self.now = micros(instant)

    def __call__(self) -> int:
        return self.now

    def set(self, instant: str) -> None:
        self.now = micros(instant)

    def advance(self, seconds: int) -> None:
        self.now += seconds * MICROSECONDS


def moved(clock: Clock | host_clock.Clock) -> host_clock.Clock:
    """Return the service's clock: what a test moves it by has passed, and is meant."""
    if isinstance(clock, host_clock.Clock):
        return replace(clock, is_confirmed=True)
    return replace(host_clock.clock_by_hand(clock), is_confirmed=True)


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Any
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> str:
        """The code of this problem document, or of the page of a problem."""
        if self.headers["Content-Type"].startswith("text/html"):
            (code,) = re.findall(r'<code id="problem">(\w+)</code>', self.body.decode())
            return code
        assert self.headers["Content-Type"] == "application/problem+json", self.body
        return self.json["code"]


@dataclass
class Service:
    """One running service, asked with the authority's token."""

    folder: DataFolder
    dsn: str
    url: str
    clock: Clock
    intake: Intake
    running: service_running.Running
    http: aiohttp.ClientSession
    stop: Callable[[], Awaitable[None]]
    keys: Any = field(default_factory=lambda: (f"key-{n}" for n in itertools.count()))

    async def send(
        self, method: str, path: str, data: bytes | None = None, **headers: str
    ) -> Answer:
        """Send a request, and follow no redirect; names of headers with `_` for `-`."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        async with self.http.request(
            method, self.url + path, data=data, headers=named, allow_redirects=False
        ) as response:
            return Answer(response.status, response.headers, await response.read())

    async def get(self, path: str, **headers: str) -> Answer:
        return await self.send("GET", path, **headers)

    async def post(
        self, path: str, body: Any = None, key: str | None = "", **headers: str
    ) -> Answer:
        """Post JSON, or bytes as they are, with a fresh Idempotency-Key unless `key` says other."""
        if key is not None:
            headers["Idempotency_Key"] = key or next(self.keys)
        data = body if isinstance(body, bytes) else json.dumps(body or {}).encode()
        return await self.send("POST", path, data, **headers)

    async def ask(self, path: str, **body: Any) -> dict[str, Any]:
        """Post a command that must succeed; `starts`, `ends`, `applicant` as in the core."""
        names = {"starts": "from", "ends": "until", "applicant": "kind"}
        answer = await self.post(path, {names.get(k, k): v for k, v in body.items()})
        assert answer.status in (200, 201), answer.body
        return answer.json

    # The authority

    async def open_books(self, policy: str | None = None, issued: str | None = "500000.00") -> None:
        """Activate a policy, register provider, key, enterprise and contract A, issue a coupon."""
        await self.activate(policy)
        await self.ask("/v1/providers", **provider_body())
        await self.ask("/v1/providers/pcl/keys", **key_body("pcl-1"))
        await self.ask("/v1/enterprises", **enterprise_body())
        await self.ask("/v1/contracts", **contract_body("A"))
        if issued is not None:
            await self.issue(2025, issued)

    async def activate(self, text: str | None = None) -> None:
        if text is None:
            await self.ask("/v1/policies", programme=PROGRAMME, version="2024-12")
        else:
            await self.ask("/v1/policies", programme=PROGRAMME, version="test", content=text)

    async def fund_awards(self, amount: str = "30000000.00") -> None:
        """Put a policy of awards in force, with a budget."""
        await self.ask("/v1/policies", programme="adaptation", version="2024-12")
        budget = {"programme": "adaptation", "year": 2025, "document": "12号"}
        await self.ask("/v1/budgets", amount=amount, **budget)

    async def award(self, id_: str, amount: str, project: str, **changes: Any) -> dict[str, Any]:
        """Register a project with other money, and make an award for it."""
        await self.ask("/v1/projects", id=project, title=f"适配 {project}")
        funds = {"reference": "7号", "level": "district", "amount": "0.50", "document": "通知"}
        await self.ask(f"/v1/projects/{project}/funds", **funds)
        body = {"programme": "adaptation", "enterprise": ALPHA, "year": 2025, "base": "5000000.00"}
        terms = {"id": id_, "project": project, "amount": amount, "document": "评审"}
        return await self.ask("/v1/awards", **(body | terms | changes))

    async def fund_contract(self, contract: str, amount: str, reference: str = "1号") -> Any:
        """Set a district's money for a contract."""
        funds = {"reference": reference, "level": "district", "document": "通知"}
        return await self.ask(f"/v1/contracts/{contract}/funds", amount=amount, **funds)

    async def issue(self, year: int, amount: str, enterprise: str = ALPHA) -> None:
        await self.ask("/v1/coupons", **coupon_body(year, amount, enterprise))

    # The provider

    def envelope(
        self,
        records: Iterable[Any] = (),
        voids: Iterable[Any] = (),
        keyid: str = "pcl-1",
        **changes: Any,
    ) -> bytes:
        """Sign a batch; it is number 1 of its stream unless `seq` says other."""
        body = {
            "log": ORIGIN,
            "provider": "pcl",
            "stream": "main",
            "seq": 1,
            "voids": list(voids),
            "records": list(records),
        } | changes
        payload = json.dumps(body, ensure_ascii=False).encode()
        return dsse.seal(dsse.BATCH_TYPE, payload, keyid, signer(keyid))

    async def usage(
        self, records: Iterable[Any] = (), voids: Iterable[Any] = (), **changes: Any
    ) -> Answer:
        return await self.post("/v1/usage", self.envelope(records, voids, **changes), None)

    # Totals

    async def balance(self, year: int = 2025, enterprise: str = ALPHA) -> dict[str, Any]:
        answer = await self.get(
            f"/v1/enterprises/{enterprise}/balance?programme={PROGRAMME}&year={year}"
        )
        assert answer.status == 200, answer.body
        return answer.json

    async def contract(self, id_: str = "A") -> dict[str, Any]:
        answer = await self.get(f"/v1/contracts/{id_}")
        assert answer.status == 200, answer.body
        return answer.json

    async def entries(self) -> list[Entry]:
        return await stored_entries(self.dsn)

    async def published(self) -> int:
        """Wait until all that is committed is published; returns the number of its entries."""
        size = self.intake.watermark.size
        async with asyncio.timeout(10):
            await self.running.published.beyond(size - 1)
        return size


@asynccontextmanager
async def serving(  # noqa: PLR0913 - one argument for each thing that a test chooses
    database: str,
    folder: Path,
    now: str | None = None,
    clock: Clock | host_clock.Clock | None = None,
    *,
    group_reads_log: bool = False,
    authority: setup.Authority = setup.TRIAL,
    by_front: bool = BY_FRONT,
    files: Mapping[str, str] = {},
    **settings: Any,
) -> AsyncIterator[Service]:
    """Run a service on a database, making the ledger where there is none.

    One person does all, and `Service` asks as the first one, unless `authority` says other. With
    `by_front` it asks a front, which runs in this process too. `files` are put into its folder.
    """
    clock = clock or Clock(now or NOON)
    data = DataFolder(folder / "kashi", group_reads_log)
    async with contextlib.AsyncExitStack() as stack:
        with pytest.MonkeyPatch.context() as environment:
            environment.setenv(DATABASE_VARIABLE, database)
            if not data.path.exists():
                await setup.initialise(data, ORIGIN, authority, moved(clock))
            for name, text in files.items():
                (data.path / name).write_text(text)
            serve = contextlib.AsyncExitStack()
            stack.push_async_callback(serve.aclose)
            running = await serve.enter_async_context(
                service_running.running(data, clock=moved(clock), **settings)
            )
            url = running.url
            if by_front:
                url = await serve.enter_async_context(front_of(running, data, moved(clock)))
        token = data.token_of(authority.persons[0]).read_text().strip()
        http = await stack.enter_async_context(
            aiohttp.ClientSession(
                headers={"Authorization": f"Bearer {token}"},
                connector=aiohttp.TCPConnector(limit=256),
                timeout=aiohttp.ClientTimeout(total=60),
            )
        )
        yield Service(data, database, url, clock, running.intake, running, http, serve.aclose)


@asynccontextmanager
async def front_of(
    running: service_running.Running, folder: DataFolder, clock: host_clock.Clock
) -> AsyncIterator[str]:
    """Run a front of a service in this process; yield its URL."""
    intake = running.intake
    parts = (intake, intake.writer._registry, running.published, intake._metrics)
    async with (
        serving_fronts(folder, *parts),
        fronting(folder, running.address, clock, "127.0.0.1", 0) as (url, _),
    ):
        yield url


# Bodies of requests, with the names of the core


def provider_body(id_: str = "pcl", **changes: Any) -> dict[str, Any]:
    return {
        "id": id_,
        "uscc": PROVIDER_USCC,
        "name": "鹏城实验室",
        "devices": {DEVICE: 10_000_000},
        "enlisted": {"batch": "2025-1", "from": "2020-01-01", "until": "2030-01-01"},
    } | changes


def key_body(keyid: str, provider: str = "pcl", secret: str = "") -> dict[str, Any]:
    """Return what registers a key, by default the one that signs under this name."""
    return registration(signer(secret or keyid), ORIGIN, provider, keyid)


def enterprise_body(uscc: str = ALPHA, **changes: Any) -> dict[str, Any]:
    return {
        "uscc": uscc,
        "name": "深圳某某科技有限公司",
        "applicant": "enterprise",
        "founded_on": "2019-04-01",
    } | changes


def contract_body(id_: str, **changes: Any) -> dict[str, Any]:
    return {
        "id": id_,
        "contract_no": f"HT-{id_}",
        "programme": PROGRAMME,
        "enterprise": ALPHA,
        "provider": "pcl",
        "amount": "1000000.00",
        "signed_on": "2024-12-01",
        "starts": "2024-12-01",
        "ends": "2027-01-01",
        "use": "training",
        "prices": {DEVICE: "4.50"},
        "related_party": False,
    } | changes


def coupon_body(year: int, amount: str, enterprise: str = ALPHA) -> dict[str, Any]:
    return {"programme": PROGRAMME, "enterprise": enterprise, "year": year, "amount": amount}


def address_of(dsn: str, origin: str = ORIGIN) -> Address:
    """Return the address of a ledger's database, with the ledger's roles."""
    return Address(dsn, Roles.of(origin))


# The stored ledger, read past the service


async def ask(dsn: str, sql: str, *arguments: Any) -> list[asyncpg.Record]:
    """Run SQL as the database's superuser."""
    connection = await asyncpg.connect(dsn)
    try:
        return await connection.fetch(sql, *arguments)
    finally:
        await connection.close()


async def stored(dsn: str) -> list[bytes]:
    """Read the bytes of all entries."""
    connection = await asyncpg.connect(dsn)
    try:
        async with connection.transaction():
            head = await ledger_store.head(connection)
            found = [data async for _, data in ledger_store.entries(connection, 0, head.size)]
    finally:
        await connection.close()
    assert len(found) == head.size
    return found


async def stored_entries(dsn: str) -> list[Entry]:
    return [read_entry(canon.decode(data)) for data in await stored(dsn)]


async def projections(dsn: str) -> dict[str, list[tuple[Any, ...]]]:
    """Read all that `rebuild` can make anew, in a fixed order."""
    rows = {
        f"meter.{table}": await ask(dsn, f"SELECT * FROM meter.{table} ORDER BY 1, 2")
        for table in PROJECTIONS
    }
    rows["ledger.account"] = await ask(dsn, "SELECT * FROM ledger.account ORDER BY 1")
    return {table: sorted([tuple(map(str, row)) for row in found]) for table, found in rows.items()}


async def check_sums(dsn: str) -> State:
    """Check all stored rows against the entries, and audit these; returns the state."""
    entries = await stored_entries(dsn)
    state = State()
    for entry in entries:
        evolve(state, entry)
    books = {}
    for books in balances(entries):  # noqa: B007 - the last is wanted
        pass
    assert books == expected_balances(state)
    accounts = await ask(dsn, "SELECT name, fen FROM ledger.account WHERE fen <> 0")
    assert {name: int(fen) for name, fen in accounts} == books
    rows = await ask(dsn, "SELECT provider, id, entry, voided FROM meter.record")
    assert {(provider, id_): rest for provider, id_, *rest in rows} == {
        id_: [held.entry, held.voided] for id_, held in state.records.items()
    }
    batches = [number for number, entry in enumerate(entries) if entry.kind == "batch"]
    kept = await ask(dsn, "SELECT entry, envelope, receipt, signature FROM meter.batch ORDER BY 1")
    assert [row["entry"] for row in kept] == batches
    for number, envelope, receipt, _ in kept:
        assert sha256(envelope).hexdigest() == entries[number].envelope
        assert sha256(receipt).hexdigest() == entries[number].receipt
    files = {number: [*files, signature.encode()] for number, *files, signature in kept}
    for number, snapshot in await ask(dsn, "SELECT entry, snapshot FROM meter.state_snapshot"):
        files[number] = files_of(snapshot)
    _audit(await stored(dsn), files)
    return state


def _audit(data: list[bytes], files: dict[int, list[bytes]]) -> None:
    """Decide everything again, as an auditor does. Raises `Violation`."""
    audit, tree = Audit(), Tree()
    for number, entry in enumerate(data):
        audit.entry(number, entry, json.loads(entry), files.get(number, []), tree)
        tree.append(leaf_hash(entry))
    audit.finish()


async def authorization(service: Service, name: str, role: Role, subject: str = "") -> str:
    """Make a token, and return the header that carries it; the ledger names the authority's."""
    if role == "authority":
        await service.ask("/v1/tokens", id=name, holder="authority")
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv(DATABASE_VARIABLE, service.dsn)
        return f"Bearer {await add_token(service.folder, Identity(name, role, subject))}"


async def until(holds: Callable[[], Awaitable[bool]]) -> None:
    """Wait until something holds."""
    async with asyncio.timeout(60):
        while not await holds():  # noqa: ASYNC110 - the database tells nobody
            await asyncio.sleep(0.02)


def yuan(fen: int) -> str:
    return format_money(fen)


def receipt_key(service: Service) -> bytes:
    """Return the public key that signs receipts, as entry 0 names it."""
    return base64.b64decode(service.intake.state.genesis.receipt_key.public_key)


def publishing_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a service write its folder in this process, where `full_disk` reaches it."""

    def write(folder: Path, size: int, _: int) -> contextlib.nullcontext[FolderWriter]:
        return contextlib.nullcontext(FolderWriter(folder, resume=size))

    monkeypatch.setattr("meter.publish.log_folder.FolderProcess", write)


@contextlib.contextmanager
def full_disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let every write into a published folder fail."""

    def write(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "no space left on the device")

    with monkeypatch.context() as full:
        full.setattr(Files, "append", write)
        full.setattr(Files, "write", write)
        yield
