"""The mutation tester: which faults it plants, who judges them, and what it tells."""

import ast
from datetime import date

import pytest

from tests.mutants import run
from tests.mutants.judges import JUDGES, judges_of
from tests.mutants.mutate import mutants
from tests.mutants.page import Result, Results, table
from tests.mutants.run import REPOSITORY, copied

SOURCE = '''
LIMIT: int = 7

def first(values: list[int], *, quick: bool = True) -> int | None:
    """A text of 1 line."""
    assert len(values) > 3
    if not values or values[0] < LIMIT:
        raise ValueError(f"{values[0] + 1}")
    _log.info("seen")
    values.sort()
    return values[0] if quick else 2
    return -values[1] // 2
'''
FAULTS = [
    "first, line 4: True -> False",
    "first, line 7: not values -> values",
    "first, line 7: not values or values[0] < LIMIT -> not (not values or values[0] < LIMIT)",
    "first, line 7: not values or values[0] < LIMIT -> not values",
    "first, line 7: not values or values[0] < LIMIT -> values[0] < LIMIT",
    "first, line 7: 0 -> 1",
    "first, line 7: values[0] < LIMIT -> values[0] <= LIMIT",
    'first, line 8: raise ValueError(f"{values[0] + 1}") -> pass',
    "first, line 10: values.sort() -> pass",
    "first, line 12: -values[1] -> values[1]",
    "first, line 11: values[0] if quick else 2 -> 2 if quick else values[0]",
    "first, line 11: 0 -> 1",
    "first, line 11: 2 -> 3",
    "first, line 12: -values[1] // 2 -> -values[1] * 2",
    "first, line 12: 1 -> 2",
    "first, line 12: 2 -> 3",
    "module, line 2: 7 -> 8",
]


def test_each_small_fault_is_planted_once_and_named():
    found = mutants(SOURCE)
    assert sorted(mutant.name for mutant in found) == sorted(FAULTS)
    (left_out,) = (each.source for each in found if each.name.endswith("sort() -> pass"))
    assert left_out == SOURCE.replace("values.sort()", "pass")


def test_a_changed_part_keeps_its_place_between_its_neighbours():
    sources = {mutant.source for mutant in mutants("x = 2 * (a + 1)\né = 'é' in b\n")}
    assert "x = 2 * ((a - 1))\né = 'é' in b\n" in sources
    assert "x = 2 * (a + 1)\né = ('é' not in b)\n" in sources


@pytest.mark.parametrize("file", ["ledger/canon.py", "meter/intake.py", "meter/rules/rating.py"])
def test_every_mutant_of_a_file_can_be_read_and_is_another_with_a_name_of_its_own(file):
    source = (REPOSITORY / file).read_text(encoding="utf-8")
    meaning, found = ast.dump(ast.parse(source)), mutants(source)
    assert len({mutant.name for mutant in found}) == len(found) > 20
    for mutant in found:
        assert ast.dump(ast.parse(mutant.source)) != meaning, mutant.name


# They hold names and little else, or choose what is imported.
NOT_JUDGED = {
    f"ledger/{name}.py"
    for name in ("__init__", "errors", "progress", "queries", "roles", "seen", "sources")
}


def test_every_file_of_the_rules_the_log_and_the_audit_has_judges_and_all_are_there():
    rooms = ("ledger", "meter/rules", "meter/auditor")
    files = {path for room in rooms for path in (REPOSITORY / room).rglob("*.py")}
    files = {path for path in files if path.name != "__init__.py" or path.parent.name == "ledger"}
    names = {path.relative_to(REPOSITORY).as_posix() for path in files} | {"meter/intake.py"}
    assert names - NOT_JUDGED == set(JUDGES)
    judges = {judge for file in JUDGES for judge in judges_of(file)}
    assert [judge for judge in judges if not (REPOSITORY / judge).is_file()] == []


def test_tests_find_a_fault_or_miss_it_and_the_source_is_right_afterwards():
    file, tests = "ledger/log.py", ["tests/ledger/test_log.py"]
    source = (REPOSITORY / file).read_text(encoding="utf-8")
    (fault,) = (each for each in mutants(source) if each.name.endswith("at < self.last_at)"))
    with copied() as copy:
        assert copy.judge(file, fault.source, tests, 0) == "found"
        assert copy.judge(file, source + "\n", tests, 0) == "missed"
        digests = [copy.digest_of(file, each) for each in (tests, [], tests * 2, tests)]
    assert len(set(digests)) == 3


def test_a_fault_that_hangs_is_found_by_its_time(monkeypatch):
    monkeypatch.setattr(run, "LEAST_SECONDS", 0)
    with copied() as copy:
        hanging = "import time\ntime.sleep(1_000)\n"
        assert copy.judge("ledger/log.py", hanging, ["tests/ledger/test_log.py"], 2) == "timeout"


def test_results_are_kept_and_hold_for_the_very_files_that_gave_them(tmp_path):
    path = tmp_path / "new" / "results"
    for verdict in ("missed", "found"):
        Results(path).add(Result("a.py", "f: 1 -> 2", "digest", verdict))
        assert Results(path).verdict("a.py", "f: 1 -> 2", "digest") == verdict
    assert Results(path).verdict("a.py", "f: 1 -> 2", "other") is None


def test_the_table_counts_by_file_what_was_judged():
    counts = {"a.py": 10, "b.py": 5, "c.py": 1}
    verdicts = {"a.py": ["found", "missed", "timeout"], "b.py": ["found"]}
    assert table(counts, verdicts, date(2025, 3, 1)).splitlines()[4:] == [
        "| a.py | 10 | 3 | 1 | 1 | 1 | 66.7 % |",
        "| b.py | 5 | 1 | 1 | 0 | 0 | 100.0 % |",
        "| all | 16 | 4 | 2 | 1 | 1 | 75.0 % |",
    ]
