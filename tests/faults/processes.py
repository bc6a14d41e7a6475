"""The processes that faults hit: `kashi serve` under a supervisor, and PostgreSQL apart from it.

Both end with the harness, even where that is killed. `SmallDisk` and `FakeClock` stand in for the
disk and the clock of the machine.
"""

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import aiohttp

from meter.host.data_folder import DATABASE_VARIABLE
from meter.host.postgres import Embedded

KASHI = str(Path(sys.executable).with_name("kashi"))
RESTART_SECONDS = 0.05  # how long a supervisor waits before it starts a service again
POLL_SECONDS = 0.01
PATIENCE_SECONDS = 60.0  # for things that must happen by themselves; a machine may be busy

LIBRARY = "faketime/libfaketimeMT.so.1"


class Stuck(Exception):  # noqa: N818 - the name says what happened
    """Something did not happen that had to happen by itself."""


async def until(condition, what: str, patience_seconds: float = PATIENCE_SECONDS) -> None:
    """Wait until a condition holds. Raises `Stuck`, which names the condition."""
    deadline = time.monotonic() + patience_seconds
    while not condition():
        if time.monotonic() > deadline:
            raise Stuck(f"waited {patience_seconds:.0f} s for {what}")
        await asyncio.sleep(POLL_SECONDS)


async def run_kashi(
    *words: object, environment: Mapping[str, str], folder: Path | None = None
) -> tuple[int, str]:
    """Run a command of `kashi` to its end; returns its exit code and output."""
    process = await asyncio.create_subprocess_exec(
        *(KASHI, *map(str, words)),
        env=environment,
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    output, errors = await process.communicate()
    return process.returncode, (output or errors).decode()


async def kashi(*words: object, environment: Mapping[str, str]) -> str:
    """Run a command that must succeed."""
    code, output = await run_kashi(*words, environment=environment)
    if code != 0:
        raise Stuck(f"kashi {words[0]} ended with {code}: {output}")
    return output


def environment_for(dsn: str | None, more: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the environment of a service; without a DSN it runs a PostgreSQL of its own."""
    kept = {name: value for name, value in os.environ.items() if name != DATABASE_VARIABLE}
    named = {} if dsn is None else {DATABASE_VARIABLE: dsn}
    return {**kept, **named, **(more or {})}


@dataclass(frozen=True)
class End:
    """The end of a process: its exit code, and the last line of its stderr."""

    code: int
    told: str


class Service:
    """One `kashi serve` on a port of its own, started again whenever it ends by itself.

    Without `supervised` it stays down. `ends` holds every end, in order.
    """

    def __init__(self, data: Path, log: Path, environment: Mapping[str, str], *words: str) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.data = data
        self.environment = dict(environment)
        self.supervised = True
        self.ends: list[End] = []
        self._log = log
        self._words = words
        self._process: asyncio.subprocess.Process | None = None
        self._keeping: asyncio.Task[None] | None = None

    async def start(self, patience_seconds: float = PATIENCE_SECONDS) -> None:
        """Keep it running from now on, and wait until it can commit. Raises `Stuck`."""
        self._keeping = asyncio.create_task(self._keep_running())
        await self.ready(patience_seconds)

    async def ready(self, patience_seconds: float, *, wanted: bool = True) -> None:
        """Wait until it says that it can commit, or that it cannot. Raises `Stuck`."""
        deadline = time.monotonic() + patience_seconds
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=1)) as http:
            while await _says_ready(http, self.url) != wanted:
                if time.monotonic() > deadline:
                    raise Stuck(
                        f"no service was {'' if wanted else 'un'}ready in {patience_seconds:.0f} s."
                        f" {self._last_words()}"
                    )
                await asyncio.sleep(POLL_SECONDS)

    @property
    def runs(self) -> bool:
        return self._process is not None and self._process.returncode is None

    def parts(self, role: str) -> list[int]:
        """Return the processes of a role, of a service with fronts."""
        pids = children(self._process.pid) if self.runs else []
        return [pid for pid in pids if f"\0part\0{role}\0" in _words(pid)]

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the process, where there is one."""
        if self.runs:
            self._process.send_signal(number)

    async def ended(self, count: int, patience_seconds: float = PATIENCE_SECONDS) -> End:
        """Wait for the end of a process: number `count` since the first start."""
        await until(lambda: len(self.ends) >= count, f"the end of {self.url}", patience_seconds)
        return self.ends[count - 1]

    async def stop(self) -> int | None:
        """Stop it in order, for good; returns its exit code, or None where it was not running."""
        self.supervised = False
        before = len(self.ends)
        running = self.runs
        self.send(signal.SIGCONT)
        self.send(signal.SIGTERM)
        if self._keeping is not None:
            await asyncio.wait_for(self._keeping, PATIENCE_SECONDS)
        return self.ends[before].code if running else None

    async def abandon(self) -> None:
        """End it, whatever state it is in."""
        self.supervised = False
        self.send(signal.SIGKILL)
        if self._keeping is not None:
            self._keeping.cancel()
            await asyncio.gather(self._keeping, return_exceptions=True)

    async def _keep_running(self) -> None:
        while True:
            self._process = await self._spawn()
            code = await self._process.wait()
            self.ends.append(End(code, self._last_words()))
            if not self.supervised:
                return
            await asyncio.sleep(RESTART_SECONDS)

    async def _spawn(self) -> asyncio.subprocess.Process:
        # setpriv becomes kashi, which so is killed together with us.
        serve = ("serve", "--data", self.data, "--port", self.port, "--log-level", "warning")
        command = ("setpriv", "--pdeathsig", "KILL", KASHI, *map(str, serve), *self._words)
        with self._log.open("ab") as log:
            return await asyncio.create_subprocess_exec(
                *command,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=log,
            )

    def _last_words(self) -> str:
        if not self._log.exists():
            return ""
        return self._log.read_text(errors="replace")[-2_000:].strip().rpartition("\n")[2]


async def _says_ready(http: aiohttp.ClientSession, url: str) -> bool:
    try:
        async with http.get(f"{url}/readyz") as response:
            return response.status == 200
    except (aiohttp.ClientError, TimeoutError):
        return False


class Server:
    """A PostgreSQL that the harness starts, and kills in several ways."""

    def __init__(self, folder: Path) -> None:
        self._embedded = Embedded(folder)

    @property
    def dsn(self) -> str:
        return self._embedded.dsn

    @property
    def data(self) -> Path:
        return self._embedded.data

    @property
    def runs(self) -> bool:
        return self._embedded.pid is not None

    async def start(self) -> None:
        await self._embedded.start()

    async def stop(self) -> None:
        """Stop it in order; harmless where it has ended."""
        await self._embedded.stop()

    async def restart(self) -> None:
        """Start it again after a fault; it recovers by itself."""
        await asyncio.wait_for(self._embedded.wait(), PATIENCE_SECONDS)
        await self._embedded.stop()
        await self._embedded.start()

    def kill(self) -> None:
        """Kill the postmaster and all of its processes at once."""
        kill_all(self._embedded.pid)

    def kill_postmaster(self) -> None:
        """Kill the postmaster alone: its processes notice one after the other."""
        os.kill(self._embedded.pid, signal.SIGKILL)

    def stop_at_once(self) -> None:
        """Stop it without a checkpoint, like `pg_ctl stop -m immediate`."""
        os.kill(self._embedded.pid, signal.SIGQUIT)


def kill_all(postmaster: int) -> None:
    """Kill a postmaster and its children; SIGSTOP comes first, so that none is missed."""
    os.kill(postmaster, signal.SIGSTOP)
    for pid in (*children(postmaster), postmaster):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def children(parent: int) -> list[int]:
    """Return the processes with this parent."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            # The name, in brackets, may hold anything; after it come the state and the parent.
            if int(path.read_text().rpartition(")")[2].split()[1]) == parent:
                found.append(int(path.parent.name))
    return found


def _words(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return ""


class SmallDisk:
    """A tmpfs that can be filled to the last byte and emptied again."""

    def __init__(self, folder: Path, size_bytes: int) -> None:
        self.folder = folder
        self._size_bytes = size_bytes
        self._ballast = folder / "ballast"

    def __enter__(self) -> Self:
        self.folder.mkdir()
        if os.geteuid() != 0:
            raise CannotInject("only root can mount a small disk")
        options = f"size={self._size_bytes},mode=0711"
        mount = ("mount", "-t", "tmpfs", "-o", options, "tmpfs", str(self.folder))
        ended = subprocess.run(mount, capture_output=True, text=True)
        if ended.returncode != 0:
            raise CannotInject(f"no tmpfs can be mounted here: {ended.stderr.strip()}")
        return self

    def __exit__(self, *_: object) -> None:
        subprocess.run(("umount", "--lazy", str(self.folder)), check=True)

    def try_out(self) -> None:
        """Raise `CannotInject` if this machine cannot have one."""
        with self:
            self.fill()

    def fill(self) -> None:
        """Take all the room."""
        block = bytes(4_096)
        with self._ballast.open("ab", buffering=0) as file, contextlib.suppress(OSError):
            while file.write(block):
                pass

    def empty(self) -> None:
        """Free the room again."""
        self._ballast.unlink(missing_ok=True)


class CannotInject(Exception):  # noqa: N818 - the name says what is wrong
    """This machine lacks what a fault needs."""


class FakeClock:
    """A clock for the processes that get `environment`, moved while they run.

    It is `offset_seconds` ahead of the machine's. With `monotonic`, that clock moves too: no real
    machine does this, but a virtual one may.
    """

    def __init__(self, file: Path, *, monotonic: bool = False) -> None:
        self._file = file
        self._library = fake_clock_library()
        self._monotonic = monotonic
        self.offset_seconds = 0

    def set(self, unix_seconds: float) -> None:
        self.offset_seconds = round(unix_seconds - time.time())
        self._write()

    def jump(self, seconds: int) -> None:
        self.offset_seconds += seconds
        self._write()

    def now_seconds(self) -> int:
        return int(time.time()) + self.offset_seconds

    @property
    def environment(self) -> dict[str, str]:
        still = "0" if self._monotonic else "1"
        return {
            "LD_PRELOAD": self._library,
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": still,
            "DONT_FAKE_MONOTONIC": still,
        }

    def _write(self) -> None:
        draft = self._file.with_suffix(".new")
        draft.write_text(f"{self.offset_seconds:+d}\n")
        draft.rename(self._file)  # never half a number


def fake_clock_library() -> str:
    """Return the path of libfaketime. Raises `CannotInject`."""
    for folder in ("/usr/lib", "/usr/local/lib"):
        for path in (Path(folder) / LIBRARY, *Path(folder).glob(f"*/{LIBRARY}")):
            if path.exists():
                return str(path)
    raise CannotInject("there is no libfaketime here: install the package faketime")


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]
