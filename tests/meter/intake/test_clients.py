"""Clients that go away, find the queue full, or meet a service that stops."""

import asyncio
import json
from base64 import b64decode

from prometheus_client.parser import text_string_to_metric_families as parse_metrics

from meter.host.waiting import MAX_QUEUE_BYTES
from meter.wire import dsse
from tests.books import ALPHA, PROGRAMME, coupon_of, signer
from tests.sequencing import CLIENTS, one, until_it_waits, until_queued, writer_held
from tests.services import Service, ask, check_sums, serving, stored


async def test_a_client_that_goes_away_before_its_answer_has_its_batch_stored_once(
    database, tmp_path
):
    async with serving(database, tmp_path) as service:
        await service.open_books()
        size = len(await stored(database))
        envelope = service.envelope(one("a"))
        async with writer_held(database):
            host, _, port = service.url.removeprefix("http://").partition(":")
            for _ in range(3):
                _, writer = await asyncio.open_connection(host, int(port))
                writer.write(
                    b"POST /v1/usage HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s"
                    % (len(envelope), envelope)
                )
                await writer.drain()
                await until_it_waits(database)
                await asyncio.sleep(0.05)
                writer.transport.abort()
        answer = await service.post("/v1/usage", envelope, None)
        assert answer.json["results"][0]["status"] == "accepted"
        assert len(await stored(database)) == size + 2
        (kept,) = await ask(database, "SELECT receipt FROM meter.batch")
        assert kept["receipt"] == answer.body
    await check_sums(database)


async def test_a_full_queue_is_503_busy_and_takes_more_when_it_has_room(database, tmp_path):
    async with serving(database, tmp_path) as service:
        await service.open_books()
        # JSON may be padded: 7.5 MiB each, of which 64 MiB hold eight.
        padding = " " * (5_900_000 - 1_000)
        envelopes = [service.envelope(one(f"s{n}"), stream=f"s{n}") for n in range(11)]
        padded = [padded_envelope(envelope, padding) for envelope in envelopes]
        assert 8 * len(padded[0]) < MAX_QUEUE_BYTES < 9 * len(padded[0])
        async with writer_held(database):
            posts = [asyncio.create_task(service.post("/v1/usage", padded[0], None))]
            await until_it_waits(database)
            posts += [
                asyncio.create_task(service.post("/v1/usage", each, None)) for each in padded[1:9]
            ]
            await until_queued(service, 8)
            for each in padded[9:]:
                answer = await service.post("/v1/usage", each, None)
                assert (answer.status, answer.code) == (503, "busy")
                assert answer.headers["Retry-After"] == "1"
            assert await queue_bytes(service) == 8 * len(padded[0])
        assert {answer.status for answer in await asyncio.gather(*posts)} == {200}
        for each in padded[9:]:
            assert (await service.post("/v1/usage", each, None)).status == 200
    state = await check_sums(database)
    assert len(state.records) == 11


async def queue_bytes(service: Service) -> float:
    text = (await service.get("/metrics")).body.decode()
    (family,) = (each for each in parse_metrics(text) if each.name == "kashi_queue_bytes")
    return family.samples[0].value


def padded_envelope(envelope: bytes, padding: str) -> bytes:
    payload = b64decode(json.loads(envelope)["payload"]) + padding.encode()
    return dsse.seal(dsse.BATCH_TYPE, payload, "pcl-1", signer("pcl-1"))


async def test_whatever_a_stopping_service_has_answered_is_stored(database, tmp_path):
    async with serving(database, tmp_path) as service:
        await service.open_books()
        posts = [
            asyncio.create_task(service.usage(one(f"s{n}"), stream=f"s{n}")) for n in range(CLIENTS)
        ]
        await asyncio.wait(posts, return_when=asyncio.FIRST_COMPLETED)
        await service.stop()
        await asyncio.wait(posts)
    answers = [task.result() for task in posts if task.exception() is None]
    answered = {answer.body for answer in answers if answer.status == 200}
    kept = {row["receipt"] for row in await ask(database, "SELECT receipt FROM meter.batch")}
    assert answered
    assert answered <= kept
    state = await check_sums(database)
    assert coupon_of(state, (ALPHA, PROGRAMME, 2025)).granted == 225 * len(kept)
