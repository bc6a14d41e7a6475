"""Queries read what they show and little more: each filter has an index, whatever it finds."""

import json
import re
from collections.abc import Iterator
from typing import Any

import asyncpg
import pytest

from ledger.queries import load
from meter.tables import pages
from tests.books import ALPHA, record, void
from tests.services import HOUR, contract_body, serving

QUERIES = load("meter.tables", "pages.sql") | load("meter.tables", "pool_use.sql")
# Tables of few rows, which are read whole: a row for each year of a programme, for each token and
# person, and for each decision of two persons.
SMALL = {"pool", "token", "person", "closed_proposal"}
# Filters beside an index. A day on which all was taken back has no usage, a page begins among the
# conflicts of one size, and a record that was asked for by its id may not be voided.
# A segment that has changed something since then was found by its number.
BESIDE = {
    *(("usage", "usage_day"), ("rejected", "seq_conflict"), ("voided", "record")),
    ("has_changed", "segment"),
    # Of records whose number is bounded, those of some days and device kinds.
    *(("chosen_records", "record"), ("newest_chosen_records", "record")),
}


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for each in plan.get("Plans", ()):
        yield from nodes(each)


async def plan_of(connection: asyncpg.Connection, name: str) -> list[dict[str, Any]]:
    """Return the nodes of a query's plan, as it is for any arguments and a table of any size."""
    text = QUERIES[name]
    places = max((int(place) for place in re.findall(r"\$([0-9]+)", text)), default=0)
    await connection.execute(f"DEALLOCATE ALL; PREPARE asked AS {text}")
    nothing = f"({', '.join(['NULL'] * places)})" if places else ""
    (explained,) = await connection.fetchrow(f"EXPLAIN (FORMAT JSON) EXECUTE asked{nothing}")
    return list(nodes(json.loads(explained)[0]["Plan"]))


async def test_every_filter_of_a_page_has_an_index(database, tmp_path):
    async with serving(database, tmp_path):
        connection = await asyncpg.connect(database, statement_cache_size=0)
        await connection.execute("SET plan_cache_mode = force_generic_plan")
        await connection.execute("SET enable_seqscan = off; SET enable_bitmapscan = off")
        seen = set()
        for name in QUERIES:
            for node in await plan_of(connection, name):
                table = node.get("Relation Name")
                if table is None or table in SMALL:
                    continue
                seen.add(table)
                assert node["Node Type"] in ("Index Scan", "Index Only Scan"), (name, node)
                assert node.get("Index Cond"), (name, node)
                assert "Filter" not in node or (name, table) in BESIDE, (name, node)
        await connection.close()
    assert {"record", "refused", "withheld", "coupon", "contract_year", "segment"} <= seen


async def test_records_of_a_rare_status_are_found_without_reading_the_others(
    database, tmp_path, monkeypatch
):
    """One of many records was taken back: it is a page by itself, and so is the end."""
    monkeypatch.setattr(pages, "MAX_ENTRIES_READ", 1)
    async with serving(database, tmp_path) as service:
        await service.open_books()
        for seq in range(1, 40):
            await service.usage([record(f"r{seq}", "A", *HOUR, 1_000)], seq=seq)
        await service.usage(voids=[void("r20")], seq=40)
        path = f"/v1/enterprises/{ALPHA}/records?limit=1000"
        page = (await service.get(f"{path}&status=voided")).json
        assert [each["id"] for each in page["records"]] == ["r20"]
        assert page["more"] is False
        page = (await service.get(f"{path}&status=released")).json
        assert (page["records"], page["more"]) == ([], False)
        # Those that lie in many commits come in more pages, none of which is empty.
        found, after = [], ""
        while True:
            page = (await service.get(f"{path}&status=accepted&after={after}")).json
            found += [each["id"] for each in page["records"]]
            assert page["records"]
            after = page["next"]
            if not page["more"]:
                break
        assert found == [f"r{n}" for n in range(1, 40) if n != 20]


@pytest.mark.parametrize("most", [1, 7, 1_000])
async def test_a_firm_of_many_contracts_gets_shorter_pages_and_all_that_it_has(
    database, tmp_path, monkeypatch, most
):
    contracts = ["A", *(f"C{n}" for n in range(6))]
    async with serving(database, tmp_path) as service:
        await service.open_books()
        for name in contracts[1:]:
            await service.ask("/v1/contracts", **contract_body(name))
        right = [record(f"r{n}:{name}", name, *HOUR, 1_000) for name in contracts for n in range(2)]
        wrong = [each | {"id": f"x{each['id']}", "device": "abacus"} for each in right]
        await service.usage([*right, *wrong])
        monkeypatch.setattr(pages, "MAX_ROWS_READ", most)
        for name, key, count in (("records", "records", 14), ("refused", "refused", 14)):
            found, after = [], ""
            while True:
                path = f"/v1/enterprises/{ALPHA}/{name}?limit=1000&after={after}"
                page = (await service.get(path)).json
                found += [each["id"] for each in page[key]]
                assert len(page[key]) <= max(1, most // len(contracts)), page
                after = page["next"]
                if not page["more"]:
                    break
            assert len(found) == len(set(found)) == count
        usage = (await service.get(f"/v1/enterprises/{ALPHA}/usage")).json["usage"]
        assert [each["device_hours"] for each in usage] == ["14.0000"]
