"""The steps of docs/adding-an-entry-kind.md, carried out on a copy of the sources."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
PAGE = REPOSITORY / "docs/adding-an-entry-kind.md"

# The copy decides, applies and sums up the new kind, and finds it by its subjects.
TRY = """
from ledger.canon import decode, encode
from meter.auditor.sums import Sums
from meter.rules.commands import RemarkContract
from meter.rules.entries import ContractRemarked
from meter.rules.kinds.table import command_of, read_entry
from meter.rules.subjects import subjects_of
from tests.books import ALPHA, opened

books = opened()
books.contract("A")
books.ask(RemarkContract, contract="A", reason="seen on site")
entry = books.entries[-1]
assert isinstance(entry, ContractRemarked), entry
assert read_entry(decode(encode(entry))) == entry
assert command_of(entry) == RemarkContract(contract="A", reason="seen on site")
assert subjects_of(books.state, entry) >= {"kind:remark", "contract:A", f"enterprise:{ALPHA}"}
sums = Sums()
for number, each in enumerate(books.entries):
    sums.entry(number, encode(each))
sums.finish()
from meter.api.app import ROUTES
assert any(route.path == "/v1/contracts/{contract}/remark" for route in ROUTES)
print("tried")
"""


def blocks() -> dict[str, str]:
    """Return the code blocks of the page, by the file that the first line names."""
    found = re.findall(r"```python\n# (\S+)\n(.*?)```", PAGE.read_text(), re.DOTALL)
    return dict(found)


def put(file: Path, before: str, text: str) -> None:
    source = file.read_text()
    assert source.count(before) == 1, f"{file} has not one {before!r}"
    file.write_text(source.replace(before, text + before))


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    for name in ("ledger", "meter", "tests"):
        ignored = shutil.ignore_patterns("*.so", "__pycache__")
        shutil.copytree(REPOSITORY / name, tmp_path / name, ignore=ignored)
    shutil.copy(REPOSITORY / "pyproject.toml", tmp_path)
    return tmp_path


def run(copy: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(copy)}
    command = [sys.executable, *words]
    return subprocess.run(command, cwd=copy, env=environment, capture_output=True, text=True)


def add_struct_and_kind(copy: Path) -> None:
    rules, code = copy / "meter/rules", blocks()
    put(rules / "entries.py", "RecordEntry = ", code["meter/rules/entries.py"] + "\n\n")
    put(rules / "commands.py", "def fields_of(", code["meter/rules/commands.py"] + "\n\n")
    (rules / "kinds/remarks.py").write_text(code["meter/rules/kinds/remarks.py"])
    table = rules / "kinds/table.py"
    put(table, "    service_keys,\n", "    remarks,\n")
    put(table, "    coupons.ISSUE,\n", "    remarks.REMARK,\n")


def test_the_page_adds_a_kind(copy):
    add_struct_and_kind(copy)
    # A kind that the union lacks ends every start.
    started = run(copy, "-c", "import meter.rules.kinds.table")
    assert "AnyEntry and KINDS differ" in started.stderr
    put(copy / "meter/rules/entries.py", "    | RecordEntry\n)", "    | ContractRemarked\n")
    # So does a command without a URL.
    started = run(copy, "-c", "import meter.api.post")
    assert "no URL, or no kind" in started.stderr
    url = '    RemarkContract: ("/v1/contracts/{contract}/remark", "Remark on a contract"),\n'
    put(copy / "meter/api/post.py", "    IssueCoupon: (", url)
    put(copy / "meter/api/post.py", "    ReleaseRecord,\n", "    RemarkContract,\n")
    # The sums refuse what they do not know.
    tried = run(copy, "-c", TRY)
    assert "sum_kind" in tried.stderr
    put(copy / "meter/auditor/sums.py", '"key", "revocation",', '"remark", ')
    # Whom it is told to is said, or nothing starts.
    tried = run(copy, "-c", TRY)
    assert "TOLD and KINDS differ: {'remark'}" in tried.stderr
    put(copy / "meter/views/told.py", "    # money\n", '    "remark": _FIRM,\n')
    tried = run(copy, "-c", TRY)
    assert tried.stdout == "tried\n", tried.stderr


def test_the_type_checker_names_what_a_new_kind_forgot(copy):
    add_struct_and_kind(copy)
    put(copy / "meter/rules/entries.py", "    | RecordEntry\n)", "    | ContractRemarked\n")
    files = ["meter/views/events.py", "meter/auditor/replay.py"]
    cache = f"--cache-dir={copy / 'cache'}"
    told = run(copy, "-m", "mypy", cache, "--config-file=", "--follow-imports=silent", *files)
    for file in files:
        assert re.search(rf"{file}:\d+: error: .*assert_never.*ContractRemarked", told.stdout)
