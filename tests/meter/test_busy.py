"""One caller holds up no other: expensive reads, public proofs and envelopes of nobody's.

Reads are held where they are by a lock on a table, so that nothing here depends on speed.
"""

import asyncio
import base64
import json
import socket
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
import pytest

from meter.api import post_usage, proofs
from meter.host import turns
from meter.host.turns import OFFICIAL, SUBJECT
from meter.wire import dsse
from tests.books import ALPHA, BETA, record, signer
from tests.services import (
    HOUR,
    Answer,
    Service,
    ask,
    authorization,
    enterprise_body,
    serving,
    until,
)

PATIENCE_SECONDS = 60
REFUSED = f"/v1/enterprises/{ALPHA}/refused"
ALLOWED = SUBJECT.running + SUBJECT.waiting


@asynccontextmanager
async def locked(service: Service, table: str) -> AsyncIterator[None]:
    """Keep whoever reads a table waiting meanwhile."""
    holder = await asyncpg.connect(service.dsn)
    try:
        async with holder.transaction():
            await holder.execute(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE")
            yield
    finally:
        await holder.close()


async def stuck(dsn: str) -> int:
    """Count the sessions that wait for a lock."""
    waiting = "datname = current_database() AND wait_event_type = 'Lock'"
    return len(await ask(dsn, f"SELECT pid FROM pg_stat_activity WHERE {waiting}"))


async def until_stuck(dsn: str, count: int) -> None:
    async def so_many() -> bool:
        return await stuck(dsn) == count

    await until(so_many)


async def outcomes(asked: list[asyncio.Task[Answer]]) -> Counter:
    answers = await asyncio.gather(*asked)
    return Counter(each.code if each.status >= 400 else each.status for each in answers)


async def test_64_reads_of_one_token_that_hang_keep_neither_official_nor_neighbour_waiting(
    database, tmp_path
):
    async with serving(database, tmp_path) as service:
        await service.open_books()
        await service.ask("/v1/enterprises", **enterprise_body(BETA))
        greedy = await authorization(service, "greedy", "enterprise", ALPHA)
        neighbour = await authorization(service, "neighbour", "enterprise", BETA)
        async with locked(service, "meter.refused"):
            hanging = [
                asyncio.create_task(service.get(REFUSED, Authorization=greedy)) for _ in range(64)
            ]
            await until_stuck(database, SUBJECT.running)
            async with asyncio.timeout(PATIENCE_SECONDS):
                for path in ("/v1/contracts/A", "/v1/pools", "/v1/entries"):
                    assert (await service.get(path)).status == 200
                own = await service.get(
                    f"/v1/enterprises/{BETA}/contracts", Authorization=neighbour
                )
                assert own.status == 200
                assert (await service.usage([record("r", "A", *HOUR, 1_000)])).status == 200
                assert (await service.get("/readyz")).status == 200
            assert await stuck(database) == SUBJECT.running
        assert await outcomes(hanging) == {200: 64}


async def test_officials_that_hang_keep_no_enterprise_and_no_further_token_waiting(
    database, tmp_path
):
    async with serving(database, tmp_path) as service:
        await service.open_books()
        firm = await authorization(service, "firm", "enterprise", ALPHA)
        officials = [await authorization(service, f"clerk-{n}", "authority") for n in range(3)]
        async with locked(service, "meter.refused"):
            hanging = [
                asyncio.create_task(service.get(REFUSED, Authorization=each))
                for each in officials
                for _ in range(4)
            ]
            await until_stuck(database, OFFICIAL.seats)
            path = f"/v1/enterprises/{ALPHA}/contracts"
            assert (await service.get(path, Authorization=firm)).status == 200
            assert (await service.get(path, Authorization="Bearer nobody.x")).status == 401
        assert await outcomes(hanging) == {200: 12}


async def test_what_was_sent_to_a_token_s_targets_is_read_in_turns_too(database, tmp_path):
    async with serving(database, tmp_path) as service:
        await service.open_books()
        greedy = await authorization(service, "greedy", "enterprise", ALPHA)
        async with locked(service, "meter.alert_attempt"):
            hanging = [
                asyncio.create_task(service.get("/v1/alerts", Authorization=greedy))
                for _ in range(32)
            ]
            await until_stuck(database, SUBJECT.running)
            async with asyncio.timeout(PATIENCE_SECONDS):
                assert (await service.get("/v1/pools")).status == 200
            assert await stuck(database) == SUBJECT.running
        assert await outcomes(hanging) == {200: 32}


async def test_a_token_with_too_much_waiting_is_busy_and_says_so(database, tmp_path):
    async with serving(database, tmp_path) as service:
        await service.open_books()
        greedy = await authorization(service, "greedy", "enterprise", ALPHA)
        async with locked(service, "meter.refused"):
            hanging = [
                asyncio.create_task(service.get(REFUSED, Authorization=greedy))
                for _ in range(ALLOWED + 10)
            ]
            done, waiting = await asyncio.wait(
                hanging, timeout=PATIENCE_SECONDS, return_when=asyncio.FIRST_COMPLETED
            )
            assert done
            assert waiting
        answers = await asyncio.gather(*hanging)
        busy = [each for each in answers if each.status != 200]
        assert {(each.code, each.headers["Retry-After"]) for each in busy} == {("busy", "1")}
        assert len(busy) == 10


async def test_work_ends_when_its_client_has_gone(database, tmp_path):
    async with serving(database, tmp_path) as service:
        await service.open_books()
        firm = await authorization(service, "firm", "enterprise", ALPHA)
        async with locked(service, "meter.refused"):
            gone = [asyncio.create_task(service.get(REFUSED, Authorization=firm)) for _ in range(8)]
            await until_stuck(database, SUBJECT.running)
            for each in gone:
                each.cancel()  # closes its connection
            await asyncio.gather(*gone, return_exceptions=True)
            await until_stuck(database, 0)
            # Nobody is left before this one.
            path = f"/v1/enterprises/{ALPHA}/contracts"
            assert (await service.get(path, Authorization=firm)).status == 200


async def insist(service: Service, batch: bytes) -> Answer:
    """Post a batch, again where that is asked for, as a provider does."""
    answer = await service.post("/v1/usage", batch, None)
    while answer.status == 503:
        answer = await service.post("/v1/usage", batch, None)
    return answer


async def test_a_batch_whose_client_has_gone_is_committed_all_the_same(database, tmp_path):
    async with serving(database, tmp_path) as service:
        await service.open_books()
        batch = service.envelope([record("r", "A", *HOUR, 1_000)])
        await service.published()  # who publishes reads that table too
        async with locked(service, "meter.batch"):
            gone = asyncio.create_task(insist(service, batch))
            await until_stuck(database, 1)
            gone.cancel()
            await asyncio.gather(gone, return_exceptions=True)
        answer = await insist(service, batch)
        assert [each["status"] for each in answer.json["results"]] == ["accepted"]
        entries = await service.entries()
        assert [each.kind for each in entries].count("batch") == 1


async def unread(service: Service, path: str, token: str) -> asyncio.StreamWriter:
    """Ask on a connection whose answer nobody reads, beyond what the kernel keeps."""
    host, port = service.url.removeprefix("http://").split(":")
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    client.setblocking(False)
    await asyncio.get_running_loop().sock_connect(client, (host, int(port)))
    _, writer = await asyncio.open_connection(sock=client, limit=1_024)
    head = f"GET {path} HTTP/1.1\r\nHost: a\r\nAuthorization: {token}\r\n\r\n"
    writer.write(head.encode())
    return writer


async def test_large_responses_that_nobody_reads_are_few_in_memory(database, tmp_path, monkeypatch):
    monkeypatch.setattr(turns, "WAIT_SECONDS", 1.0)
    async with serving(database, tmp_path) as service:
        await service.open_books()
        greedy = await authorization(service, "greedy", "provider", "pcl")
        neighbour = await authorization(service, "neighbour", "provider", "pcl")
        small = json.loads(service.envelope([record("r", "A", *HOUR, 1_000)]))
        payload = base64.b64decode(small["payload"]) + b" " * 5_900_000
        batch = dsse.seal(dsse.BATCH_TYPE, payload, "pcl-1", signer("pcl-1"))
        receipt = await service.post("/v1/usage", batch, None)
        path = f"/v1/batches/{receipt.json['batch']}/envelope"
        writers = [await unread(service, path, greedy) for _ in range(turns.LARGE_RESPONSES)]

        async def are_held() -> bool:
            return (await service.get(path, Authorization=greedy)).status == 503

        await until(are_held)
        answer = await service.get(path, Authorization=greedy)
        assert (answer.code, answer.headers["Retry-After"]) == ("busy", "1")
        assert (await service.get(path, Authorization=neighbour)).body == batch
        own = "/v1/providers/pcl/streams"
        assert (await service.get(own, Authorization=greedy)).status == 200
        for writer in writers:
            writer.transport.abort()

        async def are_gone() -> bool:
            return (await service.get(path, Authorization=greedy)).status == 200

        await until(are_gone)


# Envelopes of nobody's


def forged(service: Service, seq: int = 1) -> bytes:
    """Return an envelope that a registered key seems to have signed."""
    real = service.envelope([record("r", "A", *HOUR, 1_000)], seq=seq)
    payload = base64.b64encode(b'{"log":"other"}')
    return real[: real.index(b'"payload":"') + 11] + payload + real[real.index(b'","signatures') :]


async def spent_on(service: Service, work: str) -> float:
    text = (await service.get("/metrics")).body.decode()
    name = f'kashi_anonymous_seconds_total{{work="{work}"}} '
    found = [line.removeprefix(name) for line in text.splitlines() if line.startswith(name)]
    return float(found[0]) if found else 0.0


@pytest.fixture
def no_credit(monkeypatch) -> None:
    """Let the first envelope and the first proof of nobody's use up the share for ever."""
    monkeypatch.setattr(post_usage, "ENVELOPES_SHARE", 1e-9)
    monkeypatch.setattr(post_usage, "ENVELOPES_CREDIT_SECONDS", 0.0)
    monkeypatch.setattr(proofs, "PUBLIC_SHARE", 1e-9)
    monkeypatch.setattr(proofs, "PUBLIC_CREDIT_SECONDS", 0.0)


@pytest.mark.usefixtures("no_credit")
async def test_envelopes_of_nobodys_have_a_share_and_those_with_a_token_are_taken_beyond_it(
    database, tmp_path
):
    async with serving(database, tmp_path) as service:
        await service.open_books()
        mine = await authorization(service, "pcl-reporter", "provider", "pcl")
        other = await authorization(service, "other", "provider", "pcl")

        async def send(body: bytes, token: str = "") -> Answer:
            return await service.post("/v1/usage", body, None, Authorization=token)

        good = [service.envelope([record(f"r{n}", "A", *HOUR, 1)], seq=n) for n in range(1, 5)]
        assert (await send(good[0])).status == 200  # good ones cost nothing
        assert await spent_on(service, "envelope") == 0
        assert (await send(forged(service))).code == "bad_signature"
        assert await spent_on(service, "envelope") > 0
        for body in (forged(service), good[1]):
            for token in ("", "Bearer nobody.x", "nonsense"):
                answer = await send(body, token)
                assert (answer.code, answer.headers["Retry-After"]) == ("busy", "1")
        assert (await send(good[1], mine)).status == 200
        assert (await send(good[2], mine)).status == 200
        # Whoever sends bad ones with a token uses up its own.
        before = await spent_on(service, "envelope")
        assert (await send(forged(service), mine)).code == "bad_signature"
        assert (await send(good[3], mine)).code == "busy"
        assert await spent_on(service, "envelope") == before
        assert (await send(good[3], other)).status == 200


@pytest.mark.usefixtures("no_credit")
async def test_public_proofs_have_a_share_and_a_providers_own_are_made_beyond_it(
    database, tmp_path
):
    async with serving(database, tmp_path) as service:
        await service.open_books()
        receipt = await service.usage([record("r", "A", *HOUR, 1)])
        await service.published()
        assert (await service.get("/v1/entries/1/proof")).status == 200
        assert await spent_on(service, "proof") > 0
        answer = await service.get("/v1/entries/1/proof")
        assert (answer.code, answer.headers["Retry-After"]) == ("busy", "1")
        own = await authorization(service, "pcl-1", "provider", "pcl")
        path = f"/v1/batches/{receipt.json['batch']}/proof"
        assert (await service.get(path, Authorization=own)).status == 200
