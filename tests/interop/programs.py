"""Foreign programs that check our ledgers, each as a function of a folder.

    go(scratch, folder, vkey, older)

returns when the program accepts the ledger, and raises `Refused` with its message otherwise.
`older` are files of older checkpoints, for programs that check growth. `scratch` is any folder.
Where a program is missing, the test is skipped; in CI it fails.
"""

import asyncio
import os
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from pymerkle import InmemoryTree

from ledger.proof import Proof
from tests.interop.ledgers import checkpoint_of, entries_of, tree_of

HERE = Path(__file__).parent
INSTALLED = Path(sys.prefix) / "interop"  # by `tests/interop/install`
GO_PATH = Path("/usr/share/gocode")  # of Debian's packages
GO_CACHE = INSTALLED / "go"  # kept, for a first build takes seconds and all others none


class Refused(Exception):  # noqa: N818 - it says what happened
    """The message of a program about a ledger that it does not accept."""


def go(scratch: Path, folder: Path, vkey: str, older: tuple[Path, ...] = ()) -> None:
    """Check by `golang.org/x/mod`: the signature, all entries by the tiles, growth."""
    run_go(scratch, "verify.go", vkey, folder, *older)


def sigstore(scratch: Path, folder: Path, vkey: str, older: tuple[Path, ...] = ()) -> None:
    """Check by `@sigstore/verify`: the signature, and some entries by proof files of ours."""
    assert not older
    run_node("verify.js", vkey, *proof_files(scratch, folder))


def aics_tlog(_: Path, folder: Path, vkey: str, older: tuple[Path, ...] = ()) -> None:
    """Check by `aics-tlog`: the signature, root and some entries by the tiles, growth."""
    words = ("--tiles", folder, "--log-key", vkey)
    run_aics("aics_tlog", "verify-checkpoint", *words)
    for index in sample(checkpoint_of(folder).size):
        run_aics("aics_tlog", "verify-inclusion", *words, "--index", index)
    for checkpoint in older:
        run_aics("aics_tlog", "verify-consistency", *words, "--old-checkpoint", checkpoint)


def pymerkle(_: Path, folder: Path, vkey: str, older: tuple[Path, ...] = ()) -> None:
    """Check by `pymerkle`: the root over all entries, without any signature."""
    assert vkey
    assert not older
    tree = InmemoryTree(algorithm="sha256")
    for entry in entries_of(folder):
        tree.append_entry(entry)
    if tree.get_root() != checkpoint_of(folder).root:
        raise Refused("another root")


def run_go(scratch: Path, source: str, *words: object) -> str:
    """Run a Go program that uses `golang.org/x/mod`; returns its output."""
    program = scratch / source.removesuffix(".go")
    if not program.exists():
        need("go", shutil.which("go"))
        need("golang.org/x/mod", (GO_PATH / "src/golang.org/x/mod/sumdb/tlog").is_dir())
        settings = {"GO111MODULE": "off", "GOPATH": str(GO_PATH), "GOCACHE": str(GO_CACHE)}
        run("go", "build", "-o", program, HERE / source, environment=settings)
    return run(program, *words)


def run_node(script: str, *words: object) -> str:
    """Run a script that uses Sigstore's packages; returns its output."""
    return run("node", HERE / script, *words, environment=node_environment("@sigstore/verify"))


@asynccontextmanager
async def node_running(package: str, script: str, *words: object) -> AsyncIterator[None]:
    """Run a script that uses a package and serves from the line `ready` on, until we leave."""
    environment = os.environ | node_environment(package)
    arguments = [str(word) for word in (HERE / script, *words)]
    process = await asyncio.create_subprocess_exec(
        *("node", *arguments), env=environment, stdout=asyncio.subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        async with asyncio.timeout(60):
            while (line := await process.stdout.readline()) != b"ready\n":
                assert line, "it has ended"
        yield
    finally:
        process.kill()
        await process.wait()


def node_environment(package: str) -> dict[str, str]:
    """Return where scripts find packages, of which they need one."""
    need("node", shutil.which("node"))
    need(package, (INSTALLED / "node_modules" / package).is_dir())
    return {"NODE_PATH": str(INSTALLED / "node_modules")}


def run_aics(module: str, *words: object) -> str:
    """Run one of the programs of that family; returns its output."""
    need(module, (INSTALLED / "python" / module).is_dir())
    return run(sys.executable, "-m", module, *words, environment=aics_environment())


def aics_environment() -> dict[str, str]:
    return {"PYTHONPATH": str(INSTALLED / "python")}


def run(*words: object, environment: dict[str, str] | None = None) -> str:
    """Run a program to its end. Raises `Refused` where its exit code is 1."""
    ended = subprocess.run(
        [str(word) for word in words],
        env=os.environ | (environment or {}),
        cwd=HERE,
        capture_output=True,
        text=True,
        timeout=120,
    )
    if ended.returncode == 1:
        raise Refused(ended.stdout + ended.stderr)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


def need(tool: str, is_there: object) -> None:
    if is_there:
        return
    if os.environ.get("CI") == "true":
        pytest.fail(f"{tool} is missing, and CI installs it")
    pytest.skip(f"{tool} is not installed; see .ci/run and tests/interop/install")


def sample(size: int) -> list[int]:
    """Return some numbers of entries, at both ends and where tiles meet."""
    numbers = {0, 255, 256, size // 2, size - 1}
    return sorted(number for number in numbers if 0 <= number < size)


def proof_files(scratch: Path, folder: Path) -> list[Path]:
    """Write proof, entry, proof, entry, ..."""
    note, tree, entries = (folder / "checkpoint").read_bytes(), tree_of(folder), entries_of(folder)
    files = []
    for index in sample(tree.size):
        proof, entry = scratch / f"{index}.tlog-proof", scratch / f"{index}.entry"
        hashes = tuple(tree.inclusion_proof(index, tree.size))
        proof.write_bytes(Proof(index, hashes, note).format())
        entry.write_bytes(entries[index])
        files += [proof, entry]
    return files
