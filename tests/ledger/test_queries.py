"""Statements by name, from the files of a package, with their names filled in."""

import sys

import pytest

from ledger.queries import load, script, with_names

FILE = """What stands before the first name is no statement.
-- name: head
SELECT size
FROM ledger.head;

-- name: with_names
SET ROLE :"owner";
-- name:nothing
-- name: last_one
SELECT 1 -- name: inner
"""


@pytest.fixture
def package(tmp_path, monkeypatch):
    """Make a package with one file of statements, and return its name."""
    folder = tmp_path / "statements_of_a_test"
    (folder / "sql").mkdir(parents=True)
    (folder / "__init__.py").write_text("")
    (folder / "sql" / "queries.sql").write_text(FILE, encoding="utf-8")
    (folder / "sql" / "twice.sql").write_text(
        "-- name: one\nSELECT 1;\n-- name: one\nSELECT 2;\n", encoding="utf-8"
    )
    monkeypatch.syspath_prepend(tmp_path)
    yield folder.name
    sys.modules.pop(folder.name, None)


def test_each_statement_of_a_file_is_had_by_its_name(package):
    assert load(package) == {
        "head": "SELECT size\nFROM ledger.head;",
        "with_names": 'SET ROLE :"owner";\n-- name:nothing',
        "last_one": "SELECT 1 -- name: inner",
    }


def test_two_statements_of_one_name_are_refused(package):
    with pytest.raises(AssertionError, match=r"/twice\.sql has two statements of one name"):
        load(package, "twice.sql")


def test_a_script_is_the_whole_file_as_it_is_or_with_its_names(package):
    assert script(package, "queries.sql") == FILE
    assert script(package, "queries.sql", {"owner": "o"}) == FILE.replace(':"owner"', '"o"')


def test_names_are_quoted_as_identifiers_and_as_text():
    sql = 'GRANT :"owner" TO :"login"; SELECT :\'owner\', :\'login\', :"owner"'
    names = {"owner": 'o"ne', "login": "l'ogin"}
    assert with_names(sql, names) == (
        'GRANT "o""ne" TO "l\'ogin"; SELECT \'o"ne\', \'l\'\'ogin\', "o""ne"'
    )
