"""Hostile clients, a hostile network and a hostile administrator of the database.

Many clients at the last yuan, the worst bodies, the slowest senders, and rows changed behind our
back; docs/threat-model.md says which of these are found, and which are not.

Where memory is measured the service is a process of its own (`apart`); elsewhere it runs in the
test's loop, where limits of time can be made short.
"""

import asyncio
import contextlib
import json
import os
import re
import signal
import socket
import sys
import zlib
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from meter.api.app import ONCE, ROUTES
from meter.api.post import MAX_COMMAND_BYTES
from meter.auditor.verdict import verify_source
from meter.host.data_folder import DATABASE_VARIABLE, DataFolder
from meter.http import bodies, connections
from meter.service.admin import export_to
from meter.values.units import parse_money
from meter.wire import dsse
from meter.wire.batch import MAX_BATCH_BYTES, MAX_BATCH_ITEMS
from tests.books import policy_text, record, signer, uscc_of
from tests.services import (
    HOUR,
    NOON,
    ORIGIN,
    Answer,
    Service,
    ask,
    authorization,
    check_sums,
    contract_body,
    coupon_body,
    enterprise_body,
    provider_body,
    serving,
)

REPOSITORY = Path(__file__).parents[2]
CLIENTS = 64
CONTRACTS = [f"C{n}" for n in range(8)]

# The memory that the service may take during any of the attacks below: some 60 MiB of its own, 64
# MiB of arriving bodies, one unfolded worst body (some 130 MiB), and half a MiB for each of the
# largest heads.
MAX_MEMORY_MIB = 400

# A test waits this long before it fails.
PATIENCE_SECONDS = 60


async def at_once(calls: Iterable[Awaitable[Answer]]) -> list[Answer]:
    return await asyncio.gather(*calls)


def outcomes(answers: Iterable[Answer]) -> Counter:
    """Count answers by status, refusals by code."""
    return Counter(each.code if each.status >= 400 else each.status for each in answers)


# The last yuan


async def with_contracts(service: Service, issued: str | None) -> None:
    """Open the books with some more contracts of the same enterprise."""
    await service.open_books(issued=issued)
    for contract in CONTRACTS:
        await service.ask("/v1/contracts", **contract_body(contract))


async def one_hour(service: Service, client: int, **changes: Any) -> Answer:
    """Post one device-hour as a client with a stream of its own: entitled to 2.25."""
    contract = CONTRACTS[client % len(CONTRACTS)]
    hour = record(f"r{client}", contract, *HOUR, 1_000)
    return await service.usage([hour | changes], stream=f"s{client}")


async def test_64_clients_at_a_coupons_last_yuan_get_what_it_holds_and_not_a_fen_more(
    database, tmp_path
):
    async with serving(database, tmp_path) as service:
        await with_contracts(service, issued="100.01")
        answers = await at_once(one_hour(service, n) for n in range(CLIENTS))
        results = [answer.json["results"][0] for answer in answers]
        for result in results:
            assert result["entitled"] == "2.25"
            figures = [parse_money(result[name]) for name in ("granted", "uncovered")]
            assert sum(figures) == parse_money(result["entitled"])
            assert result["by_year"] == {"2025": result["granted"]}
            assert result["bound"] == ([] if result["granted"] == "2.25" else ["coupon"])
        # Whole ones while the coupon lasts, its rest, and then nothing.
        assert Counter(result["granted"] for result in results) == {
            "2.25": 44,
            "1.01": 1,
            "0.00": 19,
        }
        balance = await service.balance()
        assert (balance["issued"], balance["granted"]) == ("100.01", "100.01")
        assert (balance["entitled"], balance["uncovered"]) == ("144.00", "43.99")
        contracts = [await service.contract(contract) for contract in CONTRACTS]
        years = [year for contract in contracts for year in contract["years"]]
        assert {year["year"] for year in years} == {2025}
        assert sum(parse_money(year["granted"]) for year in years) == 100_01
        assert sum(parse_money(year["uncovered"]) for year in years) == 43_99
    await check_sums(database)


def lifted(**figures: str) -> str:
    """Return a policy with a pool or cap so small that many requests are at its edge."""
    return policy_text(threshold="0.00", **figures)


async def test_64_enterprises_at_a_pools_last_yuan_get_what_it_holds(database, tmp_path):
    enterprises = [uscc_of(100 + n) for n in range(CLIENTS)]
    async with serving(database, tmp_path) as service:
        await service.activate(lifted(pool="100.00", cap="100.00"))
        await service.ask("/v1/providers", **provider_body())
        for uscc in enterprises:
            await service.ask("/v1/enterprises", **enterprise_body(uscc))
            await service.ask("/v1/contracts", **contract_body(f"C-{uscc}", enterprise=uscc))
        answers = await at_once(
            service.post("/v1/coupons", coupon_body(2025, "3.00", uscc)) for uscc in enterprises
        )
        assert outcomes(answers) == {201: 33, "pool_exceeded": 31}
        pairs = zip(enterprises, answers, strict=True)
        refused = next(uscc for uscc, answer in pairs if answer.status == 422)
        for amount, status in (("1.01", 422), ("1.00", 201), ("0.01", 422)):
            answer = await service.post("/v1/coupons", coupon_body(2025, amount, refused))
            assert answer.status == status, answer.body
        pools = (await service.get("/v1/pools")).json["pools"]
        assert [pool["left"] for pool in pools if pool["year"] == 2025] == ["0.00"]
    state = await check_sums(database)
    assert sum(state.coupons.values()) == 100_00


async def test_64_issues_at_an_enterprises_cap_give_what_it_allows(database, tmp_path):
    async with serving(database, tmp_path) as service:
        await service.activate(lifted(cap="100.00"))
        await service.ask("/v1/providers", **provider_body())
        await service.ask("/v1/enterprises", **enterprise_body())
        await service.ask("/v1/contracts", **contract_body("A"))
        body = coupon_body(2025, "3.00")
        answers = await at_once(service.post("/v1/coupons", body) for _ in range(CLIENTS))
        assert outcomes(answers) == {201: 33, "cap_exceeded": 31}
        issued = [answer.json["issued"] for answer in answers if answer.status == 201]
        assert sorted(map(parse_money, issued)) == [n * 3_00 for n in range(1, 34)]
        assert (await service.balance())["issued"] == "99.00"
    await check_sums(database)


async def test_64_issues_with_one_key_are_one_issue(database, tmp_path):
    async with serving(database, tmp_path) as service:
        await service.activate(lifted())
        await service.ask("/v1/providers", **provider_body())
        await service.ask("/v1/enterprises", **enterprise_body())
        await service.ask("/v1/contracts", **contract_body("A"))
        body = coupon_body(2025, "3.00")
        answers = await at_once(service.post("/v1/coupons", body, key="k") for _ in range(CLIENTS))
        assert {(each.status, each.body) for each in answers} == {(201, answers[0].body)}
        assert (await service.balance())["issued"] == "3.00"
        assert [entry.kind for entry in await service.entries()].count("issue") == 1
    await check_sums(database)


async def test_of_64_records_with_one_id_one_is_charged(database, tmp_path):
    async with serving(database, tmp_path) as service:
        await with_contracts(service, issued="500000.00")
        answers = await at_once(
            one_hour(service, n, id="same", contract="C0", milli_devices=1_000 + n % 2)
            for n in range(CLIENTS)
        )
        statuses = Counter(answer.json["results"][0]["status"] for answer in answers)
        assert statuses == {"accepted": 1, "duplicate": 31, "conflict": 32}
        assert (await service.balance())["granted"] == "2.25"
    await check_sums(database)


# The worst bodies


@dataclass
class Apart:
    """A service that is a process of its own."""

    service: Service
    pid: int

    @property
    def peak_mib(self) -> int:
        """The most memory that it ever had at once."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        return int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) // 1024


@asynccontextmanager
async def apart(database: str, folder: Path) -> AsyncIterator[Apart]:
    """Run `kashi serve` on opened books, and end it with SIGINT."""
    async with serving(database, folder) as service:
        await service.open_books()
    words = ("serve", "--data", service.folder.path, "--port", "0", "--now", NOON)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", "from meter.cli.main import main; main()", *map(str, words)),
        env=os.environ | {DATABASE_VARIABLE: database, "PYTHONPATH": str(REPOSITORY)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        url = (await process.stdout.readline()).decode().split()[-1]
        async with aiohttp.ClientSession(
            headers=service.http.headers, connector=aiohttp.TCPConnector(limit=256)
        ) as http:
            yield Apart(replace(service, url=url, http=http), process.pid)
    finally:
        process.send_signal(signal.SIGINT)
        assert await process.wait() == 0


def filled(start: bytes, unit: bytes, end: bytes, size_bytes: int = MAX_BATCH_BYTES) -> bytes:
    """Repeat a unit until the limit is reached."""
    return start + unit * ((size_bytes - len(start) - len(end)) // len(unit)) + end


def tiny_keys(size_bytes: int) -> bytes:
    """Write an object of as many different keys as fit."""
    count = size_bytes // len('"fffff":0,')
    return b"{" + b",".join(b'"%05x":0' % n for n in range(count)) + b"}"


TYPE = dsse.BATCH_TYPE.encode()
PAYLOAD = b'{"payloadType":"%s","signatures":[],"payload":"' % TYPE
SIGNATURES = b'{"payloadType":"%s","payload":"","signatures":[' % TYPE

SIGNED_BYTES = 6 * 1024 * 1024 - 1_024  # in base64 they just fit
HEAD = b'{"log":"%s","provider":"pcl","stream":"main","seq":1,' % ORIGIN.encode()
VOIDS = HEAD + b'"voids":['
RECORDS = HEAD + b'"records":['
RECORD = json.dumps(record("r", "A", *HOUR, 1)).encode()
TOO_MANY = {
    *("empty records", "tiny keys", "keys again", "one good record again", "one good void again"),
}


def worst() -> dict[str, bytes]:
    """Make bodies as large as may be, of which none is an envelope."""
    return {
        "open arrays": b"[" * MAX_BATCH_BYTES,
        "closed arrays": b"[" * (MAX_BATCH_BYTES // 2) + b"]" * (MAX_BATCH_BYTES // 2),
        "open objects": filled(b"", b'{"a":', b""),
        "one text": filled(b'"', b"a", b'"'),
        "one key": filled(b'{"', b"a", b'":0}'),
        "tiny keys": tiny_keys(MAX_BATCH_BYTES),
        "one key again and again": filled(b"{", b'"a":0,', b'"a":0}'),
        "one number": b"9" * MAX_BATCH_BYTES,
        "long numbers": filled(b"[", b"9" * 5_000 + b",", b"9]"),
        "exponents": filled(b"[", b"1e999,", b"1]"),
        "empty objects": filled(b"[", b"{},", b"{}]"),
        "empty texts": filled(b"[", b'"",', b'""]'),
        "escapes only": filled(PAYLOAD, b"\\u0000", b'"}'),
        "escapes that are letters": filled(PAYLOAD, b"\\u4e00", b'"}'),
        "surrogates": filled(PAYLOAD, b"\\ud83d", b'"}'),
        "wide characters": filled(PAYLOAD, b"a", "😀".encode() + b'"}'),
        "invalid UTF-8 at the end": filled(PAYLOAD, b"a", b'\xff"}'),
        "no base64 at the end": filled(PAYLOAD, b"AAAA", b'A"}'),
        "signatures without end": filled(SIGNATURES, b'{"keyid":"a","sig":""},', b""),
        "many signatures": filled(
            SIGNATURES, b'{"keyid":"a","sig":""},', b'{"keyid":"a","sig":""}]}'
        ),
        "zeros": bytes(MAX_BATCH_BYTES),
    }


def worst_signed() -> dict[str, bytes]:
    """Make payloads as large as may be, none of them a batch that may be taken."""
    return {
        "open arrays": filled(RECORDS, b"[", b"", SIGNED_BYTES),
        "closed arrays": b"[" * (SIGNED_BYTES // 2) + b"]" * (SIGNED_BYTES // 2),
        "empty records": filled(RECORDS, b"{},", b"{}]}", SIGNED_BYTES),
        "unknown key": filled(HEAD + b'"x":[', b"[],", b"[]]}", SIGNED_BYTES),
        "tiny keys": HEAD + b'"x":' + tiny_keys(SIGNED_BYTES - 200) + b"}",
        "keys again": filled(HEAD, b'"seq":1,', b'"seq":1}', SIGNED_BYTES),
        "long number": filled(HEAD + b'"voids":', b"9", b"}", SIGNED_BYTES),
        "devices beyond count": filled(RECORDS + b'{"milli_devices":', b"9", b"}]}", SIGNED_BYTES),
        "long reason": filled(VOIDS + b'{"id":"a","reason":"', b"a", b'"}]}', SIGNED_BYTES),
        "control characters": filled(VOIDS + b'{"id":"', b"\\u0000", b'"}]}', SIGNED_BYTES),
        "invalid UTF-8 at the end": filled(VOIDS + b'{"id":"', b"a", b'\xff"}]}', SIGNED_BYTES),
        "one good record again": filled(RECORDS + RECORD, b"," + RECORD, b"]}", SIGNED_BYTES),
        "one good void again": filled(
            VOIDS + b'{"id":"a","reason":"b"}', b',{"id":"a","reason":"b"}', b"]}", SIGNED_BYTES
        ),
    }


def sealed(payload: bytes) -> bytes:
    """Sign any bytes, as a hostile provider can."""
    return dsse.seal(dsse.BATCH_TYPE, payload, "pcl-1", signer("pcl-1"))


def worst_bodies() -> dict[str, tuple[bytes, str]]:
    """Return all worst bodies with the code that each must get."""
    found = {name: (body, "bad_envelope") for name, body in worst().items()}
    for name, payload in worst_signed().items():
        code = "too_large" if name in TOO_MANY else "bad_batch"
        found[f"signed: {name}"] = sealed(payload), code
    assert all(len(body) <= MAX_BATCH_BYTES for body, _ in found.values())
    return found


@asynccontextmanager
async def somebody_else(service: Service) -> AsyncIterator[list[int]]:
    """Post one small batch after the other meanwhile; returns the statuses of their answers."""
    statuses = []
    ended = asyncio.Event()

    async def post_on() -> None:
        while not ended.is_set():
            number = len(statuses) + 1
            answer = await service.usage(
                [record(f"else{number}", "A", *HOUR, 1_000)], stream="else", seq=number
            )
            assert answer.json["results"][0]["status"] == "accepted"
            statuses.append(answer.status)

    posting = asyncio.create_task(post_on())
    try:
        yield statuses
    finally:
        ended.set()
        await posting


async def test_the_worst_bodies_are_refused_in_bounded_memory_while_others_are_served(
    database, tmp_path
):
    async with apart(database, tmp_path) as here:
        service = here.service
        gate = asyncio.Semaphore(4)

        async def refused(name: str, body: bytes, code: str) -> None:
            sender = re.sub("[^a-z0-9]+", "-", name)  # else it would soon be `busy`
            token = await authorization(service, sender, "provider", "pcl")
            async with gate:
                answer = await service.post("/v1/usage", body, None, Authorization=token)
            assert answer.code == code, (name, answer.body)
            assert answer.json["detail"]
            assert len(answer.body) < 1_000, name

        async with somebody_else(service) as statuses:
            await asyncio.gather(*(refused(name, *worst) for name, worst in worst_bodies().items()))
            served = len(statuses)
        assert served > 0
        # The number that was signed so often is still free.
        answer = await service.usage([record("r", "A", *HOUR, 1_000)])
        assert answer.json["results"][0]["status"] == "accepted"
        assert here.peak_mib < MAX_MEMORY_MIB
    await check_sums(database)


def longest(count: int) -> list[dict[str, Any]]:
    """Return records with texts as long as may be."""
    full = {"run": "x" * 128, "state": "é" * 128, "final": False}
    return [record(f"{n:128d}".replace(" ", "r"), "A", *HOUR, 1_000) | full for n in range(count)]


async def test_5000_records_of_the_longest_texts_are_taken_and_5001_are_not(database, tmp_path):
    async with apart(database, tmp_path) as here:
        service = here.service
        records = longest(MAX_BATCH_ITEMS + 1)
        assert (await service.usage(records)).code == "too_large"
        answer = await service.usage(records[1:])
        assert {each["status"] for each in answer.json["results"]} == {"accepted"}
        assert len(answer.json["results"]) == MAX_BATCH_ITEMS
        assert (await service.balance())["entitled"] == "11250.00"
        assert here.peak_mib < MAX_MEMORY_MIB
    await check_sums(database)


async def test_heads_without_end_and_requests_ahead_of_their_turn_take_bounded_memory(
    database, tmp_path
):
    head = b"GET / HTTP/1.1\r\n" + 36 * (b"X: " + b"a" * 8_000 + b"\r\n")
    docs = b"GET /docs HTTP/1.1\r\nHost: kashi.test\r\n\r\n"
    async with apart(database, tmp_path) as here:
        service = here.service
        held = await asyncio.gather(*(Raw.opened(service, head) for _ in range(300)))
        ahead = await asyncio.gather(*(Raw.opened(service) for _ in range(40)))
        for each in ahead:  # nobody reads their answers, so later requests must wait
            each.writer.write(docs * 30 + 40 * (head + b"\r\n"))
        answers = await at_once(
            service.usage([record(f"r{n}", "A", *HOUR, 1_000)], stream=f"s{n}") for n in range(64)
        )
        assert outcomes(answers) == {200: 64}
        assert here.peak_mib < MAX_MEMORY_MIB
        for each in held + ahead:
            each.abort()
    await check_sums(database)


async def test_60_bodies_that_never_end_take_bounded_memory_and_no_room_from_others(
    database, tmp_path
):
    async with apart(database, tmp_path) as here:
        service = here.service
        head = post_head("/v1/usage", f"Content-Length: {MAX_BATCH_BYTES}")
        unfinished = head + bytes(MAX_BATCH_BYTES - 1)
        slow = await asyncio.gather(*(Raw.opened(service, unfinished) for _ in range(60)))
        # A large body of somebody else finds room, because the slowest of those were cut off.
        # On a starved machine it may itself be the slowest, and is told to come again.
        large = sealed(RECORDS + b" " * SIGNED_BYTES)
        answer = await service.post("/v1/usage", large, None)
        for _ in range(9):
            if answer.code == "busy":
                answer = await service.post("/v1/usage", large, None)
        assert answer.code == "bad_batch"
        assert (await service.usage(longest(MAX_BATCH_ITEMS))).status == 200
        assert here.peak_mib < MAX_MEMORY_MIB
        for each in slow:
            each.abort()
    await check_sums(database)


# Encodings and lengths


class Raw:
    """A connection on which anything can be sent."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @classmethod
    async def opened(cls, service: Service, data: bytes = b"") -> "Raw":
        """Connect, and send as much of the data as the service takes."""
        host, _, port = service.url.removeprefix("http://").partition(":")
        raw = cls(*await asyncio.open_connection(host, int(port)))
        await raw.send(data)
        return raw

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        with contextlib.suppress(ConnectionError):
            await self.writer.drain()

    async def drip(self, data: bytes) -> None:
        """Send byte by byte, until the service refuses more."""
        with contextlib.suppress(ConnectionError):
            for place in range(len(data)):
                self.writer.write(data[place : place + 1])
                await self.writer.drain()
                await asyncio.sleep(0.05)

    async def answer(self) -> Answer:
        """Read one answer whose length is told."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode()
            status, *lines = head.split("\r\n")
            headers = dict(line.split(": ", 1) for line in lines if line)
            body = await self.reader.readexactly(int(headers["Content-Length"]))
            return Answer(int(status.split()[1]), headers, body)

    async def rest(self) -> bytes:
        """Read until the service closes the connection."""
        found = b""
        async with asyncio.timeout(PATIENCE_SECONDS):
            with contextlib.suppress(ConnectionError):
                while part := await self.reader.read(65_536):
                    found += part
        self.abort()
        return found

    def abort(self) -> None:
        self.writer.transport.abort()


def post_head(path: str, *lines: str) -> bytes:
    return "\r\n".join([f"POST {path} HTTP/1.1", "Host: kashi.test", *lines, "", ""]).encode()


def bomb() -> bytes:
    """Return 64 KiB that unfold to 64 MiB."""
    return zlib.compress(bytes(64 * 1024 * 1024), 9, wbits=31)


ENCODINGS = [
    *("gzip", "GZIP", "deflate", "br", "zstd", "compress", "x-gzip", "identity, gzip"),
    *("gzip, gzip, gzip", "nonsense", ""),
]


async def test_every_post_route_refuses_encoded_bodies_before_it_has_seen_them(database, tmp_path):
    paths = [re.sub(r"\{\w+\}", "x", route.path) for route in ROUTES if route.method == "POST"]
    assert len(paths) > 10
    async with serving(database, tmp_path) as service:
        token = f"Authorization: {service.http.headers['Authorization']}"
        for path in paths:
            for encoding in ENCODINGS:
                # The body is announced and never sent: so it was neither read nor unfolded.
                raw = await Raw.opened(
                    service,
                    post_head(path, token, f"Content-Encoding: {encoding}", "Content-Length: 9"),
                )
                assert (await raw.answer()).code == "unsupported_encoding", (path, encoding)
                raw.abort()


async def test_a_bomb_is_refused_and_where_it_is_smuggled_in_taken_for_what_it_is(
    database, tmp_path
):
    async with apart(database, tmp_path) as here:
        service, data = here.service, bomb()
        assert len(data) < 100_000
        for _ in range(20):
            answer = await service.post("/v1/usage", data, None, Content_Encoding="gzip")
            assert answer.code == "unsupported_encoding"
        length = f"Content-Length: {len(data)}"
        twice = ("Content-Encoding: identity", "Content-Encoding: gzip", length)
        chunks = ("Transfer-Encoding: gzip", "Transfer-Encoding: chunked")
        for head, code in (
            (post_head("/v1/usage", *twice), "malformed"),
            (post_head("/v1/usage", "Transfer-Encoding: gzip", length), "malformed"),
            (post_head("/v1/usage", "Transfer-Encoding: gzip, chunked"), "unsupported_encoding"),
            (post_head("/v1/usage", *chunks), "malformed"),
        ):
            framed = data if b"chunked" not in head else chunk(data) + b"0\r\n\r\n"
            raw = await Raw.opened(service, head + framed)
            assert (await raw.answer()).code == code, head
            raw.abort()
        assert here.peak_mib < 100


@pytest.mark.parametrize("name", ONCE)
async def test_a_field_that_stands_twice_in_a_head_is_malformed(database, tmp_path, name):
    value = {"Content-Encoding": "identity", "Transfer-Encoding": "chunked"}.get(name, "a")
    async with serving(database, tmp_path) as service:
        for second in (value, "b"):
            lines = (f"{name}: {value}", f"{name}: {second}")
            lines += () if name == "Transfer-Encoding" else ("Content-Length: 0",)
            raw = await Raw.opened(service, post_head("/v1/coupons", *lines))
            assert (await raw.answer()).code == "malformed", lines
            raw.abort()


async def test_an_expectation_is_refused_unless_it_is_100_continue(database, tmp_path):
    async with serving(database, tmp_path) as service:
        for path in ("/v1/usage", "/nowhere"):
            for expected in ("200-ok", "100-continue, x", "x" * 1_000):
                head = post_head(path, f"Expect: {expected}", "Content-Length: 2")
                raw = await Raw.opened(service, head)
                assert code_of(await raw.rest()) == "expectation_failed", (path, expected)
        raw = await Raw.opened(
            service, post_head("/v1/usage", "Expect: 100-continue", "Content-Length: 2")
        )
        assert await raw.reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        await raw.send(b"{}")
        assert (await raw.answer()).code == "bad_envelope"
        raw.abort()


async def test_no_answer_tells_a_version_of_the_server(database, tmp_path):
    asked = (
        *("GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n", "GET / HTTP/1.1\r\nHost: a\r\n\r\n"),
        *("GET /healthz HTTP/1.1\r\nHost: a\r\nExpect: x\r\n\r\n", "nonsense\r\n\r\n"),
    )
    async with serving(database, tmp_path) as service:
        for request in asked:
            raw = await Raw.opened(service, request.encode())
            assert (await raw.answer()).headers["Server"] == "kashi", request
            raw.abort()


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


async def test_a_body_beyond_the_limit_is_refused_before_its_end(database, tmp_path):
    async with serving(database, tmp_path) as service:
        token = f"Authorization: {service.http.headers['Authorization']}"
        for path, limit_bytes in (
            ("/v1/usage", MAX_BATCH_BYTES),
            ("/v1/enterprises", MAX_COMMAND_BYTES),
        ):
            told = post_head(path, token, f"Content-Length: {limit_bytes + 1}")
            untold = post_head(path, token, "Transfer-Encoding: chunked")
            for data in (told, untold + chunk(bytes(limit_bytes + 1))):
                raw = await Raw.opened(service, data)  # and no more of it ever comes
                assert (await raw.answer()).code == "too_large"
                raw.abort()


def ask_again_and_again(service: Service, times: int) -> int:
    """Post on one connection, each head and body by itself; returns the number of answers."""
    address = service.url.removeprefix("http://").split(":")
    with socket.create_connection((address[0], int(address[1])), PATIENCE_SECONDS / 4) as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for _ in range(times):
            client.sendall(post_head("/docs", "Content-Length: 2"))
            client.sendall(b"{}")
            assert b"method_not_allowed" in client.recv(65_536)
    return times


async def test_a_body_behind_its_refusal_keeps_no_later_request_waiting(database, tmp_path):
    async with serving(database, tmp_path) as service:
        # In threads: only these can come between any two steps of the service.
        asked = (asyncio.to_thread(ask_again_and_again, service, 300) for _ in range(8))
        assert sum(await asyncio.gather(*asked)) == 8 * 300


# Slow clients, and many


@pytest.fixture
def hasty(monkeypatch) -> None:
    """Shorten the patience of the service."""
    monkeypatch.setattr(connections, "HEAD_SECONDS", 2.0)
    monkeypatch.setattr(connections, "LINGER_SECONDS", 0.2)
    monkeypatch.setattr(bodies, "BODY_SECONDS", 1.0)


SLOW_HEAD = b"GET /healthz HTTP/1.1\r\nHost: kashi.test\r\nX-Slow: "
SLOW_BODY = post_head("/v1/usage", "Content-Length: 1000000")
SLOW_CHUNKS = post_head("/v1/usage", "Transfer-Encoding: chunked")
SLOW = [
    *[b""] * 60,  # who drip a head
    *[SLOW_HEAD] * 60,  # and nothing more
    *[SLOW_BODY] * 60,  # who drip a body
    *[SLOW_BODY + b'{"payload":'] * 60,
    *[SLOW_CHUNKS + chunk(b"{")] * 30,
    *[SLOW_CHUNKS + b"nonsense"] * 20,  # where a length must stand
    *[b""] * 10,
]


@pytest.mark.usefixtures("hasty")
async def test_300_slow_clients_keep_nobody_from_being_served_and_are_closed(database, tmp_path):
    async with serving(database, tmp_path) as service:
        await service.open_books()
        # Each head is sent with the connection, for its time runs on a busy machine too.
        slow = await asyncio.gather(*(Raw.opened(service, begun) for begun in SLOW))
        dripping = [asyncio.create_task(each.drip(SLOW_HEAD + b"a" * 1_000)) for each in slow[:60]]
        dripping += [asyncio.create_task(each.drip(b" " * 1_000)) for each in slow[120:180]]
        answers = await at_once(
            service.usage([record(f"r{n}", "A", *HOUR, 1_000)], stream=f"s{n}") for n in range(64)
        )
        assert outcomes(answers) == {200: 64}
        rests = await asyncio.gather(*(each.rest() for each in slow))
        for task in dripping:
            task.cancel()
    # No request, no answer; else the answer says why.
    assert set(rests[:120]) | set(rests[290:]) == {b""}
    assert Counter(map(code_of, rests[120:270])) == {"request_timeout": 150}
    assert set(map(code_of, rests[270:290])) <= {"malformed", "request_timeout"}
    await check_sums(database)


def code_of(answer: bytes) -> str:
    """Return the code of a problem document, as it came from the connection."""
    head, _, body = answer.partition(b"\r\n\r\n")
    document = json.loads(body)
    assert b"application/problem+json" in head
    assert head.split()[1] == b"%d" % document["status"]
    assert len(body) < 500
    return document["code"]


async def test_where_bodies_take_too_much_the_slowest_gives_way(database, tmp_path, monkeypatch):
    monkeypatch.setattr(bodies, "MAX_ARRIVING_BYTES", 250_000)
    begun = post_head("/v1/usage", "Content-Length: 240000") + bytes(200_000)
    async with serving(database, tmp_path) as service:
        await service.open_books()
        first = await Raw.opened(service, begun)
        await asyncio.sleep(0.3)
        second = await Raw.opened(service, begun)
        answer = await first.answer()
        assert (answer.code, answer.headers["Retry-After"]) == ("busy", "1")
        assert (await service.usage([record("r", "A", *HOUR, 1_000)])).status == 200
        third = await Raw.opened(service, begun)
        assert (await second.answer()).code == "busy"
        await third.send(bytes(40_000))
        assert (await third.answer()).code == "bad_envelope"  # it was read to its end
        for each in (first, second, third):
            each.abort()


async def test_a_client_that_goes_away_leaves_its_room_to_others(database, tmp_path, monkeypatch):
    monkeypatch.setattr(bodies, "MAX_ARRIVING_BYTES", 250_000)
    async with serving(database, tmp_path) as service:
        for _ in range(20):
            raw = await Raw.opened(service, SLOW_BODY + bytes(200_000))
            raw.abort()
        last = await Raw.opened(service, post_head("/v1/usage", "Content-Length: 240000"))
        await last.send(bytes(240_000))
        assert (await last.answer()).code == "bad_envelope"
        last.abort()


async def test_beyond_the_limit_of_connections_new_ones_are_closed_at_once(
    database, tmp_path, monkeypatch
):
    monkeypatch.setattr(connections, "MAX_CONNECTIONS", 10)
    ask_health = b"GET /healthz HTTP/1.1\r\nHost: kashi.test\r\n\r\n"
    async with serving(database, tmp_path) as service:
        held = [await Raw.opened(service, ask_health) for _ in range(10)]
        assert [(await each.answer()).status for each in held] == [200] * 10
        assert await (await Raw.opened(service, ask_health)).rest() == b""
        await held[0].send(ask_health)  # a connected client may go on
        assert (await held[0].answer()).status == 200
        held.pop().abort()
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not (rest := await answered(service, ask_health)):
                pass
        assert rest.startswith(b"HTTP/1.1 200 ")
        for each in held:
            each.abort()


async def answered(service: Service, request: bytes) -> bytes:
    """Ask on a connection of its own; nothing comes back where it was closed at once."""
    raw = await Raw.opened(service, request)
    with contextlib.suppress(ConnectionError):
        return await raw.reader.read(1_000)
    return b""


async def test_a_client_that_reads_no_answers_is_cut_off(database, tmp_path, monkeypatch):
    monkeypatch.setattr(connections, "RESPONSE_SECONDS", 0.5)
    count = 200  # of a quarter of a megabyte: more than the kernel keeps for anybody
    async with serving(database, tmp_path) as service:
        raw = await Raw.opened(service, b"GET /docs HTTP/1.1\r\nHost: kashi.test\r\n\r\n" * count)
        await asyncio.sleep(2)
        assert (await raw.rest()).count(b"HTTP/1.1 200 ") < count
        assert (await service.get("/healthz")).status == 200


NO_HTTP = [
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",  # how TLS begins
    b"nonsense\r\n\r\n",
    b"GET / HTTP/9.9\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nno colon\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nX: \x00\r\n\r\n",
    post_head("/" + "a" * 20_000),
    post_head("/", "X: " + "a" * 8_200),
    post_head("/", *("X: y" for _ in range(40))),  # beside the host
    post_head("/v1/usage", "Content-Length: -1"),
    post_head("/v1/usage", "Content-Length: 5", "Content-Length: 6"),
    post_head("/v1/usage", "Content-Length: 5", "Transfer-Encoding: chunked") + b"0\r\n\r\n",
]


@pytest.mark.usefixtures("hasty")
async def test_what_is_no_http_gets_a_problem_document_and_no_second_chance(
    database, tmp_path, caplog
):
    async with serving(database, tmp_path) as service:
        caplog.clear()  # of notices of a start
        for request in NO_HTTP:
            raw = await Raw.opened(service, request)
            assert code_of(await raw.rest()) == "malformed", request
        large = await Raw.opened(
            service, post_head("/x", *(f"X: {'a' * 8_000}" for _ in range(38)))
        )
        assert (await large.answer()).code == "not_found"
        large.abort()
    assert [each for each in caplog.records if each.levelname in ("WARNING", "ERROR")] == []


# What a database administrator can do


async def with_one_record(database: str, folder: Path) -> None:
    async with serving(database, folder) as service:
        await service.open_books(issued="1000.00")
        await service.usage([record("r1", "A", *HOUR, 64_000)])


async def verified(database: str, folder: Path) -> list[Any]:
    """Export the ledger and verify it; returns codes and entries of its faults."""
    data = DataFolder(folder / "kashi")
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv(DATABASE_VARIABLE, database)
        await export_to(data, folder / "out")
    vkey = data.log_vkey.read_text().strip()
    verdict = verify_source(str(folder / "out"), vkey, [], None, lambda _done, _total: None)
    return [(problem.code, problem.entry) for problem in verdict.findings]


async def more_usage(service: Service, id_: str = "r2") -> Answer:
    return await service.usage([record(id_, "A", *HOUR, 64_000)], seq=2)


async def more_money(service: Service) -> Answer:
    return await service.post("/v1/coupons", coupon_body(2025, "500000.00"), key="more")


@pytest.mark.parametrize(
    ("change", "then", "found"),
    [
        ("UPDATE meter.contract_year SET granted = 0", more_usage, ("wrong_receipt", 9)),
        ("UPDATE meter.coupon SET issued = 0", more_money, ("not_allowed", 9)),
        ("DELETE FROM meter.record", lambda s: more_usage(s, "r1"), ("wrong_receipt", 9)),
        ("UPDATE meter.batch SET envelope = 'x'", more_usage, ("wrong_envelope", 7)),
        ("DELETE FROM meter.batch", more_usage, ("missing_attachment", 7)),
    ],
)
async def test_a_changed_row_is_found_by_verification_at_the_entry_that_it_made_wrong(
    database, tmp_path, change, then, found
):
    await with_one_record(database, tmp_path)
    await ask(database, "ALTER TABLE meter.batch DISABLE TRIGGER USER")  # as a superuser can
    await ask(database, change)
    async with serving(database, tmp_path) as service:
        assert (await then(service)).status < 400
    assert await verified(database, tmp_path) == [found]


async def test_a_secret_that_is_put_into_the_database_works_where_an_entry_names_the_token(
    database, tmp_path
):
    """Nobody can prove who held a token, as docs/threat-model.md says."""
    await with_one_record(database, tmp_path)
    row = "('dba', 'authority', '', sha256('secret'))"
    await ask(database, f"INSERT INTO meter.token (id, role, subject, secret) VALUES {row}")
    swapped = "UPDATE meter.token SET secret = sha256('secret') WHERE id = 'authority-1'"
    async with serving(database, tmp_path) as service:
        body = coupon_body(2025, "1.00")
        answer = await service.post("/v1/coupons", body, key="k", Authorization="Bearer dba.secret")
        assert answer.code == "unauthorized"
        await ask(database, swapped)
        header = "Bearer authority-1.secret"
        answer = await service.post("/v1/coupons", body, key="k", Authorization=header)
        assert answer.status == 201
        assert (await service.entries())[-1].by == "authority-1"
    assert await verified(database, tmp_path) == []
