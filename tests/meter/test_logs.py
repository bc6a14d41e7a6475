"""Logs: an event for each question of an operator, and never a secret."""

import asyncio
import base64
import contextlib
import io
import json
import logging
from types import SimpleNamespace
from urllib.parse import urlsplit

import pytest

from ledger import store as ledger_store
from meter import intake
from meter.host import logs
from meter.tables import connections
from meter.tables import write as tables_write
from meter.wire.dsse import ReceiptSigner
from tests.books import record, signer
from tests.services import HOUR, address_of, serving

USAGE = [record("r1", "A", *HOUR, 64_000)]
SECRET = "geheim-0815"


class Log(io.StringIO):
    @property
    def events(self) -> list[dict]:
        return [json.loads(line) for line in self.getvalue().splitlines()]

    def named(self, name: str) -> list[dict]:
        return [each for each in self.events if each["event"] == name]


@pytest.fixture
def log():
    """Collect what is logged, at every level."""
    stream = Log()
    with logs.write_to(stream, "DEBUG"):
        yield stream


# Logged


async def test_a_group_is_told_with_its_entries_and_batches(database, tmp_path, log):
    async with serving(database, tmp_path) as service:
        await service.open_books()
        answer = await service.usage(USAGE)
    receipt = answer.json
    group = log.named("group")[-1]
    assert (group["first"], group["count"], group["submissions"]) == (7, 2, 1)
    assert group["batches"] == {str(receipt["entries"]["first"]): receipt["batch"]}
    assert 0 < group["ms"] < 10_000
    assert (group["level"], group["logger"]) == ("info", "meter.intake")
    assert group["time"].endswith("Z")
    assert sum(each["count"] for each in log.named("group")) == 8
    assert [each["size"] for each in log.named("started") + log.named("stopping")] == [1, 9]


async def test_a_group_tells_how_long_it_took_and_one_without_entries_is_told_to_who_asks_for_all(
    database, tmp_path, log, monkeypatch
):
    async with serving(database, tmp_path) as service:
        await service.open_books()
        times = iter([100.0, 112.34567])
        clock = SimpleNamespace(perf_counter=lambda: next(times, 112.34567))
        monkeypatch.setattr(intake, "time", clock)
        for _ in range(2):
            await service.usage(USAGE)
    first, again = log.named("group")[-2:]
    assert (first["count"], first["level"], first["ms"]) == (2, "info", 12_345.7)
    assert (again["count"], again["level"], again["ms"]) == (0, "debug", 0.0)


async def test_a_large_group_names_only_so_many_batches(database, tmp_path, log):
    async with serving(database, tmp_path) as service:
        await service.open_books()
        await asyncio.gather(*(service.usage([], stream=f"s{n}") for n in range(60)))
    groups = log.named("group")
    assert max(each["submissions"] for each in groups) > 20
    assert max(len(each["batches"]) for each in groups) == 20


async def test_a_refused_request_is_told_by_its_code_once(database, tmp_path, log):
    async with serving(database, tmp_path) as service:
        await service.open_books()
        first = await service.usage(USAGE)
        other = await service.usage([])
        await service.get(f"/v1/{SECRET}?{SECRET}")
        await service.get(f"/v1/contracts/{SECRET}")
        await service.post("/v1/usage", b"x", None)
    refused = [(each["code"], each["status"], each["route"]) for each in log.named("refused")]
    assert refused == [
        ("seq_conflict", 409, "/v1/usage"),
        ("not_found", 404, None),
        ("unknown_contract", 404, "/v1/contracts/{contract}"),
        ("bad_envelope", 400, "/v1/usage"),
    ]
    assert other.code == "seq_conflict"
    conflict, *rest = log.named("refused")
    assert conflict["facts"] == {"batch": first.json["batch"]}
    assert len(conflict["batch"]) == 64
    assert conflict["batch"] != first.json["batch"]
    assert all("batch" not in each for each in rest)  # nothing of the request before


async def test_a_failed_commit_and_its_recovery_are_told(database, tmp_path, log, monkeypatch):
    write, failures = tables_write.write, [OSError(28, "No space left on device")]

    async def failing(*arguments):
        if failures:
            raise failures.pop()
        return await write(*arguments)

    async with serving(database, tmp_path) as service:
        await service.open_books()
        monkeypatch.setattr(tables_write, "write", failing)
        assert (await service.usage(USAGE)).status == 503
        assert (await service.usage(USAGE)).status == 200
    (failed,) = log.named("not_committed")
    assert (failed["first"], failed["submissions"], failed["error"]) == (7, 1, "OSError")
    assert failed["why"] == "No space left on device"
    assert any("meter/intake.py" in line for line in failed["where"])
    assert [each["size"] for each in log.named("recovered")] == [7]
    assert log.named("refused")[-1]["code"] == "unavailable"


async def test_a_lost_epoch_is_told(database, tmp_path, log):
    async with serving(database, tmp_path) as service:
        await service.open_books()
        connection = await connections.connect(address_of(database))
        head = await ledger_store.take_over(connection)
        await connection.close()
        assert (await service.usage(USAGE)).status == 503
    (lost,) = log.named("epoch_lost")
    assert (lost["epoch"], lost["size"], lost["level"]) == (head.epoch - 1, 7, "error")


# Never logged


def secrets_of(service, more: list[bytes]) -> dict[str, str]:
    """Return all that no log may hold: tokens, keys, and posted texts in any spelling."""
    folder = service.folder
    token = folder.token_of("authority").read_text().strip()
    seed = signer("pcl-1").private_bytes_raw()
    found = {
        "token": token.partition(".")[2],
        "header": "Bearer",
        "log key": folder.log_key.read_text().strip().split("+", 4)[4],  # "+" is in base64 too
        "receipt key": folder.receipt_key.read_text().strip(),
        "provider's key": base64.b64encode(seed).decode(),
        "provider's key in hex": seed.hex(),
        "what is posted": SECRET,
    }
    for number, envelope in enumerate(more):
        fields = json.loads(envelope)
        found[f"payload {number}"] = fields["payload"][:40]
        found[f"signature {number}"] = fields["signatures"][0]["sig"]
    return found


async def test_no_log_at_any_level_holds_a_secret_or_what_was_posted(
    database, tmp_path, log, monkeypatch
):
    asyncio.get_running_loop().set_debug(True)
    async with serving(database, tmp_path) as service:
        await service.open_books()
        good = service.envelope([record("r1", "A", *HOUR, 64_000, run=SECRET)])
        envelopes = [
            good,
            service.envelope([record(SECRET, "A", *HOUR, 1, state=SECRET)]),  # seq_conflict
            service.envelope([record("r2", SECRET, *HOUR, 1)], seq=2),  # rejected
            service.envelope([{"id": SECRET}], seq=3),  # bad_batch
            service.envelope([], [], SECRET, seq=4),  # bad_signature: no such key
            good.replace(b'"sig":"', b'"sig":"AAAA'),
        ]
        for envelope in envelopes:
            await service.post("/v1/usage", envelope, None)
        await service.post("/v1/usage", good + SECRET.encode(), None)
        await service.post("/v1/coupons", {"programme": SECRET, "year": SECRET})
        await service.post("/v1/enterprises", {"uscc": SECRET, "name": SECRET})
        await service.get(f"/v1/contracts/{SECRET}", Authorization=f"Bearer x.{SECRET}")
        await service.get(f"/v1/entries?after={SECRET}", Authorization=SECRET)
        await raw(
            service, f"GET / HTTP/1.1\r\nAuthorization: Bearer {SECRET}\r\n: {SECRET}\r\n\r\n"
        )
        await raw(service, f"{SECRET}\r\n\r\n")
        await raw(
            service, f"POST /v1/usage HTTP/1.1\r\nHost: x\r\nContent-Length: 99\r\n\r\n{SECRET}"
        )
        await faults(service, monkeypatch, good)
        posted = secrets_of(service, envelopes)
    events = {each["event"] for each in log.events}
    assert {"started", "group", "refused", "fault", "not_committed", "recovered"} <= events
    text = log.getvalue()
    assert {what for what, secret in posted.items() if secret in text} == set()


async def faults(service, monkeypatch, envelope: bytes) -> None:
    """Let exceptions carry posted texts to every place where they are logged."""

    async def broken(*_arguments):
        raise ValueError(envelope.decode() + SECRET)

    with monkeypatch.context() as patch:
        patch.setattr(ledger_store, "entries_at", broken)
        assert (await service.get("/v1/entries/1")).status == 500
    with monkeypatch.context() as patch:
        patch.setattr(tables_write, "write", broken)
        assert (await service.usage([record(SECRET, "A", *HOUR, 1)], seq=9)).status == 503
    with monkeypatch.context() as patch:  # a text that PostgreSQL cannot hold, in its own words
        patch.setattr(ReceiptSigner, "sign", lambda *_: f"{SECRET}\0")
        assert (await service.usage([record("r9", "A", *HOUR, 1)], seq=9)).status == 503
    task = asyncio.create_task(broken())
    await asyncio.wait([task])
    del task  # asyncio logs an exception that nobody fetched
    logging.getLogger("aiohttp.server").error(
        "Error handling %s", SECRET, exc_info=ValueError(SECRET)
    )


async def raw(service, text: str) -> None:
    """Send bytes that need not be HTTP."""
    url = urlsplit(service.url)
    reader, writer = await asyncio.open_connection(url.hostname, url.port)
    writer.write(text.encode())
    with contextlib.suppress(TimeoutError, ConnectionError):
        await asyncio.wait_for(reader.read(), 0.3)
    writer.close()


async def test_the_test_would_find_what_is_told(log):
    logs.logger("meter.test").info("group", value=SECRET)
    assert SECRET in log.getvalue()


def test_a_terminal_gets_readable_lines():
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    stream = Terminal()
    with logs.write_to(stream):
        logs.logger("meter.test").info("group", first=40)
        logs.logger("meter.test").debug("not this")
    (line,) = stream.getvalue().splitlines()
    assert "group" in line
    assert "{" not in line


def test_logs_go_nowhere_else_when_they_are_over(log):
    stream = Log()
    with logs.write_to(stream):
        pass
    logs.logger("meter.test").info("late")
    assert stream.getvalue() == ""
    assert len(log.named("late")) == 1
