"""A ledger made by the command, and `kashi serve` as a process of its own."""

import json
import subprocess
import time
import urllib.request
from pathlib import Path

from click.testing import Result

from tests.commands import PROGRAM, environment, kashi

ORIGIN = "kashi.test/cli"
NOON = "2025-03-01T12:00:00+08:00"


def init(data: Path, *words: str) -> Result:
    return kashi("init", "--data", data, "--origin", ORIGIN, "--one-person", *words)


class Process:
    """A `kashi serve` of its own."""

    def __init__(self, data: Path, database: str | None) -> None:
        self.data = data
        words = ("--data", str(data), "--port", "0", "--now", NOON, "--clock-is-right")
        self.process = subprocess.Popen(
            [*PROGRAM, "serve", *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment(database),
        )
        self.line = self.process.stdout.readline()
        self.url = self.line.rpartition(" ")[2].strip()

    def end(self, number: int) -> tuple[int, str]:
        """Send a signal; returns the exit status and the errors that were printed."""
        self.process.send_signal(number)
        return self.wait()

    def wait(self) -> tuple[int, str]:
        """Wait for the end; returns the exit code, and the stderr without the logs."""
        _, errors = self.process.communicate(timeout=30)
        lines = errors.splitlines(keepends=True)
        assert all(json.loads(line)["event"] for line in lines if line.startswith("{"))
        return self.process.returncode, "".join(line for line in lines if line[0] != "{")

    def postmaster(self) -> int:
        return int((self.data / "postgres" / "data" / "postmaster.pid").read_text().split()[0])

    def request(self, path: str, body: object = None, token: str | None = None):
        """Send a GET, or a POST with a body; returns status and answer."""
        token = token or (self.data / "authority.token").read_text().strip()
        data = None if body is None else json.dumps(body).encode()
        headers = {"Authorization": f"Bearer {token}", "Idempotency-Key": f"k{time.monotonic_ns()}"}
        request = urllib.request.Request(self.url + path, data, headers)
        try:
            with urllib.request.urlopen(request, timeout=30) as response:
                return response.status, json.loads(response.read())
        except urllib.error.HTTPError as error:
            return error.code, json.loads(error.read())
