"""The worst bodies that fit: they are refused in bounded memory, while others are served."""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from meter.wire import dsse
from meter.wire.batch import MAX_BATCH_BYTES, MAX_BATCH_ITEMS
from tests.attacking import Raw, apart, at_once, outcomes, post_head
from tests.books import record, signer
from tests.services import HOUR, ORIGIN, Service, authorization, check_sums

# The memory that the service may take during any of the attacks below: some 60 MiB of its own, 64
# MiB of arriving bodies, one unfolded worst body (some 130 MiB), and half a MiB for each of the
# largest heads.
MAX_MEMORY_MIB = 400


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
