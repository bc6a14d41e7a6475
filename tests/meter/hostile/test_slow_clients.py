"""Slow clients, and many: they keep nobody from being served, and are closed."""

import asyncio
import contextlib
from collections import Counter

import pytest

from meter.http import bodies, connections
from tests.attacking import PATIENCE_SECONDS, Raw, at_once, chunk, code_of, outcomes, post_head
from tests.books import record
from tests.services import HOUR, Service, check_sums, serving


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
