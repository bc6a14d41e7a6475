"""What questions read of a ledger that is four times as long, with the same days and contracts.

Each question is asked through its route, and what it asked of the database is explained there: the
rows of each table that were read, those that a filter dropped included. Lists are asked for a page.
"""

import json
import re
from collections import Counter
from collections.abc import Iterator
from typing import Any, ClassVar

import asyncpg
from msgspec import structs

from meter.api import get_statement
from meter.api.app import ROUTES
from meter.api.routes import EVENTS, Route
from meter.tables import connections, pages
from meter.values.units import format_instant, parse_instant
from tests.books import ALPHA, DEVICE, PROGRAMME, record, void
from tests.services import HOUR, Service, serving

SMALL, LARGE = 20, 80  # batches
BATCH_RECORDS = 12
LIMIT = 5
SLACK = 1.5  # of buffers: an index of more rows is deeper

# Of what people decide, which usage makes no more of; of one batch; of a month that is over, whose
# lines are those of contracts, and what it corrects a range of an index; and the log's files.
OTHERS = {"claim", "award", "project", "proposal", "token", "id", "objection", "target", "alert"}
OTHERS |= {"keyid", "digest", "tile", "month"}
NAMES = {"uscc": ALPHA, "provider": "pcl", "contract": "A", "stream": "main", "entry": 9, "line": 9}
ASKED = {"programme": PROGRAMME, "year": 2025, "limit": LIMIT, "item": "A", "q": "a", "days": 30}
SIZE = "SIZE"  # one less than the ledger's when it is asked
COMMIT = "COMMIT"  # the size before the newest commit
EARLY = "EARLY"  # the size when the ledger was small
OWN = f"/v1/enterprises/{ALPHA}"
MORE = [
    f"{OWN}/balance?programme={PROGRAMME}&year=2025&as_of={SIZE}",
    f"{OWN}/records?limit={LIMIT}&status=accepted&order=newest",
    f"{OWN}/records?limit={LIMIT}&from=2025-03-01&until=2025-03-02&device={DEVICE}",
    f"{OWN}/records?limit={LIMIT}&contract=A&status=voided",
    f"/v1/providers/pcl/records?limit={LIMIT}&run=r3",
    f"/v1/questions?enterprise={ALPHA}",
    "/v1/questions?provider=pcl&after=20",
    *(f"/v1/entries?limit={LIMIT}&{what}" for what in ("contract=A", "kind=void", "provider=pcl")),
    f"/v1/entries?limit={LIMIT}&record=r3:1",
    # Of the month before all of this, after which the ledger goes on.
    *(f"/v1/{what}/statements/2025-02" for what in ("contracts/A", "providers/pcl")),
    f"{OWN}/statements/2025-02",
]
PAST = [
    *(f"/v1/{what}?limit={LIMIT}" for what in ("pools", "coupons", "contracts", "claims")),
    *(f"{OWN}/{what}?limit={LIMIT}" for what in ("contracts", "records", "claims")),
    f"{OWN}/records?limit={LIMIT}&status=accepted&order=newest",
    f"{OWN}/records?limit={LIMIT}&status=withheld",
    f"{OWN}/records?limit={LIMIT}&from=2025-03-01&until=2025-03-02&device={DEVICE}",
    *(f"/v1/providers/pcl/{what}?limit={LIMIT}" for what in ("contracts", "records")),
    "/v1/contracts/A?",
]
MORE += [f"{path}&as_of={size}" for path in PAST for size in (COMMIT, EARLY)]
# Of a page, so low that the small ledger fills it; docs/benchmarks.md says how much they are.
BOUNDS = {
    *("MAX_QUESTIONED", "MAX_ENTRIES_READ", "MAX_ROWS_READ", "MAX_BATCH_ITEMS"),
    "MAX_GAPS_READ",
}
FEW = 5


class Recording(connections._Reader):
    """A connection for queries that writes down what it was asked."""

    asked: ClassVar[list[tuple[str, tuple[Any, ...]]]] = []

    async def _execute(self, query: str, args: Any, *more: Any, **named: Any) -> Any:
        self.asked.append((query, tuple(args)))
        return await super()._execute(query, args, *more, **named)

    def cursor(self, query: str, *args: Any, **named: Any) -> Any:
        self.asked.append((query, args))
        return super().cursor(query, *args, **named)


def questions() -> Iterator[str]:
    """Yield a path for each question about what usage makes: who asked what is none of it."""
    for route in ROUTES:
        if route.roles and "authority" not in route.roles:
            continue
        names = set(re.findall(r"\{(\w+)\}", route.path))
        if route.method == "GET" and not names & OTHERS and route.response != EVENTS:
            path = re.sub(r"\{(\w+)\}", lambda match: str(NAMES[match[1]]), route.path)
            yield "?".join(filter(None, (path, "&".join(parameters(route)))))
    yield from MORE


def parameters(route: Route) -> Iterator[str]:
    for field in structs.fields(route.query):
        if field.required or field.name == "limit":
            yield f"{field.encode_name}={ASKED[field.encode_name]}"


def test_the_questions_are_those_that_there_are():
    paths = list(questions())
    assert len(paths) > 50
    assert {f"{OWN}/usage?limit=5", "/v1/questions", "/v1/growth"} <= set(paths)


async def grow(service: Service, batches: range) -> None:
    """Post batches about the same hours: one record in each is refused, one is taken back."""
    for number in batches:
        records = [_record(number, each) for each in range(BATCH_RECORDS)]
        voids = [void(f"r{number - 1}:0")] if number > 1 else []
        seq = number + number // 2  # every other batch leaves a gap
        answer = await service.usage(records, voids, seq=seq)
        assert answer.status == 200, answer.body


def _record(number: int, each: int) -> dict[str, Any]:
    begins = parse_instant(HOUR[0]) - each * 3600
    times = format_instant(begins), format_instant(begins + 3600)
    device = "abacus" if each == BATCH_RECORDS - 1 else DEVICE
    return record(f"r{number}:{each}", "A", *times, 1, device=device)


async def read(
    connection: asyncpg.Connection, asked: list[tuple[str, tuple[Any, ...]]]
) -> tuple[Counter[str], int]:
    """Return how many rows of each table some statements read, and how many buffers."""
    rows: Counter[str] = Counter()
    buffers = 0
    for text, args in asked:
        if not re.match(r"\s*(--.*\n\s*)*(SELECT|WITH)\b", text):
            continue
        explain = f"EXPLAIN (ANALYZE, BUFFERS, TIMING OFF, FORMAT JSON) {text}"
        plan = json.loads(await connection.fetchval(explain, *args))[0]["Plan"]
        buffers += plan["Shared Hit Blocks"] + plan["Shared Read Blocks"]
        for node in nodes(plan):
            if table := node.get("Relation Name"):
                dropped = sum(node.get(f"Rows Removed by {what}", 0) for what in _DROPPING)
                rows[table] += round((node["Actual Rows"] + dropped) * node["Actual Loops"])
    return rows, buffers


_DROPPING = ("Filter", "Index Recheck", "Join Filter")


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for each in plan.get("Plans", ()):
        yield from nodes(each)


async def test_no_question_reads_more_of_a_longer_ledger(database, tmp_path, monkeypatch):
    monkeypatch.setattr(connections, "_Reader", Recording)
    for bound in BOUNDS:
        monkeypatch.setattr(pages, bound, FEW)
    monkeypatch.setattr(get_statement, "MAX_ENTRIES", FEW)
    found: dict[str, list[tuple[Counter[str], int]]] = {path: [] for path in questions()}
    async with serving(database, tmp_path) as service:
        await service.open_books()
        await grow(service, range(1, 2))
        early = service.intake.watermark.size
        for batches in (range(2, SMALL + 1), range(SMALL + 1, LARGE + 1)):
            await grow(service, batches[:-1])
            commit = service.intake.watermark.size
            await grow(service, batches[-1:])
            # As planned for tables of any size: the small ones here would be read whole.
            connection = await asyncpg.connect(database, statement_cache_size=0)
            await connection.execute("ANALYZE; SET enable_seqscan = off")
            size = service.intake.watermark.size
            for path, reads in found.items():
                Recording.asked.clear()
                asked = path.replace(SIZE, str(size - 1)).replace(COMMIT, str(commit))
                answer = await service.get(asked.replace(EARLY, str(early)))
                assert answer.status == 200, (path, answer.body)
                reads.append(await read(connection, list(Recording.asked)))
            await connection.close()
    growing = {}
    for path, ((few, some), (many, more)) in found.items():
        tables = {table: (few[table], n) for table, n in many.items() if n > few[table]}
        if tables or more > SLACK * some + 10:
            growing[path] = tables, (some, more)
    assert growing == {}
