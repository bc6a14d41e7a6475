"""`kashi monitor` as a process, the evidence that it writes, and servers that stall."""

import asyncio
import contextlib
import json
import re
import signal
import subprocess
import urllib.request
from collections.abc import Iterator

import pytest
from click.testing import CliRunner

from ledger.note import Signer
from meter.auditor.fetch import Limits as Bounds
from meter.auditor.fetch import open_source
from meter.cli.main import main
from tests.commands import PROGRAM
from tests.monitoring import Watch, grow

# The command


@contextlib.contextmanager
def running(*words: object) -> Iterator[subprocess.Popen]:
    """A `kashi monitor` of its own."""
    process = subprocess.Popen(
        [*PROGRAM, "monitor", *map(str, words)], stdout=subprocess.PIPE, text=True
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def test_the_command_follows_says_what_it_finds_and_shows_metrics(site, tmp_path):
    vkey = site.writer.signer.verifier.format()
    words = (site.url, "--vkey", vkey, "--data", tmp_path / "data", "--interval", "0.1")
    site.post(1, seq=2)
    site.writer.at("2025-03-01T12:00:01+08:00")
    site.post(1, seq=3)
    site.publish()
    with running(*words, "--listen", "127.0.0.1:0", "--gap-hours", "0") as process:
        url = json.loads(process.stdout.readline())["url"]
        followed = json.loads(process.stdout.readline())
        assert (followed["event"], followed["size"]) == ("followed", site.size)
        while (line := json.loads(process.stdout.readline())).get("event") == "question":
            assert "entry" in line["detail"] or "entries" in line["detail"]
        # By the log's clock, later entries came after the gap was seen.
        assert line["alarm"] == "gap"
        with urllib.request.urlopen(url) as answer:
            metrics = answer.read().decode()
        assert '\nkashi_monitor_alarms{kind="gap"} 1.0\n' in metrics
        assert '\nkashi_monitor_alarms{kind="fork"} 0.0\n' in metrics
        assert f"\nkashi_monitor_judged {site.size}.0\n" in metrics
        assert re.search(
            r'^kashi_monitor_polls_total\{outcome="answered"\} [1-9]', metrics, re.MULTILINE
        )
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=60) == 0
    with running(*words) as process:
        again = json.loads(process.stdout.readline())  # the incident of before
        assert (again["alarm"], again["state"], again["incident"]) == (
            "gap",
            "on",
            line["incident"],
        )
        assert json.loads(process.stdout.readline())["size"] == site.size
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=60) == 0


async def test_evidence_is_checked_without_the_log(site, watch, tmp_path):
    twin = site.writer.twin()
    site.post(20)
    site.publish()
    await watch.poll()
    grow(twin, 40)
    site.publish(twin)
    await watch.poll()
    path = watch.data / "evidence/fork-1.json"
    vkey = ("--vkey", site.writer.signer.verifier.format())

    def checked(*words: object) -> tuple[int, str]:
        result = CliRunner().invoke(main, ["monitor", "evidence", *map(str, words)])
        assert "Traceback" not in result.output
        return result.exit_code, result.output

    code, told = checked(path, *vkey)
    assert (code, told.partition(":")[0]) == (0, "good")
    assert f"of {site.size} and {len(twin.leaves)} entries exclude each other" in told
    assert json.loads(checked(path, *vkey, "--json")[1])["verdict"] == "good"
    other = Signer.from_seed(site.writer.signer.name, bytes(32)).verifier.format()
    code, told = checked(path, "--vkey", other)
    assert (code, "other_key" in told) == (2, True)
    assert checked(path, "--vkey", other, *vkey)[0] == 0
    honest = json.loads(path.read_bytes())
    bent = tmp_path / "bent.json"
    for changes, code in (
        ({"root": honest["hashes"][0]}, 1),
        ({"hashes": honest["hashes"][1:]}, 1),
        ({"theirs": honest["ours"], "hashes": []}, 1),
        ({"kind": "rollback"}, 1),
        ({"kind": "other"}, 2),
        ({"more": 1}, 2),
        ({"ours": honest["ours"].replace("\n", "\n1", 1)}, 1),
    ):
        bent.write_text(json.dumps(honest | changes))
        assert checked(bent, *vkey)[0] == code, changes
    for data in (b"", b"[]", b"nonsense", b"[" * 100_000, bytes(5_000_000)):
        bent.write_bytes(data)
        assert checked(bent, *vkey)[0] == 2
    assert checked(tmp_path / "missing", *vkey)[0] == 2


def test_what_the_command_cannot_begin_with_is_one_line(site, tmp_path):
    def told(*words: object) -> str:
        result = CliRunner().invoke(main, ["monitor", site.url, *map(str, words)])
        assert result.exit_code in (1, 2)
        assert "Traceback" not in result.output
        return result.stderr

    data = ("--data", tmp_path / "data")
    vkey = ("--vkey", site.writer.signer.verifier.format())
    assert "the key cannot be read" in told("--vkey", tmp_path / "missing", *data)
    assert "trust policy" in told(*vkey, *data, "--policy", tmp_path / "missing")
    assert "HOST:PORT" in told(*vkey, *data, "--listen", "8080")
    (tmp_path / "data/alarms.json").write_text("nonsense")
    assert "alarms" in told(*vkey, *data)


# Servers that stall


class Stalling:
    """Takes connections, and sends what it is told to, bit by bit, or nothing."""

    def __init__(self, head: bytes, drip: bytes) -> None:
        self.head, self.drip = head, drip

    async def __call__(self, _: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(self.head)
        with contextlib.suppress(OSError):
            while True:
                writer.write(self.drip)
                await writer.drain()
                await asyncio.sleep(0.05)


HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5000\r\n\r\n"


@pytest.mark.parametrize(
    ("head", "drip", "reason"),
    [
        (b"", b"", "nothing came for 0.3 s"),
        (HEAD, b"", "nothing came for 0.3 s"),
        (HEAD, b"x", "not all came within 0.6 s"),
        (b"HTTP/9 what\r\n\x1b\r\n\r\n", b"", "HTTP/9 what"),
    ],
)
async def test_a_stalled_server_shows_within_the_limit_of_a_poll_with_a_reason(
    tmp_path, site, head, drip, reason
):
    watch = Watch(site, tmp_path / "stalled")
    server = await asyncio.start_server(Stalling(head, drip), "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    limits = Bounds(checkpoint_seconds=0.6, file_seconds=0.6, stall_seconds=0.3)
    async with open_source(url, None, limits) as source:
        await asyncio.wait_for(watch.monitor.poll(source), 20)
    server.close()
    (line,) = watch.lines
    assert line["event"] == "failed"
    assert reason in line["detail"]
    assert "b'" not in line["detail"]
    assert line["detail"].isprintable()
    watch.monitor.close()
