"""Encodings and lengths of bodies: what is compressed, stands twice, or is longer than it says."""

import asyncio
import re
import socket
import zlib

import pytest

from meter.api.app import ONCE, ROUTES
from meter.api.post import MAX_COMMAND_BYTES
from meter.wire.batch import MAX_BATCH_BYTES
from tests.attacking import PATIENCE_SECONDS, Raw, apart, chunk, code_of, post_head
from tests.services import Service, serving


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
