"""What an enterprise is told of its contracts, usage and records agrees with the entries."""

from collections import Counter

import pytest

from meter.rules.rating import cost
from meter.values.units import format_instant, format_money
from meter.wire.receipt import REASONS
from tests.asking import HOUR_NOW, PRICES, as_a, everything, evolved, expected_records, right, told
from tests.books import ALPHA, BETA, PROGRAMME, record, void
from tests.services import contract_body


@pytest.mark.usefixtures("past")
async def test_an_enterprises_contracts_come_with_their_totals(service):
    state = await evolved(service)
    for path, chosen in {
        "/v1/contracts": lambda _: True,
        f"/v1/contracts?enterprise={ALPHA}": lambda terms: terms.enterprise == ALPHA,
        "/v1/contracts?provider=other": lambda terms: terms.provider == "other",
        f"/v1/contracts?provider=pcl&enterprise={BETA}": lambda terms: terms.id == "C",
        f"/v1/enterprises/{ALPHA}/contracts": lambda terms: terms.enterprise == ALPHA,
        f"/v1/enterprises/{BETA}/contracts": lambda terms: terms.enterprise == BETA,
    }.items():
        expected = [
            summary(contract)
            for contract in state.contracts.values()
            if chosen(contract.registered)
        ]
        for limit in (1, 2, 100):
            assert await everything(service, path, "contracts", limit) == expected, path
    one = await service.contract("A")
    same = (await everything(service, "/v1/contracts", "contracts"))[0]
    assert {name: one[name] for name in same.keys() & one.keys()} == {
        name: same[name] for name in same.keys() & one.keys()
    }


def summary(contract):
    terms, shares = contract.registered, contract.shares.values()
    entitled = sum(share.entitled for share in shares)
    granted = sum(share.granted for share in shares)
    return {
        "id": terms.id,
        "entry": contract.entry,
        "programme": terms.programme,
        "enterprise": terms.enterprise,
        "provider": terms.provider,
        "class": terms.ratio_class,
        "amount": format_money(terms.amount),
        "from": terms.starts,
        "until": terms.ends,
        "frozen": contract.frozen,
        "cost": format_money(cost(contract.used)),
        "entitled": format_money(entitled),
        "granted": format_money(granted),
        "uncovered": format_money(entitled - granted),
        **uncounted(contract, shares),
    }


def uncounted(contract, shares):
    """Return what of a contract's cost does not count, by the sums of its records."""
    eligible = sum(segment.eligible for segment in contract.segments)
    counted = eligible + sum(share.withheld for share in shares)
    reasons, reached = {}, counted
    for reason, numerator in zip(REASONS, contract.ineligible, strict=True):
        reasons[reason] = cost(reached + numerator) - cost(reached)
        reached += numerator
    return {
        "withheld": format_money(cost(counted) - cost(eligible)),
        "ineligible": format_money(cost(contract.used) - cost(counted)),
        "reasons": {reason: format_money(fen) for reason, fen in reasons.items() if fen},
    }


def usage_by_day(entries, contracts, first="0000-00-00", stop="9999-99-99"):
    """Split every record that is not voided by quarters, which never cross midnight."""
    voided = {entry.record for entry in entries if entry.kind == "void"}
    found = Counter()
    for number, entry in enumerate(entries):
        if entry.kind == "usage" and number not in voided and entry.contract in contracts:
            for begin in range(entry.start // 10**6, entry.end // 10**6, 900):
                day = format_instant(begin)[:10]
                found[day, entry.device] += 900 * entry.milli_devices
    return [
        {
            "date": day,
            "device": device,
            "milli_device_seconds": str(total),
            "device_hours": f"{total // 3_600_000}.{total % 3_600_000 // 360:04d}",
        }
        for (day, device), total in sorted(found.items())
        if first <= day < stop
    ]


@pytest.mark.usefixtures("past")
async def test_usage_is_added_up_by_shanghai_day_and_device_kind(service):
    entries = await service.entries()
    usage = f"/v1/enterprises/{ALPHA}/usage"
    all_of_it = usage_by_day(entries, "ABWF")
    assert len({each["date"] for each in all_of_it}) > 4
    assert {each["date"][:4] for each in all_of_it} == {"2025", "2026"}
    for path, expected in {
        usage: all_of_it,
        f"{usage}?programme={PROGRAMME}": all_of_it,
        f"{usage}?programme=nothing": [],
        f"{usage}?contract=W": usage_by_day(entries, "W"),
        f"{usage}?from=2026-01-01": usage_by_day(entries, "ABWF", "2026-01-01"),
        f"{usage}?until=2026-01-01": usage_by_day(entries, "ABWF", stop="2026-01-01"),
        f"{usage}?from=2025-12-31&until=2026-01-02&contract=A": usage_by_day(
            entries, "A", "2025-12-31", "2026-01-02"
        ),
        f"{usage}?from=2026-01-02&until=2026-01-02": [],
        f"{usage}?from=2026-01-02&until=2025-01-02": [],
        f"/v1/enterprises/{BETA}/usage": usage_by_day(entries, "C"),
    }.items():
        for limit in (1, 3, 1_000):
            assert await everything(service, path, "usage", limit) == expected, path


async def test_usage_is_split_exactly_at_midnight_and_a_void_takes_it_back_whole(service):
    edge = ("2025-12-31T23:59:59+08:00", "2026-01-02T00:00:07+08:00")
    await service.usage([record("long", "A", *edge, 333), record("short", "A", *HOUR_NOW, 1)])
    usage = f"/v1/enterprises/{ALPHA}/usage"
    found = await everything(service, usage, "usage")
    assert [(each["date"], each["milli_device_seconds"]) for each in found] == [
        ("2025-12-31", "333"),
        ("2026-01-01", str(333 * 86_400)),
        ("2026-01-02", str(333 * 7 + 3_600)),
    ]
    assert [each["device_hours"] for each in found] == ["0.0000", "7.9920", "0.0016"]
    await service.usage([], [void("long")], seq=2)
    found = await everything(service, usage, "usage")
    assert [(each["date"], each["milli_device_seconds"]) for each in found] == [
        ("2026-01-02", "3600")
    ]


@pytest.mark.usefixtures("past")
async def test_each_record_is_told_as_its_entry_says_with_what_became_of_it(service):
    entries = await service.entries()
    records = f"/v1/enterprises/{ALPHA}/records"
    all_of_them = expected_records(entries, "ABWF")
    statuses = {each["status"] for each in all_of_them if "status" in each}
    assert statuses == {"accepted", "withheld", "released", "voided"}
    assert {each["line"] for each in all_of_them} == {"record", "void", "release"}
    for limit in (1, 7, 1_000):
        assert await everything(service, records, "records", limit) == all_of_them
        for contract in "ABWF":
            found = await everything(service, f"{records}?contract={contract}", "records", limit)
            assert found == expected_records(entries, contract)
        for status in ("accepted", "withheld", "released", "voided"):
            found = await everything(service, f"{records}?status={status}", "records", limit)
            assert found == [each for each in all_of_them if each.get("status") == status]
    found = await everything(service, f"/v1/enterprises/{BETA}/records", "records")
    assert found == expected_records(entries, "C")


@pytest.mark.usefixtures("past")
@pytest.mark.parametrize("limit", [7, 1_000])
async def test_records_are_told_newest_first_and_by_days_and_kinds(service, limit):
    records = f"/v1/enterprises/{ALPHA}/records"
    all_of_them = expected_records(await service.entries(), "ABWF")
    found = await everything(service, f"{records}?order=newest", "records", limit)
    assert found == all_of_them[::-1]
    own = [each for each in all_of_them if each["line"] == "record"]
    days = sorted({each["start"][:10] for each in own})
    devices = {each["device"] for each in own}
    assert len(days) > 3
    assert len(devices) > 1
    begin, end = days[1], days[-2]
    asked = {f"device={device}": lambda each, d=device: each["device"] == d for device in devices}
    asked |= {
        f"from={begin}&until={end}": lambda each: begin <= each["start"][:10] < end,
        f"from={end}&status=accepted": lambda each: (
            each["start"][:10] >= end and each["status"] == "accepted"
        ),
    }
    for query, fits in asked.items():
        expected = list(filter(fits, own))
        assert expected, query
        found = await everything(service, f"{records}?{query}", "records", limit)
        assert found == expected, query
        newest = await everything(service, f"{records}?{query}&order=newest", "records", limit)
        assert newest == expected[::-1], query


async def expected_refused(service, contracts, providers):
    """Return refused records by their batch's entry, those with a withheld part by their own."""
    found = []
    for batch in await told(service):
        pairs = zip(batch.batch["records"], batch.receipt["results"], strict=True)
        for place, (content, result) in enumerate(pairs):
            theirs = content["contract"] in contracts
            if not theirs or providers[content["contract"]] != batch.provider:
                continue
            if result["status"] in ("rejected", "conflict"):
                code = result.get("code", "conflict")
                key = (batch.entry, place, content["id"], result["status"], code)
                found.append((*key, content["start"], content["contract"], ""))
    for each in expected_records(await service.entries(), contracts):
        if each["line"] == "record" and each["withheld"] != "0.00":
            status = "withheld" if each["status"] == "accepted" else each["status"]
            key = (each["entry"], -1, each["id"], status, "withheld", each["start"])
            found.append((*key, each["contract"], each["withheld"]))
    return [(key[0], *key[2:]) for key in sorted(found)]


@pytest.mark.usefixtures("past")
async def test_an_enterprise_sees_which_of_its_records_do_not_count(service):
    providers = {"A": "pcl", "B": "other", "C": "pcl", "W": "pcl", "F": "pcl"}
    statuses = set()
    for uscc, contracts in ((ALPHA, "ABWF"), (BETA, "C")):
        path = f"/v1/enterprises/{uscc}/refused"
        expected = await expected_refused(service, contracts, providers)
        for limit in (1, 5, 1_000):
            found = await everything(service, path, "refused", limit)
            names = ("entry", "id", "status", "code", "start", "contract", "withheld")
            assert [tuple(each.get(name, "") for name in names) for each in found] == expected
        statuses |= {each["status"] for each in found}
        for contract in contracts:
            one = await everything(service, f"{path}?contract={contract}", "refused")
            assert one == [each for each in found if each["contract"] == contract]
    assert statuses == {"rejected", "conflict", "withheld", "released", "voided"}


async def test_an_enterprise_sees_nothing_of_another(service):
    secret = "SECRET-OF-BETA"
    await service.ask("/v1/contracts", **contract_body(secret, enterprise=BETA, prices=PRICES))
    await service.usage([right("taken", secret), right("mine")])
    await service.usage([right("taken"), right("mine", secret), right("lost", secret)], seq=2)
    await service.post("/v1/usage", service.envelope([right("x", "B")], seq=3), None)
    mine = await as_a(service, "enterprise", ALPHA)
    bodies = b""
    for path in ("contracts", "usage", "records", "refused", f"balance?programme={PROGRAMME}"):
        mark = "&year=2026" if "?" in path else ""
        answer = await service.get(f"/v1/enterprises/{ALPHA}/{path}{mark}", **mine)
        assert answer.status == 200
        bodies += answer.body
    for word in (secret, BETA, "lost"):
        assert word.encode() not in bodies
    found = await everything(service, f"/v1/enterprises/{ALPHA}/refused", "refused")
    # The conflict is shown without its other party; the other provider's mistake is not shown.
    assert [(each["id"], each["status"]) for each in found] == [("taken", "conflict")]
    assert "detail" not in found[0]
