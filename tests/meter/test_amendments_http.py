"""Amendments over HTTP: by two persons, from rows, and told to those whom they concern."""

import pytest

from meter.api import events
from meter.service import rebuild
from meter.service.setup import Authority
from tests.books import ALPHA, BETA, DEVICE, PROGRAMME, lifted, record, void
from tests.listening import replay
from tests.services import (
    address_of,
    authorization,
    check_sums,
    contract_body,
    enterprise_body,
    key_body,
    projections,
    provider_body,
    serving,
)

NOW = "2025-06-20T12:00:00+08:00"
MARCH = ("2025-03-01T00:00:00+08:00", "2025-03-05T04:00:00+08:00")  # 100 hours
MAY = ("2025-05-01T00:00:00+08:00", "2025-05-05T04:00:00+08:00")
NIGHT = ("2025-04-09T23:00:00+08:00", "2025-04-10T01:00:00+08:00")
SUPPLEMENT = {
    "mode": "supplement",
    "effective": "2025-04-10",
    "signed_on": "2025-04-01",
    "prices": {DEVICE: "4.00"},
    "document": "补充协议",
    "reason": "as signed",
}
CORRECTION = {
    "mode": "correction",
    "prices": {DEVICE: "4.40"},
    "document": "合同扫描件",
    "reason": "a digit was wrong",
}


TAKING = """
[transition]
running = "take"
effective = "2025-04-20"
article = "1"
standing = "judgement"
"""


async def open_books(service):
    await service.activate(lifted())
    await service.ask("/v1/providers", **provider_body(devices={DEVICE: 2_000_000}))
    await service.ask("/v1/providers/pcl/keys", **key_body("pcl-1"))
    for uscc in (ALPHA, BETA):
        await service.ask("/v1/enterprises", **enterprise_body(uscc))
    await service.ask("/v1/contracts", **contract_body("A"))
    await service.issue(2025, "500000.00")


@pytest.fixture
async def service(database, tmp_path):
    async with serving(database, tmp_path, now=NOW) as service:
        await open_books(service)
        yield service


def size_of(service):
    return service.intake.watermark.size


async def sums(service, contract="A"):
    held = await service.contract(contract)
    return held["cost"], held["years"][0]["granted"]


async def test_the_worked_examples(service, database):
    await service.usage([record("a", "A", *MARCH, 64_000)])
    await service.ask("/v1/contracts/A/amend", **SUPPLEMENT)
    await service.usage([record("b", "A", *MAY, 64_000)], seq=2)
    assert await sums(service) == ("54400.00", "27200.00")
    answer = await service.ask("/v1/contracts/A/amend", **CORRECTION)
    assert (answer["cost"], answer["entitled"]) == ("-640.00", "-320.00")
    assert await sums(service) == ("53760.00", "26880.00")
    held = await service.contract()
    assert held["prices"] == {DEVICE: "4.00"}  # of today
    assert len(held["amendments"]) == 2
    await service.usage([record("c", "A", *NIGHT, 1_000)], [void("a"), void("b")], seq=3)
    assert await sums(service) == ("8.40", "4.20")
    await check_sums(database)


async def test_two_persons_amend(database, tmp_path):
    authority = Authority(persons=("wang", "li"))
    async with serving(database, tmp_path, now=NOW, authority=authority) as service:
        answer = await service.post("/v1/contracts/A/amend", CORRECTION)
        assert answer.code == "two_persons_needed"
        body = CORRECTION | {"contract": "A"}
        proposal = await service.ask("/v1/proposals", command="amendment", body=body)
        answer = await service.post(f"/v1/proposals/{proposal['entry']}/confirm")
        assert answer.code == "same_person"


async def test_a_proposed_amendment_is_decided_on_what_was_booked_until_its_confirmation(service):
    body = CORRECTION | {"contract": "A"}
    proposal = await service.ask("/v1/proposals", command="amendment", body=body)
    await service.usage([record("a", "A", *MARCH, 64_000)])
    await service.ask(f"/v1/proposals/{proposal['entry']}/confirm")
    assert await sums(service) == ("28160.00", "14080.00")


async def test_the_history_tells_each_reader_what_is_theirs(service):
    await service.usage([record("a", "A", *MARCH, 64_000)])
    await service.ask("/v1/contracts/A/amend", **SUPPLEMENT, amount="900000.00", until="2026-06-01")
    await service.ask("/v1/contracts/A/amend", **CORRECTION)
    days = {"starts": "2025-01-01", "ends": "2025-01-08", "open_until": "2025-08-01"}
    await service.ask("/v1/contracts/A/late-window", reason="a long outage", **days)
    await service.ask("/v1/contracts/A/freeze", reason="asked about")
    firm = {"Authorization": await authorization(service, "firm", "enterprise", ALPHA)}
    provider = {"Authorization": await authorization(service, "pcl", "provider", "pcl")}
    told = (await service.get("/v1/contracts/A/history", **firm)).json["history"]
    officials = (await service.get("/v1/contracts/A/history")).json["history"]
    assert {(each.pop("by"), each.pop("person")) for each in officials} == {
        ("authority-1", "authority")
    }
    assert told == officials
    kinds = ["contract", "amendment", "amendment", "late_window", "freeze"]
    assert [each["kind"] for each in told] == kinds
    first, supplement, correction, window, freeze = told
    assert (window["until"], window["open_until"]) == ("2025-01-08", "2025-08-01")
    assert (first["amount"], first["prices"]) == ("1000000.00", {DEVICE: "4.50"})
    assert supplement["effective"] == "2025-04-10"
    assert (supplement["amount"], supplement["until"]) == ("900000.00", "2026-06-01")
    assert (correction["cost"], correction["entitled"], correction["granted"]) == (
        *("-640.00", "-320.00", "-320.00"),
    )
    assert freeze["reason"] == "asked about"
    theirs = (await service.get("/v1/contracts/A/history", **provider)).json["history"]
    assert theirs[2]["cost"] == "-640.00"
    assert not {"entitled", "granted", "by", "person"} & theirs[2].keys()
    other = {"Authorization": await authorization(service, "beta", "enterprise", BETA)}
    assert (await service.get("/v1/contracts/A/history", **other)).code == "not_found"


async def test_events_tell_of_amendments_and_a_contract_that_leaves(service, monkeypatch):
    monkeypatch.setattr(events, "HEARTBEAT_SECONDS", 0.03)  # so that the end of all is known
    await service.ask("/v1/contracts", **contract_body("B"))
    await service.usage([record("a", "A", *MARCH, 64_000)])
    await service.ask("/v1/contracts/A/amend", **CORRECTION, enterprise=BETA)
    await service.usage([record("b", "A", *MAY, 1_000)], seq=2)
    readers = {uscc: (f"e-{uscc[-4:]}", "enterprise", uscc) for uscc in (ALPHA, BETA)} | {
        "pcl": ("p", "provider", "pcl")
    }
    heard = {
        name: await replay(service, (await authorization(service, *reader)).removeprefix("Bearer "))
        for name, reader in readers.items()
    }
    told = {name: [event for _, event, _ in each.events] for name, each in heard.items()}
    assert told[ALPHA][-1] == "contract.amended"
    assert told[BETA] == ["contract.amended", "record.accepted"]
    [amended] = heard["pcl"].named("contract.amended")
    assert (amended["cost"], "entitled" in amended) == ("-640.00", False)
    [amended] = heard[BETA].named("contract.amended")
    assert (amended["cost"], amended["granted"]) == ("-640.00", "-14400.00")


async def test_a_balance_of_the_past_is_of_the_terms_of_then(service):
    await service.ask("/v1/contracts", **contract_body("W", max_devices={DEVICE: 4}))
    await service.usage([record("w", "W", *MARCH, 10_000), record("a", "A", *MARCH, 1_000)])
    await service.ask("/v1/contracts", **contract_body("Z", enterprise=BETA))
    await service.issue(2025, "1000.00", BETA)
    balances = [(size_of(service), await service.balance())]
    for body in (CORRECTION, CORRECTION | {"enterprise": BETA, "prices": {DEVICE: "5.00"}}):
        await service.ask("/v1/contracts/W/amend", **body)
        balances.append((size_of(service), await service.balance()))
    assert [share["withheld"] for share in balances[1][1]["contracts"]] == ["0.00", "2640.00"]
    assert [each["contract"] for each in balances[2][1]["contracts"]] == ["A"]
    for size, known in balances:
        path = f"/v1/enterprises/{ALPHA}/balance?programme=training-coupon&year=2025&as_of={size}"
        past = (await service.get(path)).json
        assert past["contracts"] == known["contracts"]
        assert past["granted"] == known["granted"]


async def test_the_records_of_a_contract_add_up_with_its_amendments(service):
    await service.usage([record("a", "A", *MARCH, 64_000), record("b", "A", *NIGHT, 1_001)])
    await service.ask("/v1/contracts/A/amend", **CORRECTION)
    page = (await service.get(f"/v1/enterprises/{ALPHA}/records")).json
    assert page["amended"]["cost"] == "-640.20"
    assert page["total"]["cost"] == "28168.80"
    assert page["rounding"]["cost"] == "0.00"


async def test_a_version_takes_a_contract_and_a_restart_knows_it(database, tmp_path, monkeypatch):
    async with serving(database, tmp_path, now="2025-04-01T12:00:00+08:00") as service:
        await open_books(service)
        await service.usage([record("a", "A", *MARCH, 1_000)])
        content = lifted(version="v2", standard=4_000) + TAKING
        body = {"programme": PROGRAMME, "version": "v2", "content": content}
        before = await projections(database)
        await service.ask("/v1/policies", **body)
        changed = {
            name for name, rows in (await projections(database)).items() if rows != before[name]
        }
        # Nothing of a contract: what is booked lies before. Its pool is noted as of the entry.
        assert changed == {"meter.registration", "meter.segment_subject", "meter.pool_past"}
    async with serving(database, tmp_path, now=NOW) as service:
        await service.usage([record("b", "A", *MAY, 1_000)], seq=2)
        assert await sums(service) == ("900.00", "405.00")
        await service.usage([], [void("a")], seq=3)
        assert await sums(service) == ("450.00", "180.00")
        await check_sums(database)
        before = await projections(database)
        for chunk in (10_000, 7, 1):
            monkeypatch.setattr(rebuild, "CHUNK_ENTRIES", chunk)
            await rebuild.rebuild(address_of(database))
            assert await projections(database) == before
    async with serving(database, tmp_path, now=NOW) as service:
        assert await sums(service) == ("450.00", "180.00")
        await service.usage([], [void("b")], seq=4)
        assert await sums(service) == ("0.00", "0.00")
    await check_sums(database)


async def test_a_rebuild_finds_the_same(service, database, monkeypatch):
    records = [record(f"a{n}", "A", *MARCH, 1_000 * n) for n in range(1, 4)]
    await service.usage(records)
    await service.ask("/v1/contracts/A/amend", **SUPPLEMENT, max_devices={DEVICE: 2})
    await service.usage([record("b", "A", *MAY, 5_000)], [void("a1")], seq=2)
    await service.ask("/v1/contracts/A/amend", **CORRECTION, enterprise=BETA)
    await service.usage([record("c", "A", *MAY, 1_000)], [void("b"), void("a2")], seq=3)
    await check_sums(database)
    before = await projections(database)
    for chunk in (10_000, 7, 1):
        monkeypatch.setattr(rebuild, "CHUNK_ENTRIES", chunk)
        await rebuild.rebuild(address_of(database))
        assert await projections(database) == before
