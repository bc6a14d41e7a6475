"""The list of records: newest first, by days of use and device kind, with grants and evidence."""

import asyncpg
import pytest

from meter.tables import pages
from tests.books import ALPHA, DEVICE, record, void
from tests.services import contract_body, enterprise_body, key_body, provider_body, serving

NOW = "2025-03-20T12:00:00+08:00"
OTHER = "h800"


def at(day: int, hours: int = 1) -> tuple[str, str]:
    return f"2025-03-{day:02}T08:00:00+08:00", f"2025-03-{day:02}T{8 + hours:02}:00:00+08:00"


@pytest.fixture
async def service(database, tmp_path):
    """Records of three days in another order, two of another kind, one void and one release."""
    async with serving(database, tmp_path, now=NOW) as service:
        await service.activate()
        await service.ask("/v1/providers", **provider_body(devices={DEVICE: 10, OTHER: 10}))
        await service.ask("/v1/providers/pcl/keys", **key_body("pcl-1"))
        await service.ask("/v1/enterprises", **enterprise_body())
        prices = {DEVICE: "4.50", OTHER: "8.00"}
        await service.ask("/v1/contracts", **contract_body("A", prices=prices))
        limited = contract_body("L", prices=prices, max_devices={DEVICE: 2})
        await service.ask("/v1/contracts", **limited)
        await service.issue(2025, "500.00")
        await service.usage(
            [
                record("late", "A", *at(12), 1_000),
                record("first", "A", *at(10), 2_000),
                record("other", "L", *at(11), 1_000, device=OTHER),
                record("again", "A", *at(11), 1_000, device=OTHER),
                record("beyond", "L", *at(12), 4_000),
            ]
        )
        await service.usage([record("full", "A", *at(12, 2), 9_000)], [void("first")], seq=2)
        await service.ask("/v1/records/release", provider="pcl", id="beyond", reason="seen")
        yield service


async def asked(service, query="", limit=2):
    """Return all lines of a list, page by page, and the last page."""
    found, after = [], ""
    while True:
        path = f"/v1/enterprises/{ALPHA}/records?limit={limit}&after={after}{query}"
        answer = await service.get(path)
        assert answer.status == 200, answer.body
        page = answer.json
        assert len(page["records"]) <= limit
        found += page["records"]
        after = page["next"]
        if not page["more"]:
            return found, page


async def ids(service, query, limit=2):
    found, page = await asked(service, query, limit)
    assert "total" not in page
    return [each["id"] if each["line"] == "record" else each["line"] for each in found]


@pytest.mark.parametrize("limit", [1, 3, 100])
async def test_the_newest_come_first_with_voids_and_releases(service, limit):
    newest = await ids(service, "&order=newest", limit)
    assert newest == [
        *("release", "full", "void", "beyond", "again", "other", "first", "late"),
    ]
    oldest, page = await asked(service, "&order=oldest", limit)
    assert [each["entry"] for each in oldest] == sorted(each["entry"] for each in oldest)
    assert len(oldest) == len(newest)
    assert "total" in page


async def test_the_newest_of_a_status_or_contract(service):
    assert await ids(service, "&order=newest&status=accepted") == ["again", "other", "late"]
    assert await ids(service, "&order=newest&contract=L") == ["release", "beyond", "other"]


@pytest.mark.parametrize("limit", [1, 3, 100])
async def test_records_of_days_are_in_the_order_of_their_entries(service, limit):
    days = ["late", "first", "other", "again", "beyond", "full"]
    assert await ids(service, "&from=2025-03-01", limit) == days
    assert await ids(service, "&from=2025-03-01&order=newest", limit) == days[::-1]


@pytest.mark.parametrize("most", [1, 7, 9, 1_000])
@pytest.mark.parametrize("order", ["oldest", "newest"])
async def test_a_page_reads_some_records_and_the_next_one_goes_on(
    service, monkeypatch, most, order
):
    monkeypatch.setattr(pages, "MAX_ROWS_READ", most)
    for query in ("from=2025-03-12", f"device={OTHER}", "until=2025-03-12&status=accepted"):
        everything = await ids(service, f"&{query}&order={order}", 100)
        monkeypatch.setattr(pages, "MAX_ROWS_READ", 20_000)
        assert everything == await ids(service, f"&{query}&order={order}", 100)
        monkeypatch.setattr(pages, "MAX_ROWS_READ", most)
        assert everything


async def test_only_entries_near_the_asked_days_are_read(service, database):
    """One commit has the first records, the next one that of the 19th: it is found alone."""
    await service.usage([record("last", "A", *at(19), 1_000)], seq=3)
    connection = await asyncpg.connect(database)
    rows = await connection.fetch(
        "SELECT day, device, first, last FROM meter.usage_day WHERE contract = 'A' ORDER BY day"
    )
    entries = {
        entry.id: number
        for number, entry in enumerate(await service.entries())
        if entry.kind == "usage"
    }
    spans = {(row["day"] - rows[0]["day"], row["device"]): tuple(row)[2:] for row in rows}
    first = entries["late"], entries["beyond"]
    assert spans == {
        (0, DEVICE): first,
        (1, OTHER): first,
        (2, DEVICE): (first[0], entries["full"]),
        (9, DEVICE): (entries["last"], entries["last"]),
    }
    await connection.close()


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("from=2025-03-11&until=2025-03-12", ["other", "again"]),
        ("until=2025-03-11", ["first"]),
        ("from=2025-03-12", ["late", "beyond", "full"]),
        ("from=2025-03-12&until=2025-03-12", []),
        (f"device={OTHER}", ["other", "again"]),
        (f"device={OTHER}&contract=A", ["again"]),
        ("device=abacus", []),
        ("from=2025-03-01&status=voided", ["first"]),
        ("from=2025-03-01&status=released", ["beyond"]),
        (f"device={DEVICE}&status=withheld", ["full"]),
    ],
)
async def test_filters(service, query, found):
    assert await ids(service, f"&{query}") == found


async def test_a_line_tells_what_its_entry_granted(service):
    found, _ = await asked(service, limit=100)
    granted = {(each["line"], each["id"]): each["granted"] for each in found}
    assert granted["record", "first"] == "4.50"
    assert granted["void", "first"] == "-4.50"
    assert granted["record", "beyond"] == "4.50"  # of 4 cards, 2 fit
    assert granted["release", "beyond"] == "4.50"
    assert sum(float(fen) for fen in granted.values()) == float(
        (await service.balance())["granted"]
    )


async def test_of_what_is_withheld_the_contracts_own_limit_is_told_with_its_time(service):
    found, _ = await asked(service, limit=100)
    evidence = {each["id"]: each["evidence"] for each in found if each["line"] == "record"}
    assert evidence["beyond"] == [
        {
            "limit": "contract",
            "from": "2025-03-12T08:00:00+08:00",
            "until": "2025-03-12T09:00:00+08:00",
            "device_hours": "2.0000",
        }
    ]
    # 10 devices are enlisted, and others had some of them: when, is not told.
    assert evidence["full"] == [{"limit": "provider", "device_hours": "2.0000"}]
    assert evidence["late"] == []


async def test_a_place_of_one_order_leads_nowhere_in_another(service):
    path = f"/v1/enterprises/{ALPHA}/records?limit=1"
    place = (await service.get(f"{path}&order=newest")).json["next"]
    for query in ("", "&order=oldest", "&from=2025-03-01"):
        assert (await service.get(f"{path}&after={place}{query}")).code == "malformed"
    assert (await service.get(f"{path}&order=best")).code == "malformed"
    assert (await service.get(f"{path}&from=2025-02-30")).code == "malformed"
