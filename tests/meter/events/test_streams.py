"""Streams of events: live, resumed, cut off and ended, and how many a token may have."""

import asyncio
import contextlib
import itertools
import random
import re
import socket
from urllib.parse import urlsplit

import pytest

from meter.api import events as edge
from meter.api import streams
from meter.host.data_folder import DATABASE_VARIABLE
from meter.service import admin as services
from meter.tables import write as tables_write
from tests.books import ALPHA, BETA, record
from tests.listening import (
    Heard,
    heard_all,
    listening,
    more_past,
    random_past,
    replay,
    some_record,
    token,
    tokens,
    until,
)
from tests.services import HOUR, serving

# Live


async def test_open_streams_see_each_event_once_and_in_order_while_usage_is_posted(
    database, tmp_path
):
    async with serving(database, tmp_path) as service:
        await random_past(service, 2)
        known = await tokens(service)
        begun = str(service.intake.watermark.size - 1)
        async with contextlib.AsyncExitStack() as stack:
            live = {
                name: [await stack.enter_async_context(listening(service, text)) for _ in range(2)]
                for name, text in known.items()
            }
            chance = random.Random(5)
            batches = {
                seq: [some_record(chance, f"live{seq}-{i}", "ABX") for i in range(3)]
                for seq in range(100, 160)
            }
            posts = (service.usage(made, seq=seq) for seq, made in batches.items())
            _, *answers = await asyncio.gather(more_past(service, chance, 10, 10), *posts)
            assert {answer.status for answer in answers} == {200}
            for heard in itertools.chain(*live.values()):
                await heard_all(service, heard)
        for name, text in known.items():
            expected = (await replay(service, text, begun)).events
            assert [heard.events for heard in live[name]] == [expected] * 2
            assert expected


async def test_nothing_is_told_before_it_is_committed(database, tmp_path, monkeypatch):
    async with serving(database, tmp_path) as service:
        await service.open_books()
        alpha = await token(service, "alpha", "enterprise", ALPHA)
        write, held, may_end = tables_write.write, asyncio.Event(), asyncio.Event()

        async def slow(*arguments):
            opened = await write(*arguments)
            held.set()
            await may_end.wait()
            return opened

        monkeypatch.setattr(tables_write, "write", slow)
        async with listening(service, alpha) as heard:
            posting = asyncio.create_task(service.usage([record("r1", "A", *HOUR, 1_000)]))
            await held.wait()
            blocks = heard.blocks
            await until(lambda: heard.blocks > blocks + 2)  # heartbeats
            assert heard.events == []
            may_end.set()
            await posting
            await heard_all(service, heard)
        assert len(heard.named("record.accepted")) == 1


async def test_a_heartbeat_tells_the_place_though_all_is_foreign(database, tmp_path):
    async with serving(database, tmp_path) as service:
        await service.open_books()
        beta = await token(service, "beta", "enterprise", BETA)
        async with listening(service, beta) as heard:
            await service.usage([record("r1", "A", *HOUR, 1_000)])
            await heard_all(service, heard)
        assert heard.events == []


async def test_a_stream_goes_on_after_a_restart_with_what_was_missed(database, tmp_path):
    heard = Heard()
    async with serving(database, tmp_path) as service:
        await service.open_books()
        alpha = await token(service, "alpha", "enterprise", ALPHA)
        async with listening(service, alpha, heard=heard):
            await service.usage([record("r1", "A", *HOUR, 1_000)])
            await heard_all(service, heard)
            async with asyncio.timeout(3):  # an open stream does not hold up the end
                await service.stop()
    async with serving(database, tmp_path) as service:
        await service.usage([record("r2", "A", *HOUR, 1_000)], seq=2)
        async with listening(service, alpha, heard.last_id, heard):
            await service.usage([record("r3", "A", *HOUR, 1_000)], seq=3)
            await heard_all(service, heard)
        whole = await replay(service, alpha)
    assert [each["record"] for each in heard.named("record.accepted")] == ["r1", "r2", "r3"]
    assert heard.events == whole.events[-len(heard.events) :]


async def test_a_reader_that_does_not_read_is_cut_off_and_can_resume(
    database, tmp_path, monkeypatch
):
    monkeypatch.setattr(edge, "WRITE_SECONDS", 0.3)
    async with serving(database, tmp_path) as service:
        await service.open_books()
        alpha = await token(service, "alpha", "enterprise", ALPHA)
        made = [record(f"r{n}", "A", *HOUR, 1) for n in range(3_000)]
        await service.usage(made)
        with socket.socket() as slow:
            slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
            slow.connect((urlsplit(service.url).hostname, urlsplit(service.url).port))
            head = f"GET /v1/events?after=-1 HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {alpha}"
            slow.sendall(f"{head}\r\n\r\n".encode())
            await until_streams(service, 1)
            await until_streams(service, 0)
            slow.setblocking(True)
            got = b""
            with contextlib.suppress(ConnectionError):
                while piece := await asyncio.to_thread(slow.recv, 65_536):
                    got += piece
        assert len(got) < 400_000
        whole = await replay(service, alpha)
        assert len(whole.named("record.accepted")) == 3_000
        seen = re.findall(rb"^id: ([0-9.]+)\nevent: ", got, re.MULTILINE)
        last = seen[-2].decode()  # the very last may be cut in the middle
        rest = await replay(service, alpha, last)
        assert rest.events == whole.events[whole.ids.index(last) + 1 :]


async def until_streams(service, count: int) -> None:
    line = f"\nkashi_event_streams {count}.0\n".encode()
    async with asyncio.timeout(10):
        while line not in (await service.get("/metrics")).body:  # noqa: ASYNC110 - tells if asked
            await asyncio.sleep(0.02)


# Who, and how many


async def test_a_token_may_have_only_so_many_streams_open(database, tmp_path, monkeypatch):
    monkeypatch.setattr(streams, "MAX_STREAMS_PER_TOKEN", 2)
    monkeypatch.setattr(streams, "MAX_STREAMS", 3)
    async with serving(database, tmp_path) as service:
        await service.open_books()
        alpha = await token(service, "alpha", "enterprise", ALPHA)
        audit = await token(service, "audit", "auditor")
        async with listening(service, alpha), listening(service, alpha):
            answer = await service.get("/v1/events", Authorization=f"Bearer {alpha}")
            assert (answer.status, answer.code) == (503, "busy")
            async with listening(service, audit):
                assert (await service.get("/v1/events")).code == "busy"  # too many of all
        await until_streams(service, 0)
        async with listening(service, alpha):
            pass


async def test_a_stream_ends_with_its_token(database, tmp_path, monkeypatch):
    async with serving(database, tmp_path) as service:
        await service.open_books()
        alpha = await token(service, "alpha", "enterprise", ALPHA)
        async with listening(service, alpha) as heard:
            await until(lambda: heard.blocks > 2)
            monkeypatch.setenv(DATABASE_VARIABLE, database)
            await services.revoke_token(service.folder, "alpha")
            await until_streams(service, 0)
        answer = await service.get("/v1/events", Authorization=f"Bearer {alpha}")
        assert answer.code == "unauthorized"


@pytest.mark.parametrize("after", ["x", "1.x", "99999", "-2"])
async def test_a_place_that_the_ledger_does_not_have_is_refused(database, tmp_path, after):
    async with serving(database, tmp_path) as service:
        assert (await service.get(f"/v1/events?after={after}")).code == "malformed"
        assert (await service.get("/v1/events", Last_Event_ID=after)).code == "malformed"


async def test_a_head_request_does_not_wait_for_events(database, tmp_path):
    async with serving(database, tmp_path) as service, asyncio.timeout(3):
        answer = await service.send("HEAD", "/v1/events")
        assert (answer.status, answer.body) == (200, b"")
        assert answer.headers["Content-Type"] == "text/event-stream"
