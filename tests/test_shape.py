"""The shape of the code: who imports whom, which files are pure, where SQL and asyncpg may live.

Files are read, not imported. A rule takes a file's path and syntax tree and yields what is wrong;
each is run on the two packages, and on a planted fault that it has to find.
"""

import ast
import re
import tomllib
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]

# These do I/O, read clocks or wait. Every other file of the two packages is pure; a new name here
# is a decision, so first see whether the I/O can move to a file that is here already.
SHELL = {
    "ledger/__init__.py",
    "ledger/files.py",
    "ledger/folder.py",
    "ledger/folder_process.py",
    "ledger/following.py",
    "ledger/prove.py",
    "ledger/publish.py",
    "ledger/queries.py",
    "ledger/sources.py",
    "ledger/store.py",
    "ledger/verify.py",
    "meter/__init__.py",
    "meter/alarms.py",
    "meter/auth.py",
    "meter/backup.py",
    "meter/cli.py",
    "meter/client.py",
    "meter/config.py",
    "meter/demo/books.py",
    "meter/demo/forgery.py",
    "meter/demo/scenario.py",
    "meter/demo/story.py",
    "meter/export.py",
    "meter/exposition.py",
    "meter/fetch.py",
    "meter/intake.py",
    "meter/keys.py",
    "meter/log_keys.py",
    "meter/lookup.py",
    "meter/logs.py",
    "meter/metrics.py",
    "meter/mirror.py",
    "meter/monitor.py",
    "meter/policies/__init__.py",
    "meter/postgres.py",
    "meter/publishing.py",
    "meter/rebuild.py",
    "meter/receipts.py",
    "meter/recover.py",
    "meter/reporter.py",
    "meter/roll_forward.py",
    "meter/service.py",
    "meter/simulate.py",
    "meter/store.py",
    "meter/verification.py",
    "meter/web/*",
    "meter/witness.py",
    "meter/witness_server.py",
    "meter/witnesses.py",
}
HTTP = {
    *("meter/client.py", "meter/exposition.py", "meter/fetch.py", "meter/service.py"),
    "meter/web/*",
    *("meter/witness_server.py", "meter/witnesses.py"),
}

IMPURE_MODULES = {
    *("aiohttp", "asyncio", "asyncpg", "fcntl", "http", "importlib", "io", "logging", "os"),
    *("pathlib", "random", "secrets", "shutil", "signal", "socket", "subprocess", "tempfile"),
    *("threading", "time", "urllib", "uuid"),
}
IN_MEMORY = {"io.BytesIO", "io.StringIO"}
IMPURE_CALLS = {"open", "input", "print"}
CLOCKS = {"now", "utcnow", "today"}

TOP_LEVEL = {
    *(".ci", ".git", ".gitignore", "CHANGELOG.md", "CONTRIBUTING.md", "LICENSE", "Makefile"),
    *("README.md", "SECURITY.md"),
    *("deploy", "docs", "ledger", "meter", "pyproject.toml", "requirements.lock", "tests"),
}

# Capitals anywhere, or any case where a statement would begin; prose in docstrings is not text.
SQL = re.compile(
    r"\bSELECT\b.+\bFROM\b|\bINSERT\s+INTO\b|\bUPDATE\b.+\bSET\b|\bDELETE\s+FROM\b|\bCREATE\s+TABLE\b"
    r"|(?i:^\s*(select\b.+\bfrom\b|insert\s+into\b|update\b.+\bset\b|delete\s+from\b))",
    re.DOTALL,
)


def ledger_knows_no_meter(path: str, tree: ast.Module) -> Iterator[str]:
    if path.startswith("ledger/"):
        yield from (f"imports {name}" for name in imports(tree) if top(name) == "meter")


def asyncpg_is_only_in_stores(path: str, tree: ast.Module) -> Iterator[str]:
    if not path.endswith("/store.py"):
        yield from (f"imports {name}" for name in imports(tree) if top(name) == "asyncpg")


def aiohttp_is_only_at_the_edge(path: str, tree: ast.Module) -> Iterator[str]:
    if not is_in(path, HTTP):
        yield from (f"imports {name}" for name in imports(tree) if top(name) == "aiohttp")


def sql_is_only_in_sql_files(_: str, tree: ast.Module) -> Iterator[str]:
    yield from (f"holds SQL: {text[:60]!r}" for text in texts(tree) if SQL.search(text))


def pure_files_import_nothing_impure(path: str, tree: ast.Module) -> Iterator[str]:
    if is_in(path, SHELL):
        return
    for name in imports(tree):
        if top(name) in IMPURE_MODULES and name not in IN_MEMORY:
            yield f"is pure and imports {name}"
        if any(is_in(file, SHELL) for file in files_of_module(name)):
            yield f"is pure and imports {name}, which is not"


def pure_files_wait_for_nothing(path: str, tree: ast.Module) -> Iterator[str]:
    waiting = (ast.AsyncFunctionDef, ast.Await, ast.AsyncFor, ast.AsyncWith)
    if not is_in(path, SHELL):
        yield from (f"waits in line {n.lineno}" for n in ast.walk(tree) if isinstance(n, waiting))


def pure_files_read_no_clock_and_no_file(path: str, tree: ast.Module) -> Iterator[str]:
    if is_in(path, SHELL):
        return
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Name(id=name)) if name in IMPURE_CALLS:
                yield f"calls {name} in line {node.lineno}"
            case ast.Attribute(
                value=ast.Name(id="datetime" | "date") | ast.Attribute(attr="datetime" | "date"),
                attr=name,
            ) if name in CLOCKS:
                yield f"reads the clock in line {node.lineno}"


def pure_files_know_no_float(path: str, tree: ast.Module) -> Iterator[str]:
    if is_in(path, SHELL):
        return
    for node in ast.walk(tree):
        match node:
            case ast.Constant(value=float() | complex()) | ast.Name(id="float"):
                yield f"has a float in line {node.lineno}"
            case ast.BinOp(op=ast.Div()) | ast.AugAssign(op=ast.Div()):
                yield f"divides into a float in line {node.lineno}"


RULES = [
    ledger_knows_no_meter,
    asyncpg_is_only_in_stores,
    aiohttp_is_only_at_the_edge,
    sql_is_only_in_sql_files,
    pure_files_import_nothing_impure,
    pure_files_wait_for_nothing,
    pure_files_read_no_clock_and_no_file,
    pure_files_know_no_float,
]


def imports(tree: ast.Module) -> Iterator[str]:
    """Yield dotted names: `os.path` for `import os.path`, `io.BytesIO` for `from io import …`."""
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                yield from (each.name for each in names)
            case ast.ImportFrom(module=module, names=names):
                yield from (f"{module or ''}.{each.name}" for each in names)


def top(name: str) -> str:
    return name.partition(".")[0]


def files_of_module(name: str) -> tuple[str, str]:
    """Return the files that `from a.b import c` may read: c is a module or a name in a.b."""
    whole = name.replace(".", "/")
    return f"{whole}.py", f"{whole.rpartition('/')[0]}.py"


def texts(tree: ast.Module) -> Iterator[str]:
    """Yield the string constants that are not docstrings, an f-string as one with gaps."""
    prose = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        match node:
            case ast.JoinedStr(values=parts):
                yield "".join(str(getattr(part, "value", "…")) for part in parts)
            case ast.Constant(value=str(text)) if id(node) not in prose:
                yield text


def is_in(path: str, patterns: set[str]) -> bool:
    return any(fnmatch(path, pattern) for pattern in patterns)


def source_files() -> Iterator[Path]:
    for package in ("ledger", "meter"):
        yield from sorted((REPOSITORY / package).rglob("*.py"))


@pytest.mark.parametrize("rule", RULES)
def test_the_packages_keep_the_rule(rule):
    found = []
    for file in source_files():
        path = file.relative_to(REPOSITORY).as_posix()
        found += [f"{path} {what}" for what in rule(path, ast.parse(file.read_text()))]
    assert found == []


@pytest.mark.parametrize(
    ("rule", "path", "source"),
    [
        (ledger_knows_no_meter, "ledger/book.py", "import meter"),
        (ledger_knows_no_meter, "ledger/store.py", "from meter.units import Fen"),
        (ledger_knows_no_meter, "ledger/verify.py", "def f():\n  from meter import wire"),
        (asyncpg_is_only_in_stores, "meter/intake.py", "import asyncpg.exceptions"),
        (asyncpg_is_only_in_stores, "meter/postgres.py", "from asyncpg import connect"),
        (aiohttp_is_only_at_the_edge, "meter/intake.py", "from aiohttp import web"),
        (sql_is_only_in_sql_files, "meter/store.py", "q = 'SELECT a\\nFROM b'"),
        (sql_is_only_in_sql_files, "meter/store.py", "q = f'SELECT {a} FROM b'"),
        (sql_is_only_in_sql_files, "ledger/store.py", "f('insert  into b values (1)')"),
        (sql_is_only_in_sql_files, "ledger/store.py", "f('update b\\nset a = 1')"),
        (sql_is_only_in_sql_files, "ledger/store.py", "f('WITH x AS (DELETE FROM b)')"),
        (sql_is_only_in_sql_files, "ledger/store.py", "f('CREATE TABLE b ()')"),
        (pure_files_import_nothing_impure, "meter/rating.py", "import time"),
        (pure_files_import_nothing_impure, "meter/new.py", "from os import environ"),
        (pure_files_import_nothing_impure, "ledger/note.py", "import os.path"),
        (pure_files_import_nothing_impure, "ledger/bundle.py", "from io import open"),
        (pure_files_import_nothing_impure, "meter/decide.py", "from meter import store"),
        (pure_files_import_nothing_impure, "meter/decide.py", "from meter.store import load"),
        (pure_files_import_nothing_impure, "meter/decide.py", "import meter.web.app"),
        (pure_files_wait_for_nothing, "meter/decide.py", "async def f(): pass"),
        (pure_files_wait_for_nothing, "meter/decide.py", "async def f():\n  await g()"),
        (pure_files_read_no_clock_and_no_file, "meter/decide.py", "open('f')"),
        (pure_files_read_no_clock_and_no_file, "meter/units.py", "datetime.now(UTC)"),
        (pure_files_read_no_clock_and_no_file, "meter/units.py", "datetime.datetime.utcnow()"),
        (pure_files_read_no_clock_and_no_file, "meter/units.py", "clock = date.today"),
        (pure_files_know_no_float, "meter/rating.py", "ratio = 0.5"),
        (pure_files_know_no_float, "meter/rating.py", "x = float(y)"),
        (pure_files_know_no_float, "meter/rating.py", "fen: float"),
        (pure_files_know_no_float, "meter/rating.py", "x = y / 2"),
        (pure_files_know_no_float, "ledger/book.py", "x /= 2"),
    ],
)
def test_a_planted_fault_is_found(rule, path, source):
    assert list(rule(path, ast.parse(source)))


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("meter/wire.py", "from ledger.canon import encode"),
        ("meter/store.py", "import asyncpg\nasync def f(): await g(0.5)"),
        ("ledger/bundle.py", "from io import BytesIO"),
        ("meter/units.py", "from datetime import datetime\nx = datetime.fromisoformat(y) // 2"),
        ("meter/decide.py", "now = batch.now"),
        ("meter/store.py", "'''Select rows from a table and update the set.'''"),
        ("meter/store.py", "x = 'a key selected from the set'"),
        ("meter/web/app.py", "from aiohttp import web"),
    ],
)
def test_what_is_allowed_is_not_called_a_fault(path, source):
    tree = ast.parse(source)
    assert [what for rule in RULES for what in rule(path, tree)] == []


def strangers(names: set[str], ignored: set[str]) -> set[str]:
    """Return the top-level names that belong neither to the project nor to its tools."""
    return {name for name in names - TOP_LEVEL if not any(fnmatch(name, each) for each in ignored)}


def test_the_top_folder_holds_only_what_belongs_there():
    lines = (REPOSITORY / ".gitignore").read_text().split()
    ignored = {line.rstrip("/") for line in lines}
    assert strangers({each.name for each in REPOSITORY.iterdir()}, ignored) == set()
    assert strangers({"meter", ".venv", "notes.txt"}, {".venv"}) == {"notes.txt"}


def lock_faults(lock: str, wanted: set[str]) -> list[str]:
    """Return what is wrong with a lock: every line a pinned name with hashes, and no address."""
    blocks = re.split(r"\n(?=\S)", lock.strip())
    pinned = r"(\S+)==\S+( ; [^\\\n]+)?( \\\n    --hash=sha256:[0-9a-f]{64})+"
    found = [f"not pinned by hash: {block}" for block in blocks if not re.fullmatch(pinned, block)]
    found += ["an address"] if "://" in lock else []
    missing = wanted - {block.partition("==")[0] for block in blocks}
    return found + [f"missing: {name}" for name in sorted(missing)]


def test_the_lock_pins_everything_by_hash_and_names_no_address():
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
    extras = project["project"]["optional-dependencies"]
    wanted = [*project["build-system"]["requires"], *project["project"]["dependencies"]]
    wanted += [requirement for extra in extras.values() for requirement in extra]
    names = {re.split(r"[<>=]", requirement)[0] for requirement in wanted}
    assert lock_faults((REPOSITORY / "requirements.lock").read_text(), names) == []


@pytest.mark.parametrize(
    "lock",
    [
        "a==1",
        "a>=1 \\\n    --hash=sha256:" + 64 * "0",
        "a @ file:///a.whl \\\n    --hash=sha256:" + 64 * "0",
        "--find-links /wheels\na==1 \\\n    --hash=sha256:" + 64 * "0",
        "b==1 \\\n    --hash=sha256:" + 64 * "0",
    ],
)
def test_a_planted_fault_in_the_lock_is_found(lock):
    assert lock_faults(lock, {"a"})


def unknown_files(text: str) -> list[str]:
    """Return the names of source files in backticks that no file of the project has."""
    named = re.findall(r"`([\w./-]+\.(?:py|sql))`", text)
    folders = ("ledger", "meter", "tests", "deploy", "docs")
    known = [f"/{file.relative_to(REPOSITORY)}" for f in folders for file in files_below(f)]
    return [name for name in named if not any(path.endswith(f"/{name}") for path in known)]


def files_below(folder: str) -> Iterator[Path]:
    return (REPOSITORY / folder).rglob("*.*")


def test_the_documents_name_files_that_exist():
    documents = [REPOSITORY / name for name in ("README.md", "SECURITY.md", "ledger/README.md")]
    documents += [REPOSITORY / "tests/vectors/README.md", *(REPOSITORY / "docs").rglob("*.md")]
    found = {str(each): unknown_files(each.read_text()) for each in documents}
    assert {document: names for document, names in found.items() if names} == {}
    assert unknown_files("see `meter/postgres.py`, `store.py`, `nowhere.py`") == ["nowhere.py"]
