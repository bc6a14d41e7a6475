"""The mutation tester: which faults it plants, who judges them, and what it tells."""

import ast
import re
import shutil
from collections import Counter
from datetime import date

import pytest

from tests.mutants import known, page, run
from tests.mutants.judges import JUDGES, is_pure, judges_of
from tests.mutants.mutate import mutants
from tests.mutants.page import NO_FAULTS, table
from tests.mutants.ready import Ready
from tests.mutants.results import Results, Seen, digest_of
from tests.mutants.run import REPOSITORY, Judgement, JudgesError, copied
from tests.mutants.sample import interval, order

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
IF = " in if not values or values[0] < LIMIT:"
QUICK = " in return values[0] if quick else 2"
HALF = " in return -values[1] // 2"
FAULTS = {
    "module: 7 -> 8 in LIMIT: int = 7": 2,
    "first: True -> False in def first(values: list[int], *, quick: bool = True) -> int | None:": 4,
    "first: not values or values[0] < LIMIT -> not (not values or values[0] < LIMIT)" + IF: 7,
    "first: not values or values[0] < LIMIT -> not values" + IF: 7,
    "first: not values or values[0] < LIMIT -> values[0] < LIMIT" + IF: 7,
    "first: not values -> values" + IF: 7,
    "first: values[0] < LIMIT -> values[0] <= LIMIT" + IF: 7,
    "first: 0 -> 1" + IF: 7,
    'first: raise ValueError(f"{values[0] + 1}") -> pass': 8,
    "first: values.sort() -> pass": 10,
    "first: values[0] if quick else 2 -> 2 if quick else values[0]" + QUICK: 11,
    "first: 0 -> 1" + QUICK: 11,
    "first: 2 -> 3" + QUICK: 11,
    "first: -values[1] // 2 -> -values[1] * 2" + HALF: 12,
    "first: -values[1] -> values[1]" + HALF: 12,
    "first: 1 -> 2" + HALF: 12,
    "first: 2 -> 3" + HALF: 12,
}


def test_each_small_fault_is_planted_once_and_named():
    found = mutants(SOURCE)
    assert {mutant.name: mutant.lines.start for mutant in found} == FAULTS
    assert len(found) == len(FAULTS)
    (left_out,) = (each.source for each in found if each.name.endswith("sort() -> pass"))
    assert left_out == SOURCE.replace("values.sort()", "pass")


def test_what_a_class_forbids_is_changed_and_not_how_it_is_made():
    names = [each.name for each in mutants("class A(B, frozen=True, strict=True): pass\n")]
    assert names == [
        "A: True -> False in class A(B, frozen=True, strict=True): pass",
    ]


def test_what_is_asserted_is_left_as_it_is():
    names = [
        each.name for each in mutants("assert a < 1\nfor b in zip(c, d[1], strict=True): pass\n")
    ]
    assert [name.partition(" in ")[0] for name in names] == ["module: 1 -> 2"]


def test_equal_faults_of_one_line_are_numbered():
    names = [mutant.name for mutant in mutants("x = a < b, a < b\n")]
    name = "module: a < b -> a <= b in x = a < b, a < b"
    assert names == [name, f"{name} (2)"]


def test_a_changed_part_keeps_its_place_between_its_neighbours():
    sources = {mutant.source for mutant in mutants("x = 2 * (a + 1)\né = 'é' in b\n")}
    assert "x = 2 * ((a - 1))\né = 'é' in b\n" in sources
    assert "x = 2 * (a + 1)\né = ('é' not in b)\n" in sources


def test_a_mutant_names_the_lines_of_its_statement_before_the_body_and_leaves_all_others():
    source = """
if (
    a
    and b
):
    c.d(
        1,
    )
match e:
    case f if g > h:
        i += j
"""
    found = mutants(source)
    lines = [(each.name.split(" -> ")[0], each.lines.start, each.lines.stop) for each in found]
    assert [each for each in lines if " in " not in each[0]] == [
        ("module: a and b", 2, 6),
        ("module: a and b", 2, 6),
        ("module: a and b", 2, 6),
        ("module: c.d( 1, )", 6, 9),
        ("module: 1", 6, 9),
        ("module: g > h", 10, 11),
        ("module: i += j", 11, 12),
    ]
    for mutant in found:
        assert mutant.source.count("\n") == source.count("\n"), mutant.name


@pytest.mark.parametrize("file", ["ledger/canon.py", "meter/intake.py", "meter/rules/rating.py"])
def test_every_mutant_of_a_file_can_be_read_and_is_another_with_a_name_of_its_own(file):
    source = (REPOSITORY / file).read_text(encoding="utf-8")
    meaning, found = ast.dump(ast.parse(source)), mutants(source)
    assert len({mutant.name for mutant in found}) == len(found) > 20
    for mutant in found:
        assert ast.dump(ast.parse(mutant.source)) != meaning, mutant.name


# They hold no code, or choose what is imported.
NOT_JUDGED = {f"ledger/{name}.py" for name in ("__init__", "progress", "sources")}


def test_every_file_of_the_rules_the_log_and_the_audit_has_judges_and_all_are_there():
    rooms = ("ledger", "meter/rules", "meter/auditor")
    files = {path for room in rooms for path in (REPOSITORY / room).rglob("*.py")}
    files = {path for path in files if path.name != "__init__.py" or path.parent.name == "ledger"}
    names = {path.relative_to(REPOSITORY).as_posix() for path in files} | {"meter/intake.py"}
    assert names - NOT_JUDGED == set(JUDGES)
    judges = {judge for file in JUDGES for judge in judges_of(file)}
    assert [judge for judge in judges if not (REPOSITORY / judge).is_file()] == []


@pytest.mark.parametrize("file", NO_FAULTS)
def test_each_change_that_is_no_fault_can_be_planted_and_has_a_reason(file):
    names = {mutant.name for mutant in mutants((REPOSITORY / file).read_text(encoding="utf-8"))}
    assert [name for name in NO_FAULTS[file] if name not in names] == []
    assert all(re.fullmatch(r"[A-Z`].{15,}\.", reason) for reason in NO_FAULTS[file].values())


LOG = "ledger/log.py"
LOG_TESTS = ["tests/ledger/test_log.py"]


def test_tests_find_a_fault_or_miss_it_and_the_source_is_right_afterwards():
    source = (REPOSITORY / LOG).read_text(encoding="utf-8")
    other, wrong = source.replace("an entry", "one line"), source.replace("at < self", "at > self")
    with copied() as copy:
        assert copy.judge(LOG, other, LOG_TESTS) == Judgement("missed")
        # Of the same size and maybe of the same second: its bytecode is not taken for the other's.
        found = copy.judge(LOG, wrong, LOG_TESTS)
        assert found.verdict == "found"
        assert found.by in copy.seconds
        assert (copy.root / LOG).read_text(encoding="utf-8") == source
        assert copy.judge(LOG, source, LOG_TESTS, {found.by: 1}) == Judgement("missed")


def test_the_tests_with_the_most_hope_begin():
    source = (REPOSITORY / LOG).read_text(encoding="utf-8")
    with copied() as copy:
        assert copy.judge(LOG, source, LOG_TESTS) == Judgement("missed")
        begins, second, *_, ends = copy.seconds
        for hopes, by in [
            ({}, begins),
            ({ends: 1}, ends),
            ({begins: 0.01}, second),
            ({second: 1, ends: 2}, ends),
        ]:
            found = copy.judge(LOG, source.replace("def append", "def add"), LOG_TESTS, hopes)
            assert found == Judgement("found", by)


def test_a_fault_that_hangs_is_found_by_its_time(monkeypatch):
    monkeypatch.setattr(run, "LEAST_SECONDS", 0.2)
    monkeypatch.setattr(run, "UNKNOWN_SECONDS", 0.5)
    source = (REPOSITORY / LOG).read_text(encoding="utf-8")
    while_imported = "import time\ntime.sleep(1_000)\n"
    in_a_test = source.replace("leaf = leaf_hash(data)", "while True: pass")
    with copied() as copy:
        assert copy.judge(LOG, while_imported, LOG_TESTS) == Judgement("timeout")
        hangs = copy.judge(LOG, in_a_test, LOG_TESTS)
        assert hangs == Judgement("timeout", next(iter(copy.seconds)))


def test_tests_that_need_a_database_judge_nothing_that_is_pure():
    file, judges = "meter/rules/state.py", ["tests/meter/test_state.py"]
    assert is_pure(file)
    assert not is_pure("meter/intake.py")
    source = (REPOSITORY / file).read_text(encoding="utf-8")
    with copied() as copy:
        tests = copy.root / judges[0]
        tests.write_text("def test_one(): pass\ndef test_two(database): pass\n", encoding="utf-8")
        assert copy.judge(file, source, judges) == Judgement("missed")
        assert list(copy.seconds) == [f"{judges[0]}::test_one"]


def test_tests_that_take_long_judge_nothing():
    source = (REPOSITORY / LOG).read_text(encoding="utf-8")
    with copied() as copy:
        (copy.root / LOG_TESTS[0]).write_text(
            "import pytest\n@pytest.mark.long\ndef test_one(): assert 0\ndef test_two(): pass\n",
            encoding="utf-8",
        )
        assert copy.judge(LOG, source, LOG_TESTS) == Judgement("missed")
        assert list(copy.seconds) == [f"{LOG_TESTS[0]}::test_two"]


def test_what_is_only_slow_is_no_fault(monkeypatch):
    monkeypatch.setattr(run, "PATIENCE", 0)
    source = (REPOSITORY / LOG).read_text(encoding="utf-8")
    with copied() as copy:
        assert copy.judge(LOG, source, LOG_TESTS) == Judgement("missed")


def test_tests_that_cannot_be_run_judge_nothing():
    with copied() as copy, pytest.raises(JudgesError, match="pytest ended with 4"):
        copy.judge(LOG, "", ["tests/ledger/test_none.py"])


def test_tests_that_fail_without_a_fault_judge_nothing():
    source = (REPOSITORY / LOG).read_text(encoding="utf-8")
    with copied() as copy:
        bad = copy.root / LOG_TESTS[0]
        for text, named in [
            ("def test_bad():\n    assert False\n", "test_log.py::test_bad"),
            ("raise ValueError\n", "test_log.py"),
        ]:
            bad.write_text(text, encoding="utf-8")
            with pytest.raises(JudgesError, match=rf"{named} ends with [12]"):
                copy.judge(LOG, source, LOG_TESTS)


READY_CODE = """
import functools

def of_class(function):
    return staticmethod(function)

class A:
    @of_class
    def half(number):
        return number // 2

@functools.cache
def both(one, two):
    return (
        one
        + two
    )

def early():
    return 5

def unused():
    return 6

EARLY = early()
"""
READY_TESTS = """
from functools import cache
from ledger.log import A, both, unused

@cache
def three():
    return both(1, 2)

def test_half(): assert A.half(5) == 2
def test_both(): assert three() == 3
def test_again(): assert three() > 2
def test_other(): pass
"""


@pytest.fixture
def kept(monkeypatch, tmp_path):
    monkeypatch.setattr(known, "KEPT", tmp_path / "kept")
    return tmp_path / "kept"


@pytest.fixture
def ready(kept):
    """A copy, and a process that has read the tests of a module of it."""
    assert not kept.exists()
    with copied() as copy:
        (copy.root / LOG).write_text(READY_CODE, encoding="utf-8")
        (copy.root / LOG_TESTS[0]).write_text(READY_TESTS, encoding="utf-8")
        yield copy, Ready(copy, LOG_TESTS, [LOG], pure=True)


def test_a_process_that_has_read_the_tests_judges_by_those_that_run_the_line(ready):
    copy, process = ready
    told = {
        mutant.name.partition(" in ")[0]: process.judge(LOG, mutant, LOG_TESTS, {})
        for mutant in mutants(READY_CODE)
    }
    test = LOG_TESTS[0]
    assert told == {
        "A.half: number // 2 -> number * 2": Judgement("found", f"{test}::test_half"),
        "A.half: 2 -> 3": Judgement("found", f"{test}::test_half"),
        # Each test that runs the line is asked, also where another left its value in a cache.
        "both: one + two -> one - two": Judgement("found", f"{test}::test_again"),
        "early: 5 -> 6": Judgement("missed"),
        "unused: 6 -> 7": Judgement("missed"),
    }
    assert set(copy.seconds) == {
        f"{test}::test_{name}" for name in ("half", "both", "again", "other")
    }
    assert (copy.root / LOG).read_text(encoding="utf-8") == READY_CODE


@pytest.mark.parametrize(
    ("code", "names"),
    [
        (READY_CODE, ["early: 5 -> 6"]),
        (READY_CODE.replace("one, two)", "one, two=2)"), ["early: 5 -> 6", "both: 2 -> 3"]),
        (READY_CODE.replace("= early()", "= 1"), ["early: 5 -> 6", "module: 1 -> 2"]),
    ],
)
def test_what_is_worked_out_at_import_is_judged_by_another_import(ready, monkeypatch, code, names):
    copy, process = ready
    sources = []
    monkeypatch.setattr(copy, "judge", lambda *parts: sources.append(parts[1]))
    (copy.root / LOG).write_text(code, encoding="utf-8")
    found = mutants(code)
    for mutant in found:
        process.judge(LOG, mutant, LOG_TESTS, {})
    assert {each.name.partition(" in ")[0] for each in found if each.source in sources} == {*names}


def test_lines_are_known_until_a_test_or_a_source_changes(ready):
    copy, _ = ready
    again = run.Copy(copy.root)
    Ready(again, LOG_TESTS, [LOG], pure=True)
    assert again.seconds == copy.seconds  # no test ran again
    # With those that need a database they are others.
    assert known.Known(copy.root, [LOG], pure=False).files_without(LOG_TESTS) == LOG_TESTS
    tests, helper = copy.root / LOG_TESTS[0], copy.root / "tests" / "helping.py"
    helper.write_text("", encoding="utf-8")
    tests.write_text(f"import tests.helping\n{READY_TESTS}", encoding="utf-8")
    known.digest_of.cache_clear()
    Ready(copy, LOG_TESTS, [LOG], pure=True)
    for path, unknown in [
        *((tests, LOG_TESTS), (helper, LOG_TESTS), (copy.root / LOG, LOG_TESTS)),
        (copy.root / "ledger/canon.py", []),  # which no test here runs
    ]:
        before = path.read_text(encoding="utf-8")
        for text, left in [(f"{before}#\n", unknown), (before, [])]:
            path.write_text(text, encoding="utf-8")
            known.digest_of.cache_clear()
            assert known.Known(copy.root, [LOG], pure=True).files_without(LOG_TESTS) == left


def test_lines_hold_where_a_source_changes_that_is_not_judged_but_its_tests_may_fail(ready):
    copy, _ = ready
    log, other = copy.root / LOG, "ledger/canon.py"
    for text, passing in ((f"{READY_CODE}#\n", False), (READY_CODE, True)):
        log.write_text(text, encoding="utf-8")
        known.digest_of.cache_clear()
        here = known.Known(copy.root, [other], pure=True)
        assert here.files_without(LOG_TESTS) == []
        assert LOG in {file for file, _ in here.tests_by_line(LOG_TESTS)}
        assert {*here.passing(LOG_TESTS)} == (copy.seconds.keys() if passing else set())


SHARED_CODE = "def size():\n    return 4\n"
SHARED_TESTS = """
import pytest
from ledger.log import size

@pytest.fixture(scope="module")
def made(): return size()

@pytest.fixture
def twice(made): return made * 2

def test_first(made): pass
def test_second(twice): assert twice == 8
def test_third(): pass
"""


@pytest.mark.usefixtures("kept")
def test_what_is_set_up_once_is_run_by_each_test_that_asks_for_it():
    with copied() as copy:
        (copy.root / LOG).write_text(SHARED_CODE, encoding="utf-8")
        (copy.root / LOG_TESTS[0]).write_text(SHARED_TESTS, encoding="utf-8")
        process = Ready(copy, LOG_TESTS, [LOG], pure=True)
        lines = known.Known(copy.root, [LOG], pure=True).tests_by_line(LOG_TESTS)
        told = [process.judge(LOG, each, LOG_TESTS, {}) for each in mutants(SHARED_CODE)]
    test = LOG_TESTS[0]
    assert lines[LOG, 2] == {f"{test}::test_first", f"{test}::test_second"}
    assert told == [Judgement("found", f"{test}::test_second")]


@pytest.mark.usefixtures("kept")
def test_tests_of_other_files_judge_what_the_named_ones_do_not_run():
    other = "tests/ledger/test_canon.py"
    with copied() as copy:
        (copy.root / LOG).write_text(READY_CODE, encoding="utf-8")
        (copy.root / LOG_TESTS[0]).write_text("def test_nothing(): pass\n", encoding="utf-8")
        (copy.root / other).write_text(READY_TESTS, encoding="utf-8")
        process = Ready(copy, [*LOG_TESTS, other], [LOG], pure=True)
        half, *_ = mutants(READY_CODE)
        found = process.judge(LOG, half, LOG_TESTS, {})
    assert found == Judgement("found", f"{other}::test_half")


@pytest.mark.usefixtures("kept")
def test_tests_that_cannot_be_read_or_fail_judge_nothing_at_once():
    with copied() as copy:
        bad = copy.root / LOG_TESTS[0]
        for text, told in [
            ("def test_bad():\n    assert False\n", "test_log.py ends with 1"),
            ("raise ValueError\n", "test_log.py ends with 2"),
        ]:
            bad.write_text(text, encoding="utf-8")
            with pytest.raises(JudgesError, match=told):
                Ready(copy, LOG_TESTS, [LOG], pure=False)
        bad.unlink()
        with pytest.raises(JudgesError, match="the tests cannot be read"):
            Ready(copy, LOG_TESTS, [LOG], pure=False)


@pytest.fixture
def tree(tmp_path):
    """A folder with a source and its tests."""
    for name, text in {"a.py": CODE, "t.py": TESTS, "u.py": "def test_u(): pass\n"}.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    return tmp_path


CODE = "import os\nx = 1\ndef f(): return 1\nclass A:\n    def b(self): return 2\n"
TESTS = "y = 2\ndef test_one(): pass\ndef test_two(): pass\n"
BOTH = ["t.py", "u.py"]
NAME = "f: 1 -> 2 in def f(): return 1"


def test_results_are_kept(tmp_path, tree):
    path = tmp_path / "new" / "results"
    for judgement in (Judgement("missed"), Judgement("found", "t.py::test_one[1]")):
        Results(path, tree).add("a.py", "f: 1 -> 2", BOTH, judgement)
        assert Results(path, tree).judgement("a.py", "f: 1 -> 2", BOTH) == judgement
    assert Results(path, tree).judgement("a.py", "f: 1 -> 3", BOTH) is None
    assert Results(path, tree).finds("a.py") == {"t.py::test_one[1]": 1}
    assert Results(path, tree).finds("b.py") == {}
    (tree / "t.py").rename(tree / "s.py")
    assert Results(path, tree).judgement("a.py", "f: 1 -> 2", ["s.py"]) is None


@pytest.mark.parametrize(
    ("file", "text", "holds"),
    [
        ("t.py", "import os\n" + TESTS, {"found"}),
        ("t.py", TESTS + "def test_three(): pass\n", {"found"}),
        ("t.py", TESTS.replace("def test_two(): pass", "# None."), {"found"}),
        ("t.py", TESTS.replace("one(): pass", "one(): y"), set()),
        ("t.py", TESTS.replace("2", "3"), set()),
        ("u.py", "def test_v(): pass\n", {"found"}),
        ("a.py", f"# One.\n{CODE}def g(): pass\n", {"found", "missed"}),
        ("a.py", CODE.replace("return 2", "return 3"), {"found", "missed"}),
        ("a.py", CODE.replace("return 1", "return 0"), set()),
    ],
)
def test_a_fault_stays_found_beside_other_tests_and_missed_while_none_changes(
    tree, file, text, holds
):
    by = {"found": "t.py::test_one", "missed": None}
    before = {verdict: digest_of(tree, "a.py", NAME, BOTH, test) for verdict, test in by.items()}
    changed = tree.parent / f"{tree.name}-changed"
    shutil.copytree(tree, changed)
    (changed / file).write_text(text, encoding="utf-8")
    after = {verdict: digest_of(changed, "a.py", NAME, BOTH, test) for verdict, test in by.items()}
    assert {verdict for verdict in by if before[verdict] == after[verdict]} == holds


@pytest.mark.parametrize(
    ("name", "text", "holds"),
    [
        ("A.b: 2 -> 3", CODE.replace("return 2", "return 3"), False),
        ("A.b: 2 -> 3", CODE.replace("return 1", "return 0"), True),
        ("module: 1 -> 2 in x = 1", CODE.replace("return 1", "return 0"), False),
        ("module: 1 -> 2 in x = 1", CODE.replace("import os", "import sys"), True),
    ],
)
def test_a_fault_of_a_class_holds_for_that_class_and_one_of_a_constant_for_the_file(
    tree, name, text, holds
):
    before = digest_of(tree, "a.py", name, BOTH, None)
    changed = tree.parent / f"{tree.name}-changed"
    shutil.copytree(tree, changed)
    (changed / "a.py").write_text(text, encoding="utf-8")
    assert (digest_of(changed, "a.py", name, BOTH, None) == before) is holds


def test_a_fault_that_the_newest_sample_drew_keeps_its_first_verdict(tree, tmp_path):
    path = tmp_path / "results"
    Results(path, tree).add("a.py", "f: one", BOTH, Judgement("found", "t.py::test_one"))
    assert Results(path, tree).result("a.py", "f: one", BOTH).first is None
    Results(path, tree).add("a.py", NAME, BOTH, Judgement("missed"), seed=1)
    Results(path, tree).add("a.py", NAME, BOTH, Judgement("found", "t.py::test_one"))
    assert Results(path, tree).seen("a.py", NAME, BOTH) == Seen("found", "missed")
    # Another sample says what it met, and what an older one met is told no more.
    Results(path, tree).add("a.py", "f: two", BOTH, Judgement("missed"), seed=2)
    Results(path, tree).add("a.py", "f: two", BOTH, Judgement("found", "t.py::test_one"), seed=2)
    assert Results(path, tree).seen("a.py", "f: two", BOTH) == Seen("found", "missed")
    assert Results(path, tree).seen("a.py", NAME, BOTH) == Seen("found")
    # One of pure files replaces none of others.
    pure = tree / "meter" / "rules" / "a.py"
    pure.parent.mkdir(parents=True)
    pure.write_text(CODE, encoding="utf-8")
    Results(path, tree).add("meter/rules/a.py", "f: one", BOTH, Judgement("missed"), seed=3)
    assert Results(path, tree).seen("a.py", "f: two", BOTH) == Seen("found", "missed")
    assert Results(path, tree).seen("meter/rules/a.py", "f: one", BOTH) == Seen("missed", "missed")
    Results(path, tree).add("a.py", NAME, BOTH, Judgement("found", "t.py::test_one"), seed=2)
    assert Results(path, tree).seen("a.py", NAME, BOTH) == Seen("found", "found")
    # Also where none of its verdicts holds, and the others are dropped.
    (tree / "t.py").rename(tree / "s.py")
    Results(path, tree).keep(("a.py", name, ["s.py"]) for name in (NAME, "f: one"))
    assert Results(path, tree).seen("a.py", NAME, ["s.py"]) == Seen(None, "found")
    assert len(path.read_text(encoding="utf-8").splitlines()) == 1


def test_each_beginning_of_the_order_of_a_sample_has_an_equal_share_of_each_file():
    names = {file: [f"{file}{number}" for number in range(20 * part)] for part, file in FILES}
    every = order(names, seed=1)
    assert sorted(every) == sorted((file, name) for file in names for name in names[file])
    for tenth in range(1, 11):
        beginning = Counter(file for file, _ in every[: 12 * tenth])
        assert all(abs(beginning[file] - 2 * part * tenth) <= 2 for part, file in FILES)
    assert every != order(names, seed=2)
    assert [each for each in every if each[0] == "b"] != [("b", name) for name in names["b"]]
    # What comes and goes in one file changes nothing of the others.
    assert [each for each in order(names | {"a": []}, 1) if each[0] == "b"] == [
        each for each in every if each[0] == "b"
    ]


FILES = [(1, "a"), (2, "b"), (3, "c")]


@pytest.mark.parametrize(
    ("found", "tried", "least", "most"),
    [(10, 10, 0.7225, 1.0), (0, 10, 0.0, 0.2775), (81, 263, 0.2553, 0.3662)],
)
def test_the_interval_of_a_share_is_wilsons(found, tried, least, most):
    assert interval(found, tried) == pytest.approx((least, most), abs=5e-5)


def test_only_results_that_hold_are_kept(tree, tmp_path):
    path, changed = tmp_path / "r" / "mutants.jsonl", tree.parent / f"{tree.name}-changed"
    Results(path, tree).add("a.py", "f: old", BOTH, Judgement("missed"))
    shutil.copytree(tree, changed)
    (changed / "a.py").write_text(CODE.replace("return 1", "return 0"), encoding="utf-8")
    held = Judgement("found", "t.py::test_one")
    Results(path, changed).add("a.py", "f: new", BOTH, held)
    names = ("f: old", "f: new", "f: unjudged")
    Results(path, changed).keep(("a.py", name, BOTH) for name in names)
    assert Results(path, changed).judgement("a.py", "f: new", BOTH) == held
    assert len(path.read_text(encoding="utf-8").splitlines()) == 1


def told_of(**verdicts):
    return {name: _seen(*verdict.split()) for name, verdict in verdicts.items()}


def _seen(verdict, first=None):
    return Seen(None if verdict == "-" else verdict, first)


def test_the_table_counts_by_file_what_was_judged_and_names_what_was_not():
    told = {
        "a.py": told_of(f="found", g="missed", h="timeout", i="missed", j="-"),
        "b.py": told_of(k="found"),
        "c.py": told_of(l="-"),
        "d.py": {},
    }
    no_faults = {"a.py": {"g": "Nobody sees it.", "f": "Somebody does."}}
    assert table(told, date(2025, 3, 1), no_faults).splitlines() == [
        "Made by `make mutants` on 2025-03-01: 5 of 7 mutants were judged.",
        "Not run: `c.py`.",
        "",
        "| file | mutants | judged | found | by time | no fault | missed | found of faults |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
        "| a.py | 5 | 4 | 1 | 1 | 1 | 1 | 66.7 % |",
        "| b.py | 1 | 1 | 1 | 0 | 0 | 0 | 100.0 % |",
        "| all | 7 | 5 | 2 | 1 | 1 | 1 | 75.0 % |",
    ]


def test_the_estimate_takes_samples_as_the_tests_were_before_them_and_the_rest_as_it_is():
    told = {
        # Four of its five are of the sample; two of three faults were found at first, all are now.
        "a.py": told_of(
            f="found found", g="found missed", h="timeout timeout", i="missed missed", j="found"
        )
        | told_of(k="-", l="-", m="-", n="-"),
        "b.py": told_of(o="found missed", p="found"),  # whole, so it needs no estimate
        "c.py": told_of(q="-"),  # not run, so nothing is said of it
        "meter/rules/d.py": told_of(r="missed missed", s="found found", t="-"),
    }
    text = table(told, date(2025, 3, 1), {"a.py": {"i": "Nobody sees it."}})
    # Of 8 judged faults 7 are found; 1 of the first kind and 3 of the second are not judged.
    bounds = zip(interval(1, 2), interval(2, 3), strict=True)
    least, most = (100 * (7 + one + 3 * two) / 12 for one, two in bounds)
    assert text.splitlines()[6:11] == [
        "| faults | tried | found | share | 95 % interval (Wilson) |",
        "|---|---:|---:|---:|---:|",
        f"| rules and independent sums | 2 | 1 | {shares(1, 2)} |",
        f"| log, intake and audit | 3 | 2 | {shares(2, 3)} |",
        f"| all, judged or not | | | {100 * 9.5 / 12:.1f} % | {least:.1f} % to {most:.1f} % |",
    ]


def shares(found: int, faults: int) -> str:
    least, most = interval(found, faults)
    return f"{100 * found / faults:.1f} % | {100 * least:.1f} % to {100 * most:.1f} %"


def test_the_page_has_a_place_for_the_table(tmp_path, monkeypatch):
    copy = tmp_path / "reliability.md"
    copy.write_text(page.PAGE.read_text(encoding="utf-8"), encoding="utf-8")
    monkeypatch.setattr(page, "PAGE", copy)
    page.write("a table")
    assert f"{page.BEGIN}\na table\n{page.END}" in copy.read_text(encoding="utf-8")


@pytest.mark.usefixtures("kept")
def test_tests_may_start_processes():
    with copied() as copy:
        text = (
            "from multiprocessing import get_context\n\n\n"
            "def test_process():\n"
            "    process = get_context('fork').Process(target=int)\n"
            "    process.start()\n"
            "    process.join()\n"
            "    assert process.exitcode == 0\n"
        )
        (copy.root / LOG_TESTS[0]).write_text(text, encoding="utf-8")
        Ready(copy, LOG_TESTS, [LOG], pure=True)
        assert [*copy.seconds] == [f"{LOG_TESTS[0]}::test_process"]
