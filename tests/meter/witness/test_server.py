"""A witness over HTTP, as the protocol says."""

import asyncio
import contextlib
import re
from pathlib import Path
from typing import get_args

import aiohttp
import pytest
from prometheus_client.parser import text_string_to_metric_families

from ledger.note import Signer
from ledger.witnessing import MAX_REQUEST_BYTES, monitoring_path
from meter.http import bodies
from meter.publish.witnesses import Code
from meter.witness import server as witness_server
from meter.witness.witness import MAX_EVIDENCE, trust
from tests.ledger.example import TIME
from tests.witnesses import FORK, LOG, OTHER, PAGE, Reply, asked, fetch, note, served, size_in

# Over HTTP

PLAIN = "text/plain; charset=utf-8"


async def test_it_answers_as_the_protocol_says(folder):
    async with served(folder) as url:
        shown = f"{url}/{monitoring_path(LOG.name)}"
        assert (await fetch(shown)).status == 404
        good = await fetch(f"{url}/add-checkpoint", asked(0, 9))
        assert (good.status, good.type) == (200, PLAIN)
        latest = await fetch(shown)
        assert (latest.status, latest.type) == (200, PLAIN)
        assert latest.text == note(9).decode() + good.text
        for body, expected in (
            (asked(5, 12), Reply(409, "text/x.tlog.size", "9\n")),
            (
                asked(9, 9, FORK),
                Reply(422, PLAIN, "another root of 9 entries has been signed\n"),
            ),
            (asked(9, 4), Reply(400, PLAIN, "old 9 is larger than 4\n")),
        ):
            assert await fetch(f"{url}/add-checkpoint", body) == expected
        assert (await fetch(f"{url}/add-checkpoint", asked(0, 9, signer=OTHER))).status == 404
        assert (await fetch(f"{url}/add-checkpoint", asked(9, 12, FORK))).status == 422
        assert (await fetch(shown)).text == latest.text
        assert (await fetch(f"{url}/healthz")).status == 200
        assert (await fetch(f"{url}/{'0' * 64}/checkpoint")).status == 404
        assert (await fetch(f"{url}/add-checkpoint")).status == 405


async def test_its_metrics_say_what_it_answered_and_signed(folder):
    trust(folder, Signer.from_seed('a"b\\n', bytes(32)).verifier.format())
    async with served(folder) as url:
        for body in (asked(0, 9), asked(9, 9, FORK), asked(9, 9, FORK), b"x"):
            await fetch(f"{url}/add-checkpoint", body)
        text = (await fetch(f"{url}/metrics")).text
    found = {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
    assert found == {
        ("kashi_witness_answers_total", "cosigned"): 1,
        ("kashi_witness_answers_total", "fork"): 2,
        ("kashi_witness_answers_total", "malformed"): 1,
        ("kashi_witness_evidence", LOG.name, "fork"): 1,
        ("kashi_witness_evidence", LOG.name, "unproved"): 0,
        ("kashi_witness_evidence", 'a"b\\n', "fork"): 0,
        ("kashi_witness_evidence", 'a"b\\n', "unproved"): 0,
        ("kashi_witness_entries", LOG.name): 9,
        ("kashi_witness_signed_timestamp_seconds", LOG.name): TIME,
    }


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"old",
        b"old 0\n\n",
        b"{}",
        b"\xff" * 100,
        asked(0, 3)[:-1],
        asked(0, 3).replace(b"old 0", b"old 00"),
        asked(0, 3).replace(b"old 0\n", b"old 0\n" + b"A" * 44 + b"\n"),
        asked(0, 3).replace(b"\n", b"\r\n"),
        b"old 0\n" + b"\n".join([b"A" * 43 + b"="] * 64) + b"\n\n" + note(3),
    ],
)
async def test_a_malformed_request_is_refused_and_changes_nothing(folder, body):
    async with served(folder) as url:
        reply = await fetch(f"{url}/add-checkpoint", body)
        assert (reply.status, reply.type) == (400, PLAIN)
        assert "Traceback" not in reply.text
    assert size_in(folder) == 0


async def test_a_body_is_limited_in_size_in_time_and_to_its_own_bytes(folder, monkeypatch):
    async with served(folder) as url:
        assert (await fetch(f"{url}/add-checkpoint", bytes(MAX_REQUEST_BYTES + 1))).status == 413
        squeezed = await fetch(f"{url}/add-checkpoint", asked(0, 3), **{"Content-Encoding": "gzip"})
        # The encoding header does not matter: the bytes are taken as they are.
        assert squeezed.status == 200
        head = b"POST /add-checkpoint HTTP/1.1\r\nHost: x\r\nContent-Length: 500\r\n\r\n"
        with monkeypatch.context() as patient_for:
            patient_for.setattr(bodies, "BODY_SECONDS", 0.1)
            assert (await raw(url, head + b"old 0\n")).startswith(b"HTTP/1.1 408 ")
        assert (await raw(url, b"\x00\x01 nonsense\r\n\r\n")).startswith(b"HTTP/1.0 400 ")
        assert (await fetch(f"{url}/add-checkpoint", asked(3, 4))).status == 200


async def raw(url: str, data: bytes) -> bytes:
    """Send bytes that no client would, and read the first answer."""
    host, port = url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(data)
    answer = await reader.read(1_000)
    writer.close()
    return answer


async def test_more_connections_than_there_is_room_for_are_cut_off(folder, monkeypatch):
    monkeypatch.setattr(witness_server, "MAX_CONNECTIONS", 3)
    async with served(folder) as url:
        host, port = url.removeprefix("http://").split(":")
        idle = [await asyncio.open_connection(host, int(port)) for _ in range(3)]
        with pytest.raises(aiohttp.ClientConnectionError):
            await fetch(f"{url}/healthz")
        idle[0][1].close()
        await idle[0][1].wait_closed()
        for _ in range(100):
            with contextlib.suppress(aiohttp.ClientConnectionError):
                assert (await fetch(f"{url}/healthz")).status == 200
                break
            await asyncio.sleep(0.01)
        else:
            raise AssertionError("the room of a connection that ended was not given to another")
        for _, writer in idle:
            writer.close()


async def test_a_disk_that_fails_is_an_answer_that_asks_to_come_again(folder):
    async with served(folder) as url:
        await fetch(f"{url}/add-checkpoint", asked(0, 4))
        home = (folder / monitoring_path(LOG.name)).parent
        home.rename(folder / "away")
        reply = await fetch(f"{url}/add-checkpoint", asked(4, 9))
        assert (reply.status, reply.text) == (503, "the witness cannot write; try again\n")
        (folder / "away").rename(home)
        assert (await fetch(f"{url}/add-checkpoint", asked(4, 9))).status == 200


# Its page


def test_the_page_about_witnesses_names_the_limits_metrics_and_failures_that_there_are():
    page = PAGE.read_text()
    named = {f"{MAX_REQUEST_BYTES:,} bytes", f"{bodies.BODY_SECONDS:g} s", f"{MAX_EVIDENCE:,} file"}
    named |= {f"`{code}`" for code in get_args(Code)}
    assert {each for each in named if each not in page} == set()
    source = Path(__file__).read_text()
    metrics = re.compile(r"kashi_witness_\w+")
    assert {*metrics.findall(page)} == {*metrics.findall(source)}
