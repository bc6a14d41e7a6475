"""The database under the ledger: what it may be, what it is held to, and how it is told apart."""

import io
import json

from meter.host import logs
from tests.services import ask, serving

OURS = "('ledger', 'meter')"


# Collations


async def test_every_text_column_has_the_collation_that_no_upgrade_changes(database, tmp_path):
    async with serving(database, tmp_path):
        columns = await ask(
            database,
            "SELECT attrelid::regclass::text AS table, attname AS column, collname"
            " FROM pg_attribute JOIN pg_collation ON pg_collation.oid = attcollation"
            f" WHERE attrelid IN (SELECT oid FROM pg_class WHERE relkind IN ('r', 'v', 'm')"
            f" AND relnamespace::regnamespace::text IN {OURS}) AND attnum > 0",
        )
    assert len(columns) >= 50
    assert [tuple(row) for row in columns if row["collname"] != "C"] == []


async def test_every_index_has_the_collation_that_no_upgrade_changes(database, tmp_path):
    async with serving(database, tmp_path):
        indexes = await ask(
            database,
            "SELECT indexrelid::regclass::text AS index, coalesce(collname, '') AS name"
            " FROM pg_index CROSS JOIN unnest(indcollation) AS held (oid)"
            " LEFT JOIN pg_collation ON pg_collation.oid = held.oid"
            " JOIN pg_class ON pg_class.oid = indrelid"
            f" WHERE relnamespace::regnamespace::text IN {OURS}",
        )
    assert {row["name"] for row in indexes} == {"", "C"}
    assert {"meter.record_pkey", "meter.batch_by_payload"} <= {row["index"] for row in indexes}


async def test_another_version_of_the_databases_own_collation_is_a_notice(database, tmp_path):
    async with serving(database, tmp_path):
        pass
    changed = "UPDATE pg_database SET datcollversion = 'another' WHERE datname = current_database()"
    await ask(database, changed)
    with logs.written_to(told := io.StringIO()):
        async with serving(database, tmp_path) as service:
            await service.open_books()
    events = [json.loads(line) for line in told.getvalue().splitlines()]
    (notice,) = [each for each in events if each["event"] == "collation_changed"]
    assert (notice["level"], notice["made_with"]) == ("warning", "another")
    assert notice["now"] != "another"
