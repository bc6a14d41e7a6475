"""Fronts: several processes at one port, one leader, and nothing lost by any that dies."""

import asyncio
import os
import random
import signal
import time
from contextlib import suppress
from pathlib import Path

import aiohttp
import pytest

from tests.books import PROGRAMME, lifted, record, void
from tests.commands import only_line, started
from tests.fronts import Fronted, children, fronted
from tests.services import HOUR, Service, ask, authorization, check_sums, key_body, serving, until


async def post_until_taken(service: Service, seq: int, stream: str, *records, voids=()) -> bytes:
    """Post a batch as a provider does, again until it has a receipt; return the receipt."""
    envelope = service.envelope(records, voids, seq=seq, stream=stream)
    async with asyncio.timeout(60):
        while True:
            with suppress(aiohttp.ClientError):
                answer = await service.post("/v1/usage", envelope, None)
                if answer.status == 200:
                    return answer.body
                assert answer.status == 503, answer.body
                assert answer.headers["Retry-After"] == "1"
            await asyncio.sleep(0.01)


Receipts = dict[tuple[str, int], bytes]  # by stream and number


async def load(service: Service, streams: int, ended: asyncio.Event) -> Receipts:
    """Post all the time, by several clients; return each receipt."""
    receipts = {}

    async def client(stream: str) -> None:
        seq = 0
        while not ended.is_set():
            seq += 1
            one = record(f"{stream}:{seq}", "A", *HOUR, 1)
            receipts[stream, seq] = await post_until_taken(service, seq, stream, one)

    await asyncio.gather(*(client(f"s{n}") for n in range(streams)))
    return receipts


async def check(service: Fronted, receipts: Receipts) -> None:
    """Everything that was acknowledged is there, once, and decided as the audit decides it."""
    for (stream, seq), receipt in receipts.items():
        one = record(f"{stream}:{seq}", "A", *HOUR, 1)
        assert await post_until_taken(service, seq, stream, one) == receipt
    await service.stop()
    state = await check_sums(service.dsn)
    assert len(state.records) == len(receipts) > 0


async def test_a_question_after_an_answer_includes_it_at_every_front(database, tmp_path):
    async with fronted(database, tmp_path) as service:
        first, second = service.fronts
        async with service.at(first) as one, service.at(second) as other:
            await one.open_books(lifted())
            for seq in range(1, 30):
                asked, told = (one, other) if seq % 2 else (other, one)
                answer = await asked.usage([record(f"r{seq}", "A", *HOUR, 1_000)], seq=seq)
                assert answer.status == 200
                assert (await told.balance())["granted"] == f"{seq * 225 / 100:.2f}"
                proof = await told.get(f"/v1/entries/{answer.json['entries']['first']}/proof")
                assert proof.code == "not_published" if proof.status != 200 else True
            # A key, a token and its end count at once, wherever they are used.
            for n in range(10):
                asked, told = (one, other) if n % 2 else (other, one)
                await asked.ask("/v1/providers/pcl/keys", **key_body(f"key-{n}"))
                used = await told.usage(seq=1, stream=f"k{n}", keyid=f"key-{n}")
                assert used.status == 200, used.body
                name = f"reader-{n}"
                token = await authorization(asked, name, "authority")
                assert (await told.get("/v1/pools", Authorization=token)).status == 200
                await asked.ask(f"/v1/tokens/{name}/end")
                assert (await told.get("/v1/pools", Authorization=token)).code == "unauthorized"
        await service.stop()
    await check_sums(database)


@pytest.mark.long
async def test_a_front_that_is_killed_loses_nothing_that_was_acknowledged(database, tmp_path):
    async with fronted(database, tmp_path) as service:
        await service.open_books(lifted())
        ended = asyncio.Event()
        loading = asyncio.create_task(load(service, 4, ended))
        for _ in range(2):
            await asyncio.sleep(0.3)
            await service.kill(random.choice(service.fronts))
        ended.set()
        assert (service.lines("process_killed"), len(service.fronts)) == (2, 2)
        await check(service, await loading)


@pytest.mark.long
async def test_fronts_say_503_while_the_leader_is_away_and_go_on_with_the_next(database, tmp_path):
    async with fronted(database, tmp_path) as service:
        await service.open_books(lifted())
        first, second = service.fronts
        ended = asyncio.Event()
        loading = asyncio.create_task(load(service, 4, ended))
        for _ in range(2):
            await asyncio.sleep(0.3)
            leader = service.leader
            async with service.at(first) as one, service.at(second) as other:
                os.kill(leader, signal.SIGKILL)
                refused = [await each.usage(seq=9, stream="away") for each in (one, other)]
                assert [each.code for each in refused] == ["unavailable"] * 2
                assert {each.headers["Retry-After"] for each in refused} == {"1"}
                ready = await one.get("/readyz")
                assert ready.code == "unavailable"
                # Questions are answered from what is committed.
                assert (await other.get("/v1/pools")).status == 200

                async def is_back(asked=(one, other)) -> bool:
                    return {(await each.get("/readyz")).status for each in asked} == {200}

                await until(is_back)
        ended.set()
        assert sorted(service.fronts) == sorted((first, second))
        await check(service, await loading)


async def test_events_at_a_front_go_on_while_leaders_change(database, tmp_path):
    async with fronted(database, tmp_path) as service:
        await service.open_books(lifted())
        first, second = service.fronts
        async with service.at(first) as one, service.at(second) as other:
            reading = one.http.get(
                f"{one.url}/v1/events", headers={"Last-Event-ID": "-1"}, timeout=None
            )
            async with reading as stream:

                async def sees(word: bytes) -> None:
                    async with asyncio.timeout(20):
                        while word not in await stream.content.readline():
                            pass

                await sees(b"coupon")
                await other.usage([record("r1", "A", *HOUR, 1)])
                await sees(b'"kind":"usage"')
                await service.kill(service.leader)
                await post_until_taken(other, 2, "main", record("r2", "A", *HOUR, 1))
                await sees(b'"kind":"usage"')


async def test_fronts_decide_as_a_service_of_one_process_does(database, tmp_path):
    many = [record(f"c{n}", "A", *HOUR, n * 1_000) | {"final": n > 9} for n in range(99)]
    histories = [
        ([record("a", "A", *HOUR, 64_000) | {"run": "slurm:1", "state": "RUNNING"}], []),
        ([record("a", "A", *HOUR, 64_000), record("a", "A", *HOUR, 1)], []),
        (many, [void("a")]),
        ([record("b", "B", *HOUR, 1)], []),
        ([record("d", "A", *HOUR, -5)], [void("a"), void("none")]),
    ]

    async def results(service: Service) -> list:
        await service.open_books(lifted())
        answers = [
            await service.usage(records, voids, seq=seq)
            for seq, (records, voids) in enumerate(histories, 1)
        ]
        assert {answer.status for answer in answers} == {200}
        return [answer.json["results"] for answer in answers]

    async with fronted(None, tmp_path / "by fronts", 1) as service:
        by_fronts = await results(service)
    async with serving(database, tmp_path / "alone") as service:
        assert await results(service) == by_fronts


async def test_all_processes_end_with_the_keeper_and_with_a_ledger_that_was_taken_over(
    database, tmp_path
):
    async with fronted(database, tmp_path) as service:
        parts = children(service.keeper.pid)
        assert len(parts) == 3
        service.keeper.send_signal(signal.SIGUSR1)

        async def is_confirmed() -> bool:
            return service.lines("clock_confirmed") == 3

        await until(is_confirmed)
        service.keeper.kill()
        await service.keeper.wait()

        async def are_gone() -> bool:
            return not any(Path(f"/proc/{pid}").exists() for pid in parts)

        await until(are_gone)
    async with fronted(database, tmp_path, 1) as service:
        await ask(database, "UPDATE ledger.head SET epoch = epoch + 1")
        body = {"programme": PROGRAMME, "version": "2024-12"}
        assert (await service.post("/v1/policies", body)).code == "unavailable"
        assert await service.keeper.wait() == 1
        assert service.lines("epoch_lost") == 1


async def test_the_metrics_are_those_of_all_processes(database, tmp_path):
    async with fronted(database, tmp_path, 2, "--metrics-port", 0) as service:
        own = (await service.keeper.stdout.readline()).decode().split()[-1]
        await service.open_books(lifted())
        first, second = service.fronts
        for front in (first, second):
            async with service.at(front) as asked:
                await asked.post("/v1/usage", b"{}", None)
                await asked.usage(seq=1, stream=f"s{front}")

        async def told(url: str) -> dict[str, str]:
            async with service.http.get(url) as answer:
                text = await answer.text()
            lines = (line.rpartition(" ") for line in text.splitlines() if line[:1] != "#")
            return {name: value for name, _, value in lines}

        for _ in range(2):
            for url in (f"{service.url}/metrics", own):
                found = await told(url)
                assert found['kashi_batches_total{outcome="bad_envelope"}'] == "2.0"
                assert found['kashi_batches_total{outcome="ok"}'] == "2.0"
                assert found["kashi_ready"] == "1.0"
                assert ("kashi_pool_fen" in str(found)) == (url == own)
            # What a front had counted stays when it goes.
            await service.kill(second)
            second = service.fronts[-1]


async def test_a_second_service_at_the_port_is_refused(database, tmp_path):
    async with fronted(database, tmp_path) as service:
        port = service.url.rpartition(":")[2]
        words = ("serve", "--data", service.folder.path, "--fronts", 1, "--port", port)
        second = started(database, *words)
        out, errors = await asyncio.to_thread(second.communicate)
        assert (second.returncode, out) == (1, "")
        assert "ddress already in use" in only_line(errors)
        assert (await service.get("/readyz")).status == 200


async def test_a_start_that_is_refused_ends_with_one_line(database, tmp_path):
    async with fronted(database, tmp_path) as service:
        pass
    service.folder.receipt_key.unlink()
    refused = started(database, "serve", "--data", service.folder.path, "--fronts", 1, "--port", 0)
    began = time.monotonic()
    out, errors = await asyncio.to_thread(refused.communicate)
    assert (refused.returncode, out) == (1, "")
    assert only_line(errors).startswith(("kashi: wrong_keys: ", "kashi: wrong_clock: "))
    assert time.monotonic() - began < 60
