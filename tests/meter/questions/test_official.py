"""What officials are told of pools, coupons, registers, the queue and entries agrees with these."""

import json

import pytest

from meter.tables import pages as tables_pages
from meter.values.units import format_moment, format_money
from tests.asking import (
    NEW_YEAR,
    OTHER_DEVICE,
    everything,
    evolved,
    expected_records,
    pages,
    right,
    told,
)
from tests.books import ALPHA, BETA, DEVICE, PROGRAMME, coupon_of, micros, record, uscc_of, void
from tests.services import ask, key_body, stored

# Authority and auditor


@pytest.mark.usefixtures("past")
async def test_pools_and_coupons_add_up_as_the_entries_say(service):
    await service.issue(2026, "5.00", BETA)
    state = await evolved(service)
    assert await everything(service, "/v1/pools", "pools", 1) == [
        {
            "programme": programme,
            "year": year,
            "amount": format_money(pool.amount),
            "issued": format_money(pool.issued),
            "left": format_money(pool.amount - pool.issued),
            "granted": format_money(
                sum(
                    contract.shares[year].granted
                    for contract in state.contracts.values()
                    if year in contract.shares
                )
            ),
            "programmes": [PROGRAMME],
            "stated": "500000000.00",
        }
        for (programme, year), pool in sorted(state.pools.items())
    ]
    expected = [coupon_view(state, *coupon) for coupon in sorted(state.coupons)]
    assert len(expected) == 3
    for limit in (1, 2, 100):
        assert await everything(service, "/v1/coupons", "coupons", limit) == expected
        found = await everything(service, "/v1/coupons?year=2026", "coupons", limit)
        assert found == [each for each in expected if each["year"] == 2026]
    assert await everything(service, f"/v1/coupons?programme={PROGRAMME}", "coupons") == expected
    assert await everything(service, "/v1/coupons?programme=x&year=2026", "coupons") == []
    for each in expected:
        balance = await service.balance(each["year"], each["enterprise"])
        assert {name: balance[name] for name in each} == each


def coupon_view(state, enterprise, programme, year):
    coupon = coupon_of(state, (enterprise, programme, year))
    return {
        "enterprise": enterprise,
        "programme": programme,
        "year": year,
        "issued": format_money(coupon.issued),
        "granted": format_money(coupon.granted),
        "remaining": format_money(coupon.issued - coupon.granted),
        "entitled": format_money(coupon.entitled),
        "uncovered": format_money(coupon.entitled - coupon.granted),
    }


async def test_enterprises_and_providers_are_listed_as_they_were_registered(service):
    await service.ask("/v1/providers/pcl/keys", **key_body("pcl-2"))
    await service.ask("/v1/keys/pcl-1/revoke")
    enlisted = {"batch": "2026-1", "from": "2026-01-01", "until": "2026-07-01"}
    body = {"devices": {OTHER_DEVICE: 5}, "enlisted": enlisted}
    await service.ask("/v1/providers/pcl/enlistments", **body)
    state = await evolved(service)
    found = await everything(service, "/v1/enterprises", "enterprises", 1)
    assert found == [
        {
            "uscc": uscc,
            "entry": state.enterprises[uscc].entry,
            "name": "深圳某某科技有限公司",
            "kind": "enterprise",
            "founded_on": "2019-04-01",
            "contracts": contracts,
            "succeeded": [],
        }
        for uscc, contracts in ((ALPHA, 4), (BETA, 1))
    ]
    found = await everything(service, "/v1/providers", "providers", 1)
    assert [each["id"] for each in found] == ["pcl", "other"]
    assert found[0] == {
        "id": "pcl",
        "entry": state.providers["pcl"].entry,
        "uscc": uscc_of(9),
        "name": "鹏城实验室",
        "serves": [],
        "enlistments": [
            {
                "batch": "2025-1",
                "devices": {DEVICE: 10_000, OTHER_DEVICE: 10_000},
                "from": "2020-01-01",
                "until": "2030-01-01",
            },
            enlisted | {"devices": {OTHER_DEVICE: 5}},
        ],
        "keys": [{"keyid": "pcl-1", "revoked": True}, {"keyid": "pcl-2", "revoked": False}],
    }


async def test_the_queue_holds_what_was_withheld_until_it_is_released_or_voided(service):
    usage = [right(f"w{n}", "W", milli_devices=600) for n in range(5)]
    await service.usage(usage)
    queue = await everything(service, "/v1/withheld", "withheld", 1)
    assert [(each["id"], each["device_hours"], each["amount"]) for each in queue] == [
        ("w1", "0.2000", "0.90"),
        *((f"w{n}", "0.6000", "2.70") for n in (2, 3, 4)),
    ]
    entries = await service.entries()
    for each in queue:
        entry = entries[each["entry"]]
        assert (each["id"], each["enterprise"], each["contract"]) == (entry.id, ALPHA, "W")
        assert each["time"] == format_moment(entries[-1].at)
        assert (micros(each["start"]), micros(each["end"])) == (entry.start, entry.end)
        assert [
            (item["limit"], micros(item["from"]), micros(item["until"]))
            for item in each["evidence"]
        ] == [evidence[:3] for evidence in entry.evidence]
        hours = [evidence[3] / 3_600_000 for evidence in entry.evidence]
        assert [float(item["device_hours"]) for item in each["evidence"]] == hours
    body = {"provider": "pcl", "reason": "seen"}
    await service.ask("/v1/records/release", **body, id="w2")
    await service.ask("/v1/records/void", **body, id="w3")
    await service.usage([], [void("w0")], seq=2)  # frees room, but decides nothing anew
    left = await everything(service, "/v1/withheld", "withheld", 1)
    assert left == [queue[0], queue[3]]
    await service.usage([], [void("w1"), void("w2"), void("w4")], seq=3)
    assert await everything(service, "/v1/withheld", "withheld", 1) == []


def worth_a_fen(record):
    return (record.usage.withheld_cost or 0) > 0


async def test_what_is_withheld_of_less_than_a_fen_waits_for_no_reviewer(service):
    # At 4.50 for a device-hour, 8 s of one device are exactly a fen.
    start = NEW_YEAR + 8 * 3_600
    usage = [record("full", "W", start, start + 3_600, 1_000)]
    usage.append(record("below", "W", start, start + 7, 1_000))
    usage.append(record("fen", "W", start, start + 8, 1_000))
    await service.usage(usage)
    queue = await everything(service, "/v1/withheld", "withheld", 10)
    assert [(each["id"], each["amount"]) for each in queue] == [("fen", "0.01")]
    body = {"provider": "pcl", "id": "below", "reason": "a clock was wrong"}
    assert (await service.post("/v1/records/release", body)).status == 201


@pytest.mark.usefixtures("past")
async def test_the_queue_is_what_the_entries_say_after_any_past(service):
    state = await evolved(service)
    expected = [
        each.entry
        for each in sorted(state.records.values(), key=lambda each: each.entry)
        if each.voided is None and each.released is None and worth_a_fen(each)
    ]
    assert expected
    for limit in (1, 1_000):
        found = await everything(service, "/v1/withheld", "withheld", limit)
        assert [each["entry"] for each in found] == expected
        for provider in ("pcl", "other"):
            path = f"/v1/providers/{provider}/withheld"
            own = [each for each in found if each["provider"] == provider]
            assert await everything(service, path, "withheld", limit) == own
    assert (await service.get("/v1/providers/none/withheld")).code == "unknown_provider"


# The auditor's entries


def concerns(entries, number, filters):
    """Return whether the fields of an entry match the filters."""
    entry = entries[number]
    fields = json.loads(entry)
    contracts = {
        each["id"]: each for each in map(json.loads, entries) if each["kind"] == "contract"
    }
    accounts = [account.split(":") for posting in fields["postings"] for account in posting[:2]]
    about = {fields.get("contract")} | {fields["id"] if fields["kind"] == "contract" else None}
    moved = about | {words[1] for words in accounts if words[0] in ("accrued", "due")}
    owners = {fields.get("enterprise"), fields.get("uscc")} | {
        contracts[name]["enterprise"] for name in moved if name
    }
    computers = {fields.get("provider")} | {contracts[each]["provider"] for each in moved if each}
    computers |= {fields["id"]} if fields["kind"] == "provider" else set()
    computers |= {fields["keyid"][:-2]} if fields["kind"] == "revocation" else set()
    record_id = fields.get("id") if fields["kind"] in ("usage", "void", "release") else None
    batch = fields.get("batch", number if fields["kind"] == "batch" else None)
    payload = json.loads(entries[batch])["payload"] if batch is not None else None
    known = {
        "kind": {fields["kind"]},
        "contract": moved,
        "enterprise": owners,
        "provider": computers,
        "record": {record_id},
        "batch": {payload},
        "person": {fields.get("person")},
    }
    return all(value in known[name] for name, value in filters.items())


@pytest.mark.usefixtures("past")
async def test_filters_find_exactly_the_entries_that_they_name(service):
    await service.ask("/v1/keys/pcl-1/revoke")
    entries = await stored(service.dsn)
    kinds = {json.loads(entry)["kind"] for entry in entries}
    assert len(kinds) > 11
    batches = await told(service)
    with_records = next(each for each in batches if len(each.receipt["results"]) > 2)
    records = [json.loads(entry) for entry in entries if b'"kind":"release"' in entry]
    searches = [{}, *({"kind": kind} for kind in (*kinds, "unfreeze"))]
    searches += [{"contract": name} for name in (*"ABCWF", "unknown")]
    searches += [{"provider": name} for name in ("pcl", "other", "unknown")]
    searches += [{"enterprise": name} for name in (ALPHA, BETA, uscc_of(77))]
    person = json.loads(entries[0])["person"]
    searches += [{"person": name} for name in (person, "nobody")]
    searches += [{"kind": kind, "person": person} for kind in ("void", "batch", "contract")]
    searches += [{"record": each["id"]} for each in records[:3]] + [{"record": "none"}]
    searches += [{"batch": each.payload} for each in batches[:5]] + [{"batch": "0" * 64}]
    searches += [
        {"kind": "void", "contract": "A"},
        {"kind": "usage", "enterprise": BETA, "provider": "pcl"},
        {"kind": "issue", "enterprise": ALPHA},
        {"kind": "batch", "contract": "A"},
        {"kind": "usage", "record": records[0]["id"], "provider": records[0]["provider"]},
        {"record": records[0]["id"], "provider": "unknown"},
        {"batch": with_records.payload, "kind": "usage", "contract": "A"},
        {"batch": with_records.payload, "record": with_records.receipt["results"][0]["id"]},
        {"enterprise": ALPHA, "contract": "C"},
    ]
    for filters in searches:
        query = "&".join(f"{name}={value}" for name, value in filters.items())
        expected = [n for n in range(len(entries)) if concerns(entries, n, filters)]
        for limit in (2, 1_000):
            found = await everything(service, f"/v1/entries?{query}", "entries", limit)
            assert [each["number"] for each in found] == expected, filters
            assert all(
                json.dumps(each["entry"], ensure_ascii=False, separators=(",", ":")).encode()
                == entries[each["number"]]
                for each in found
            )


@pytest.mark.usefixtures("past")
@pytest.mark.parametrize("bound", [1, 7])
async def test_a_page_reads_a_bounded_number_of_entries_and_says_where_to_go_on(
    service, monkeypatch, bound
):
    entries = await stored(service.dsn)
    monkeypatch.setattr(tables_pages, "MAX_ENTRIES_READ", bound)
    filters = {"kind": "void", "provider": "pcl"}
    query = "&".join(f"{name}={value}" for name, value in filters.items())
    asked = [page async for page in pages(service, f"/v1/entries?{query}", 1_000)]
    found = [each["number"] for page in asked for each in page["entries"]]
    assert found == [n for n in range(len(entries)) if concerns(entries, n, filters)]
    assert bound > 1 or any(not page["entries"] for page in asked)
    assert all(len(page["entries"]) <= bound for page in asked)
    assert asked[-1]["next"] == len(entries) - 1
    # The same of records.
    records = f"/v1/enterprises/{ALPHA}/records"
    segments = dict(await ask(service.dsn, "SELECT first, count FROM ledger.segment"))
    for query in ("", "?status=voided"):
        asked = [page async for page in pages(service, f"{records}{query}", 1_000)]
        found = [each for page in asked for each in page["records"]]
        for page in asked:
            numbers = [each["entry"] for each in page["records"]]
            read = sorted({max(n for n in segments if n <= number) for number in numbers})
            assert sum(segments[first] for first in read[:-1]) < bound
        assert len(asked) > 2
        status = query.rpartition("=")[2]
        assert found == [
            each
            for each in expected_records(await service.entries(), "ABWF")
            if status in ("", each.get("status"))
        ]


async def test_a_page_of_the_queue_reads_a_bounded_number_of_runs(service, monkeypatch):
    monkeypatch.setattr(tables_pages, "MAX_RUNS_READ", 2)
    await service.usage([right(f"w{n}", "W", milli_devices=2_000) for n in range(5)])
    asked = [page async for page in pages(service, "/v1/withheld", 1_000)]
    assert [[each["id"] for each in page["withheld"]] for page in asked] == [
        ["w0", "w1"],
        ["w2", "w3"],
        ["w4"],
    ]
