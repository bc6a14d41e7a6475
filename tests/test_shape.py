"""The shape of the code: who imports whom, which files are pure, where SQL and asyncpg may live.

Files are read, not imported. A rule takes a file's path and syntax tree and yields what is wrong;
each is run on the two packages, and on a planted fault that it has to find.
"""

import ast
import graphlib
import re
import tomllib
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path

import pytest

from meter.values.problems import CODES

REPOSITORY = Path(__file__).parents[1]

VALUES = {"values"}
WIRE = VALUES | {"wire"}
RULES_AND_BELOW = WIRE | {"rules"}
VIEWS_AND_BELOW = RULES_AND_BELOW | {"views"}
TABLES_AND_BELOW = VIEWS_AND_BELOW | {"host", "tables"}

# A room of `meter/` and the rooms that it may import, from the ground up: no arrow runs up. The
# rooms that are not here (`service`, `witness`, `cli`, `demo`) compose the others as they need.
ROOMS = {
    "values": set(),
    "wire": VALUES,
    "rules": WIRE,
    "views": RULES_AND_BELOW,
    "client": WIRE,
    "exposition": set(),
    "languages": set(),
    "agent": WIRE | {"client", "exposition"},
    "auditor": VIEWS_AND_BELOW | {"client", "exposition", "languages"},
    "host": RULES_AND_BELOW,
    "tables": VIEWS_AND_BELOW | {"host"},
    "http": VALUES | {"host"},
    "intake": RULES_AND_BELOW | {"host", "tables"},
    "publish": TABLES_AND_BELOW,
    "api": TABLES_AND_BELOW | {"http"},
    "console": VALUES | {"host", "http", "api", "languages"},
    "service": {
        *("values", "wire", "rules", "views", "client", "agent", "auditor", "host", "tables"),
        *("http", "intake", "publish", "api", "console"),
    },
}
COMPOSED = {"witness", "cli", "demo"}

# The independent sums, which import nothing of `meter/` but one another.
SUM_PARTS = (
    *("claims", "firms", "meters", "persons", "records", "rules", "summaries", "terms", "totals"),
    *("accesses", "disputes", "months"),
)
SUMS = {"meter/auditor/sums.py", *(f"meter/auditor/sum_{part}.py" for part in SUM_PARTS)}
# Pure files do no I/O, read no clock and wait for nothing: the four lowest rooms, and these beside.
PURE_ROOMS = {"meter/values/*", "meter/wire/*", "meter/rules/*", "meter/views/*"}
PURE_FILES = {
    *("meter/auditor/replay.py", "meter/auditor/shares.py", "meter/auditor/receipt_check.py"),
    *("meter/auditor/ranges.py", "meter/auditor/accepted.py"),
    *SUMS,
    *("meter/agent/slice.py", "meter/agent/devices.py"),
    *("meter/agent/usage.py", "meter/agent/collect/columns.py"),
    *("meter/demo/__init__.py", "meter/demo/cast.py", "meter/demo/telling.py"),
    "meter/demo/trace.py",
    *("meter/console/formats.py", "meter/console/palette.py", "meter/console/chart.py"),
    *("meter/console/enterprise_view.py", "meter/console/csv_file.py", "meter/console/words/*"),
    *("meter/api/responses.py", "meter/api/day_responses.py", "meter/api/record_responses.py"),
    *("meter/console/form.py", "meter/console/claims_view.py", "meter/api/claim_responses.py"),
    "meter/console/bank_file.py",
    "meter/api/alert_responses.py",
    *("meter/console/entry_words.py", "meter/console/log_view.py"),
    *("meter/console/provider_view.py", "meter/console/authority_view.py"),
    *("meter/console/act_forms.py", "meter/console/act_view.py"),
    *("meter/api/preview_responses.py", "meter/api/access_responses.py"),
}
# All of `ledger/` is pure but these; a new name here is a decision, so first see whether the I/O
# can move to a file that is here already.
LEDGER_SHELL = {
    *("ledger/__init__.py", "ledger/files.py", "ledger/folder.py", "ledger/folder_process.py"),
    *("ledger/following.py", "ledger/prove.py", "ledger/publish.py", "ledger/queries.py"),
    *("ledger/sources.py", "ledger/store.py", "ledger/verify.py"),
}
# Policies are data that come with the package; this file alone reads them.
READS_POLICIES = {"meter/values/policy.py": {"importlib.resources.files"}}
DATABASE = {"meter/tables/*", "ledger/store.py"}
HTTP = {
    *("meter/console/app.py", "meter/console/page.py", "meter/console/public.py"),
    *("meter/console/sign_in.py", "meter/console/enterprise.py"),
    *("meter/console/theme.py", "meter/console/statements.py"),
    *("meter/console/people.py", "meter/console/claims.py", "meter/console/reviews.py"),
    "meter/console/tokens.py",
    *("meter/console/payments.py", "meter/console/notices.py", "meter/console/months.py"),
    *("meter/console/verify.py", "meter/console/log.py", "meter/console/provider.py"),
    *("meter/console/authority.py", "meter/console/acts.py", "meter/console/registers.py"),
    *("meter/console/alerts.py", "meter/console/access_log.py"),
    *("meter/http/*", "meter/api/*", "meter/client.py", "meter/witness/server.py"),
    *("meter/auditor/fetch.py", "meter/exposition.py", "meter/publish/witnesses.py"),
    "meter/publish/webhooks.py",
    "meter/agent/collect/kubernetes.py",
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


def rooms_import_only_what_is_below(path: str, tree: ast.Module) -> Iterator[str]:
    room = room_of(path)
    if room is None or room in COMPOSED:
        return
    for name in imports(tree):
        if top(name) == "meter":
            other = name.split(".")[1]
            if other != room and other not in ROOMS.get(room, set()):
                yield f"imports {name}, which is no room below {room}"


def sums_share_nothing_with_the_rules(path: str, tree: ast.Module) -> Iterator[str]:
    if path not in SUMS:
        return
    for name in imports(tree):
        if top(name) == "meter" and not SUMS.issuperset(files_of_module(name)):
            yield f"imports {name}"


def asyncpg_is_only_at_the_tables(path: str, tree: ast.Module) -> Iterator[str]:
    if not is_in(path, DATABASE):
        yield from (f"imports {name}" for name in imports(tree) if top(name) == "asyncpg")


def aiohttp_is_only_at_the_edge(path: str, tree: ast.Module) -> Iterator[str]:
    if not is_in(path, HTTP):
        yield from (f"imports {name}" for name in imports(tree) if top(name) == "aiohttp")


def sql_is_only_in_sql_files(_: str, tree: ast.Module) -> Iterator[str]:
    yield from (f"holds SQL: {text[:60]!r}" for text in texts(tree) if SQL.search(text))


def pure_files_import_nothing_impure(path: str, tree: ast.Module) -> Iterator[str]:
    if not is_pure(path):
        return
    for name in imports(tree):
        allowed = IN_MEMORY | READS_POLICIES.get(path, set())
        if top(name) in IMPURE_MODULES and name not in allowed:
            yield f"is pure and imports {name}"
        if top(name) in ("ledger", "meter") and not all(map(is_pure, files_of_module(name))):
            yield f"is pure and imports {name}, which is not"


def pure_files_wait_for_nothing(path: str, tree: ast.Module) -> Iterator[str]:
    waiting = (ast.AsyncFunctionDef, ast.Await, ast.AsyncFor, ast.AsyncWith)
    if is_pure(path):
        yield from (f"waits in line {n.lineno}" for n in ast.walk(tree) if isinstance(n, waiting))


def pure_files_read_no_clock_and_no_file(path: str, tree: ast.Module) -> Iterator[str]:
    if not is_pure(path):
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
    if not is_pure(path):
        return
    for node in ast.walk(tree):
        match node:
            case ast.Constant(value=float() | complex()) | ast.Name(id="float"):
                yield f"has a float in line {node.lineno}"
            case ast.BinOp(op=ast.Div()) | ast.AugAssign(op=ast.Div()):
                yield f"divides into a float in line {node.lineno}"


def problems_have_a_code_of_the_table(_: str, tree: ast.Module) -> Iterator[str]:
    if "meter.values.problems.Problem" not in imports(tree):
        return
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Name(id="Problem"), args=[ast.Constant(value=code), *_]):
                pass
            case ast.Compare(
                left=ast.Attribute(value=ast.Name(id="problem"), attr="code"),
                comparators=[ast.Constant(value=code)],
            ):
                pass
            case _:
                continue
        if code not in CODES:
            yield f"names a problem {code!r} in line {node.lineno}"


RULES = [
    ledger_knows_no_meter,
    rooms_import_only_what_is_below,
    sums_share_nothing_with_the_rules,
    asyncpg_is_only_at_the_tables,
    aiohttp_is_only_at_the_edge,
    sql_is_only_in_sql_files,
    pure_files_import_nothing_impure,
    pure_files_wait_for_nothing,
    pure_files_read_no_clock_and_no_file,
    pure_files_know_no_float,
    problems_have_a_code_of_the_table,
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


def files_of_module(name: str) -> list[str]:
    """Return the files that `from a.b import c` reads: c is a module or a name in a.b."""
    whole = name.replace(".", "/")
    candidates = [f"{whole}.py", f"{whole.rpartition('/')[0]}.py"]
    return [each for each in candidates if (REPOSITORY / each).exists()]


def room_of(path: str) -> str | None:
    """Return the room of a file of `meter/`: its folder, or its own name at the top."""
    package, _, rest = path.partition("/")
    return rest.split("/")[0].removesuffix(".py") if package == "meter" else None


def is_pure(path: str) -> bool:
    if path.startswith("ledger/"):
        return not is_in(path, LEDGER_SHELL)
    return is_in(path, PURE_ROOMS | PURE_FILES)


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


PROBLEM = "from meter.values.problems import Problem\n"


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
        (ledger_knows_no_meter, "ledger/store.py", "from meter.values.units import Fen"),
        (ledger_knows_no_meter, "ledger/verify.py", "def f():\n  from meter import wire"),
        (rooms_import_only_what_is_below, "meter/values/units.py", "import meter.wire.batch"),
        (rooms_import_only_what_is_below, "meter/wire/batch.py", "from meter.rules import state"),
        (rooms_import_only_what_is_below, "meter/rules/x.py", "from meter.views import events"),
        (rooms_import_only_what_is_below, "meter/rules/kinds/x.py", "from meter import host"),
        (rooms_import_only_what_is_below, "meter/agent/push.py", "from meter.rules import state"),
        (rooms_import_only_what_is_below, "meter/auditor/x.py", "from meter.tables import load"),
        (rooms_import_only_what_is_below, "meter/api/post.py", "from meter.intake import Intake"),
        (rooms_import_only_what_is_below, "meter/publish/x.py", "def f():\n  import meter.intake"),
        (rooms_import_only_what_is_below, "meter/http/x.py", "from meter.api import routes"),
        (rooms_import_only_what_is_below, "meter/intake.py", "from meter.api import routes"),
        (rooms_import_only_what_is_below, "meter/service/x.py", "from meter.cli import main"),
        (rooms_import_only_what_is_below, "meter/nowhere/x.py", "from meter.values import units"),
        (sums_share_nothing_with_the_rules, "meter/auditor/sums.py", "import meter.values.units"),
        (asyncpg_is_only_at_the_tables, "meter/intake.py", "import asyncpg.exceptions"),
        (asyncpg_is_only_at_the_tables, "meter/host/postgres.py", "from asyncpg import connect"),
        (aiohttp_is_only_at_the_edge, "meter/intake.py", "from aiohttp import web"),
        (sql_is_only_in_sql_files, "meter/tables/write.py", "q = 'SELECT a\\nFROM b'"),
        (sql_is_only_in_sql_files, "meter/tables/write.py", "q = f'SELECT {a} FROM b'"),
        (sql_is_only_in_sql_files, "ledger/store.py", "f('insert  into b values (1)')"),
        (sql_is_only_in_sql_files, "ledger/store.py", "f('update b\\nset a = 1')"),
        (sql_is_only_in_sql_files, "ledger/store.py", "f('WITH x AS (DELETE FROM b)')"),
        (sql_is_only_in_sql_files, "ledger/store.py", "f('CREATE TABLE b ()')"),
        (pure_files_import_nothing_impure, "meter/rules/rating.py", "import time"),
        (pure_files_import_nothing_impure, "meter/views/new.py", "from os import environ"),
        (pure_files_import_nothing_impure, "ledger/note.py", "import os.path"),
        (pure_files_import_nothing_impure, "ledger/bundle.py", "from io import open"),
        (
            pure_files_import_nothing_impure,
            "meter/rules/decide.py",
            "from meter.tables import write",
        ),
        (
            pure_files_import_nothing_impure,
            "meter/rules/decide.py",
            "from meter.tables.write import load",
        ),
        (pure_files_import_nothing_impure, "meter/rules/decide.py", "import meter.api.app"),
        (pure_files_wait_for_nothing, "meter/rules/decide.py", "async def f(): pass"),
        (pure_files_wait_for_nothing, "meter/rules/decide.py", "async def f():\n  await g()"),
        (pure_files_read_no_clock_and_no_file, "meter/rules/decide.py", "open('f')"),
        (pure_files_read_no_clock_and_no_file, "meter/values/units.py", "datetime.now(UTC)"),
        (
            pure_files_read_no_clock_and_no_file,
            "meter/values/units.py",
            "datetime.datetime.utcnow()",
        ),
        (pure_files_read_no_clock_and_no_file, "meter/values/units.py", "clock = date.today"),
        (problems_have_a_code_of_the_table, "meter/api/x.py", f"{PROBLEM}Problem('bussy', '')"),
        (problems_have_a_code_of_the_table, "meter/api/x.py", f"{PROBLEM}problem.code == 'bussy'"),
        (pure_files_know_no_float, "meter/rules/rating.py", "ratio = 0.5"),
        (pure_files_know_no_float, "meter/rules/rating.py", "x = float(y)"),
        (pure_files_know_no_float, "meter/rules/rating.py", "fen: float"),
        (pure_files_know_no_float, "meter/rules/rating.py", "x = y / 2"),
        (pure_files_know_no_float, "ledger/book.py", "x /= 2"),
    ],
)
def test_a_planted_fault_is_found(rule, path, source):
    assert list(rule(path, ast.parse(source)))


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("meter/wire/batch.py", "from ledger.canon import encode"),
        ("meter/tables/write.py", "import asyncpg\nasync def f(): await g(0.5)"),
        ("ledger/bundle.py", "from io import BytesIO"),
        (
            "meter/values/units.py",
            "from datetime import datetime\nx = datetime.fromisoformat(y) // 2",
        ),
        ("meter/rules/decide.py", "now = batch.now"),
        ("meter/tables/write.py", "'''Select rows from a table and update the set.'''"),
        ("meter/tables/write.py", "x = 'a key selected from the set'"),
        ("meter/api/app.py", "from aiohttp import web"),
    ],
)
def test_what_is_allowed_is_not_called_a_fault(path, source):
    tree = ast.parse(source)
    assert [what for rule in RULES for what in rule(path, tree)] == []


def test_the_rooms_stand_on_each_other_without_a_circle():
    order = graphlib.TopologicalSorter(ROOMS).static_order()
    assert set(order) == set(ROOMS)
    found = {room_of(file.relative_to(REPOSITORY).as_posix()) for file in source_files()}
    assert found - {None, "__init__"} == set(ROOMS) | COMPOSED


def test_no_modules_import_each_other_in_a_circle():
    graph = {}
    for file in source_files():
        path = file.relative_to(REPOSITORY).as_posix()
        names = [name for name in imports(ast.parse(file.read_text())) if name != "meter"]
        graph[path] = {each for name in names for each in files_of_module(name)} - {path}
    assert circle_in(graph) == []
    assert circle_in({"a.py": {"b.py"}, "b.py": {"a.py"}})


def circle_in(graph: dict[str, set[str]]) -> list[str]:
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        return error.args[1]
    return []


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
    assert unknown_files("see `meter/host/postgres.py`, `store.py`, `nowhere.py`") == ["nowhere.py"]
