"""Every query: its response agrees with entries, receipts and envelopes, page by page."""

import asyncio
import base64
import hmac
import json
import random
from collections import Counter, defaultdict
from datetime import date, timedelta
from hashlib import sha256
from itertools import count
from types import SimpleNamespace

import asyncpg
import pytest

from meter.api import get_enterprise, get_official, get_provider
from meter.api.one_size import parse_sums, sums_text
from meter.host.tokens import Identity, new_token
from meter.rules.evolve import evolve
from meter.rules.rating import cost
from meter.rules.state import State
from meter.tables import connections, tokens
from meter.tables import pages as tables_pages
from meter.values.problems import Problem
from meter.values.units import (
    format_hours,
    format_instant,
    format_moment,
    format_money,
    parse_instant,
)
from meter.wire.advice import ADVICE
from meter.wire.batch import MAX_SEQ
from meter.wire.receipt import REASONS, RECORD_CODES, VOID_CODES
from tests.books import (
    ALPHA,
    BETA,
    DEVICE,
    PROGRAMME,
    coupon_of,
    micros,
    policy_text,
    record,
    uscc_of,
    void,
)
from tests.books import (
    summary as summary_of,
)
from tests.services import (
    Service,
    address_of,
    ask,
    contract_body,
    enterprise_body,
    key_body,
    provider_body,
    receipt_key,
    serving,
    stored,
)

NOW = "2026-01-10T12:00:00+08:00"
NEW_YEAR = parse_instant("2026-01-01T00:00:00+08:00")
OTHER_DEVICE = "h100"
PRICES = {DEVICE: "4.50", OTHER_DEVICE: "12.3456"}

# Wrong in one way each, in the order of the wire.
WRONG = {
    "unknown_contract": {"contract": "nothing"},
    "unknown_device": {"device": "abacus"},
    "bad_devices": {"milli_devices": 0},
    "bad_interval": {"end": "2026-01-01T07:00:00+08:00"},
    "too_long": {"start": "2025-11-01T00:00:00+08:00"},
    "in_future": {"end": "2026-01-10T12:05:01+08:00"},
    "too_late": {"start": "2025-11-30T08:00:00+08:00", "end": "2025-11-30T09:00:00+08:00"},
    "contract_frozen": {"contract": "F"},
}


def right(id_="right", contract="A", **changes):
    whole = ("2026-01-01T08:00:00+08:00", "2026-01-01T09:00:00+08:00", 1_000)
    return record(id_, contract, *whole) | changes


async def open_all(service: Service) -> None:
    """Register two providers and two enterprises; W has one card, F is frozen, B is elsewhere."""
    await service.activate(policy_text(threshold="0.00"))
    for id_, uscc in (("pcl", uscc_of(9)), ("other", uscc_of(8))):
        body = provider_body(id_, uscc=uscc, devices={DEVICE: 10_000, OTHER_DEVICE: 10_000})
        await service.ask("/v1/providers", **body)
        await service.ask(f"/v1/providers/{id_}/keys", **key_body(f"{id_}-1", id_))
    await service.ask("/v1/enterprises", **enterprise_body(ALPHA))
    await service.ask("/v1/enterprises", **enterprise_body(BETA))
    for id_, terms in {
        "A": {},
        "B": {"provider": "other"},
        "C": {"enterprise": BETA},
        "W": {"max_devices": {DEVICE: 1}},
        "F": {"use": "other"},
    }.items():
        await service.ask("/v1/contracts", **contract_body(id_, prices=PRICES, **terms))
    await service.post("/v1/contracts/F/freeze")
    await service.issue(2025, "40.00")
    await service.issue(2026, "60.00")


class Past:
    """Makes a random past, step by step; each step is one submission or two."""

    def __init__(self, service: Service, seed: int) -> None:
        self.service, self.chance = service, random.Random(seed)
        self.ids = defaultdict(list)
        self.numbers = {
            provider: iter(self.chance.sample(range(1, 200), 199)) for provider in ("pcl", "other")
        }

    async def steps(self, number: int) -> None:
        for _ in range(number):
            await self.step()

    async def step(self) -> None:
        self.service.clock.advance(self.chance.choice((0, 1, 60)))
        provider = self.chance.choice(("pcl", "pcl", "other"))
        if self.chance.random() < 0.1:
            await self.review()
        records = [self.record(provider) for _ in range(self.chance.randrange(5))]
        voids = [void(id_) for id_ in self.old(provider, 2)]
        seq, stream = next(self.numbers[provider]), self.chance.choice(("main", "side"))
        sender = {"provider": provider, "keyid": f"{provider}-1", "stream": stream, "seq": seq}
        answer = await self.service.usage(records, voids, **sender)
        assert answer.status == 200, answer.body
        if self.chance.random() < 0.1:
            again = await self.service.usage([right(f"again-{seq}")], **sender)
            assert again.code == "seq_conflict"
        self.ids[provider] += [each["id"] for each in records]

    async def review(self) -> None:
        """Decide on a record with a withheld part, where there is one."""
        queue = (await self.service.get("/v1/withheld")).json["withheld"]
        if queue:
            found = self.chance.choice(queue)
            body = {name: found[name] for name in ("provider", "id")} | {"reason": "seen"}
            path = self.chance.choice(("void", "release", "release"))
            await self.service.ask(f"/v1/records/{path}", **body)

    def old(self, provider, most):
        known = [*self.ids[provider], "unknown"]
        return self.chance.sample(known, min(len(known), self.chance.randrange(most + 1)))

    def record(self, provider):
        id_ = f"r{sum(map(len, self.ids.values()))}.{self.chance.randrange(1_000)}"
        if self.chance.random() < 0.1 and self.ids[provider]:
            id_ = self.chance.choice(self.ids[provider])
        start = NEW_YEAR + self.chance.randrange(-200, 400) * 900
        end = start + self.chance.choice((900, 3_600, 90_000, 199_800))
        contract = self.chance.choice("BBBAX" if provider == "other" else "AAACCWWFBX")
        device = self.chance.choice((DEVICE, DEVICE, OTHER_DEVICE, "abacus"))
        return record(id_, contract, start, end, self.chance.randrange(1, 3_000), device=device)


@pytest.fixture
async def service(database, tmp_path):
    async with serving(database, tmp_path, now=NOW) as service:
        await open_all(service)
        yield service


@pytest.fixture
async def past(service):
    past = Past(service, 3)
    await past.steps(45)
    await service.usage([right(f"w{n}", "W", milli_devices=700) for n in range(3)], seq=500)
    return past


async def pages(service, path, limit, between=None):
    """Ask for page after page until there is no more; `between` is awaited after each."""
    mark, after = "&" if "?" in path else "?", None
    while True:
        query = f"{path}{mark}limit={limit}" + (f"&after={after}" if after is not None else "")
        answer = await service.get(query)
        assert answer.status == 200, answer.body
        yield answer.json
        after = answer.json["next"]
        if not answer.json["more"]:
            return
        if between is not None:
            await between()


async def everything(service, path, name, limit=1_000, between=None):
    return [item async for page in pages(service, path, limit, between) for item in page[name]]


async def told(service):
    """Return each batch as stored: the content of its entry, envelope and receipt."""
    rows = await ask(
        service.dsn,
        "SELECT entry, provider, stream, seq, payload, envelope, receipt FROM meter.batch"
        " ORDER BY entry",
    )
    return [
        SimpleNamespace(
            **{**row, "receipt": json.loads(row["receipt"])},
            batch=json.loads(base64.b64decode(json.loads(row["envelope"])["payload"])),
        )
        for row in rows
    ]


async def evolved(service):
    state = State()
    for entry in await service.entries():
        evolve(state, entry)
    return state


async def as_a(service, role, subject=""):
    """Return the header of a new token of a role."""
    token = new_token(f"{role}-{subject or 'x'}")
    connection = await connections.connect(address_of(service.dsn))
    try:
        await tokens.add_token(connection, Identity(token.id, role, subject), token.digest)
    finally:
        await connection.close()
    return {"Authorization": f"Bearer {token.text}"}


# Batches of a provider


async def test_a_receipt_is_given_again_byte_for_byte_and_so_is_the_envelope(service):
    envelope = service.envelope([right()])
    posted = await service.post("/v1/usage", envelope, None)
    digest = sha256(base64.b64decode(json.loads(envelope)["payload"])).hexdigest()
    for headers in ({}, await as_a(service, "provider", "pcl"), await as_a(service, "auditor")):
        receipt = await service.get(f"/v1/batches/{digest}", **headers)
        assert (receipt.status, receipt.body) == (200, posted.body)
        assert receipt.headers["Kashi-Signature"] == posted.headers["Kashi-Signature"]
        stored_envelope = await service.get(f"/v1/batches/{digest}/envelope", **headers)
        assert (stored_envelope.status, stored_envelope.body) == (200, envelope)


async def test_a_batch_is_its_providers_and_the_officials_alone(service):
    digest = (await service.usage([right()])).json["batch"]
    other, enterprise = (
        await as_a(service, "provider", "other"),
        await as_a(service, "enterprise", ALPHA),
    )
    for path in (f"/v1/batches/{digest}", f"/v1/batches/{digest}/envelope"):
        theirs = await service.get(path, **other)
        unknown = await service.get(path.replace(digest, "0" * 64), **other)
        assert theirs.code == unknown.code == "not_found"
        assert (await service.get(path, **enterprise)).code == "forbidden"
        for wrong in ("0", digest.upper(), digest[1:], "%00"):
            answer = await service.get(path.replace(digest, wrong))
            assert answer.code in ("not_found", "malformed")


async def test_a_batch_whose_number_was_taken_has_an_envelope_but_no_receipt(service):
    await service.usage([right()])
    taken = service.envelope([right("other")])
    answer = await service.post("/v1/usage", taken, None)
    assert answer.code == "seq_conflict"
    digest = sha256(base64.b64decode(json.loads(taken)["payload"])).hexdigest()
    assert (await service.get(f"/v1/batches/{digest}/envelope")).body == taken
    assert (await service.get(f"/v1/batches/{digest}")).code == "not_found"


async def test_anyone_may_know_the_key_that_signs_receipts(service):
    del service.http.headers["Authorization"]
    answer = await service.get("/v1/receipt-key")
    assert answer.json["algorithm"] == "ed25519"
    assert base64.b64decode(answer.json["public_key"]) == receipt_key(service)
    assert answer.json["keyid"] == service.intake.state.genesis.receipt_key.keyid


# Streams of a provider


def gaps_of(numbers):
    """Return the ranges of missing numbers below the largest."""
    found, last = [], 0
    for number in sorted(numbers):
        if number > last + 1:
            found.append({"first": last + 1, "last": number - 1})
        last = number
    return found


@pytest.mark.parametrize("seed", range(2))
async def test_gaps_are_the_missing_numbers_in_whatever_order_batches_arrive(service, seed):
    chance = random.Random(seed)
    numbers = chance.sample(range(1, 60), 40)
    sent = []
    while numbers:
        together = [numbers.pop() for _ in range(min(len(numbers), chance.randrange(1, 6)))]
        await asyncio.gather(*(service.usage(seq=seq) for seq in together))
        sent += together
        answer = (await service.get("/v1/providers/pcl/streams/main")).json
        assert answer["gaps"] == gaps_of(sent), sent
        assert (answer["last"], answer["batches"]) == (max(sent), len(sent))
        assert answer["missing"] == max(sent) - len(sent)
    for limit in (1, 2, 7):
        found = await everything(service, "/v1/providers/pcl/streams/main", "gaps", limit)
        assert found == gaps_of(sent)


async def test_a_stream_can_begin_at_the_largest_number_and_be_filled_from_both_ends(service):
    for seq, gaps in (
        (MAX_SEQ, [(1, MAX_SEQ - 1)]),
        (1, [(2, MAX_SEQ - 1)]),
        (MAX_SEQ - 1, [(2, MAX_SEQ - 2)]),
        (5, [(2, 4), (6, MAX_SEQ - 2)]),
        (2, [(3, 4), (6, MAX_SEQ - 2)]),
        (4, [(3, 3), (6, MAX_SEQ - 2)]),
        (3, [(6, MAX_SEQ - 2)]),
    ):
        await service.usage(seq=seq)
        answer = (await service.get("/v1/providers/pcl/streams/main")).json
        assert [(gap["first"], gap["last"]) for gap in answer["gaps"]] == gaps


async def test_a_batch_that_is_not_taken_fills_no_number(service):
    await service.usage([right()], seq=2)
    await service.usage([right()], seq=2)
    await service.usage([right("other")], seq=2)
    await service.usage([right()], seq=1, log="elsewhere.test")
    answer = (await service.get("/v1/providers/pcl/streams/main")).json
    assert (answer["batches"], answer["gaps"]) == (1, [{"first": 1, "last": 1}])


@pytest.mark.usefixtures("past")
async def test_streams_are_listed_with_their_counts(service):
    batches, entries = await told(service), await service.entries()
    for provider in ("pcl", "other"):
        numbers, ends = defaultdict(list), {}
        for batch in batches:
            if batch.provider == provider:
                numbers[batch.stream].append(batch.seq)
                own = batch.receipt["entries"]  # a commit of its own
                ends[batch.stream, batch.seq] = entries[own["first"] + own["count"] - 1].at
        expected = [
            {
                "stream": stream,
                "last": max(seqs),
                "batches": len(seqs),
                "missing": sum(gap["last"] - gap["first"] + 1 for gap in gaps_of(seqs)),
                "time": format_moment(ends[stream, max(seqs)]),
            }
            for stream, seqs in sorted(numbers.items())
        ]
        path = f"/v1/providers/{provider}/streams"
        for limit in (1, 100):
            assert await everything(service, path, "streams", limit) == expected
    assert (await service.get("/v1/providers/pcl/streams/none")).code == "not_found"
    assert (await service.get("/v1/providers/none/streams")).code == "unknown_provider"


# Refusals of a provider


async def expected_rejected(service, provider):
    """Return all refusals, in the order of the batches, from stored receipts and conflicts."""
    found = []
    for batch in await told(service):
        if batch.provider != provider:
            continue
        asked = [("void", each) for each in batch.batch["voids"]]
        asked += [("record", each) for each in batch.batch["records"]]
        results = [*batch.receipt["voids"], *batch.receipt["results"]]
        for (what, content), result in zip(asked, results, strict=True):
            if result["status"] in ("rejected", "conflict"):
                code = result.get("code", "conflict")
                item = {
                    "batch": batch.payload,
                    "stream": batch.stream,
                    "seq": batch.seq,
                    "what": what,
                    "id": content["id"],
                    **({"contract": content["contract"]} if what == "record" else {}),
                    "status": result["status"],
                    "code": code,
                    "detail": result["detail"],
                    "retry": code in ("unknown_contract", "in_future", "contract_frozen"),
                    "advice": ADVICE[what, code],
                }
                found.append((batch.entry, item))
    return found


@pytest.mark.usefixtures("past")
@pytest.mark.parametrize("provider", ["pcl", "other"])
async def test_what_was_refused_is_what_the_receipts_say_in_their_order(service, provider):
    expected = await expected_rejected(service, provider)
    conflicts = await ask(
        service.dsn,
        "SELECT other.*, held.payload AS held FROM meter.seq_conflict AS other"
        " JOIN meter.batch AS held USING (provider, stream, seq)"
        " WHERE provider = $1 ORDER BY received_at",
        provider,
    )
    assert conflicts
    for limit in (1, 4, 1_000):
        path = f"/v1/providers/{provider}/rejected"
        found = await everything(service, path, "rejected", limit)
        assert [each for each in found if each["what"] != "batch"] == [each for _, each in expected]
        taken = [each for each in found if each["what"] == "batch"]
        assert [(each["batch"], each["seq"]) for each in taken] == [
            (each["payload"], each["seq"]) for each in conflicts
        ]
        for item, conflict in zip(taken, conflicts, strict=True):
            assert (item["status"], item["code"]) == ("conflict", "seq_conflict")
            assert conflict["held"] in item["detail"]
            assert item["advice"] == ADVICE["batch", "seq_conflict"]
        # Each stands after all refusals before it came, and before all later ones.
        for conflict in conflicts:
            place = next(i for i, each in enumerate(found) if each["batch"] == conflict["payload"])
            before = sum(entry < conflict["size"] for entry, _ in expected)
            assert sum(each["what"] != "batch" for each in found[:place]) == before


OF_PURCHASES = {
    *("unknown_contract", "wrong_meter", "bad_amount", "bad_interval", "too_long", "in_future"),
    *("too_late", "contract_frozen", "second_purchase"),
}
OF_RECORDS = [code for code in RECORD_CODES if code not in ("bad_amount", "second_purchase")]


def test_there_is_advice_for_everything_that_can_be_refused():
    assert OF_PURCHASES.union(OF_RECORDS) == set(RECORD_CODES)
    assert set(ADVICE) == {
        *(("record", code) for code in (*OF_RECORDS, "conflict")),
        *(("purchase", code) for code in (*OF_PURCHASES, "conflict")),
        *(("void", code) for code in VOID_CODES),
        ("batch", "seq_conflict"),
    }
    for advice in ADVICE.values():
        assert advice.endswith(".")
        assert advice[:1].isupper()


async def test_each_code_is_told_with_its_advice(service):
    codes = [code for code in OF_RECORDS if code != "wrong_meter"]  # test_purchases has it
    assert set(WRONG) == set(codes)
    await service.usage([right("kept"), right("gone")])
    await service.usage([], [void("gone")], seq=2)
    wrong = [right(code, **changes) for code, changes in WRONG.items()]
    wrong.append(right("kept", milli_devices=2_000))
    voids = [void("unknown"), void("gone")]
    await service.usage(wrong, voids, seq=3)
    service.clock.set("2026-03-01T00:00:00+08:00")
    await service.usage([], [void("kept")], seq=4)
    await service.usage([], seq=1)
    found = await everything(service, "/v1/providers/pcl/rejected", "rejected")
    assert [(each["what"], each["code"]) for each in found] == [
        ("void", "unknown_record"),
        ("void", "already_voided"),
        *(("record", code) for code in codes),
        ("record", "conflict"),
        ("void", "too_late"),
        ("batch", "seq_conflict"),
    ]
    for each in found:
        assert each["advice"] == ADVICE[each["what"], each["code"]]


# Enterprises


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


HOUR_NOW = ("2026-01-02T08:00:00+08:00", "2026-01-02T09:00:00+08:00")


def expected_records(entries, contracts):
    ended = {
        (kind, entry.record): number
        for number, entry in enumerate(entries)
        for kind in ("void", "release")
        if entry.kind == kind
    }
    return [
        expected_record(number, entry, ended.get(("void", number)), ended.get(("release", number)))
        if entry.kind == "usage"
        else expected_change(number, entry, entries[entry.record])
        for number, entry in enumerate(entries)
        if entry.kind in ("usage", "void", "release") and entry.contract in contracts
    ]


def expected_figures(entry):
    reasons = dict(entry.ineligible) if entry.ineligible else {}
    return {
        "cost": format_money(entry.cost if entry.kind != "release" else 0),
        "entitled": format_money(sum(fen for _, fen in entry.entitled)),
        "granted": format_money(granted_in(entry)),
        "withheld": format_money(entry.withheld_cost or 0),
        "ineligible": format_money(sum(reasons.values())),
        "reasons": {reason: format_money(fen) for reason, fen in reasons.items()},
        "evidence": expected_evidence(entry) if entry.kind == "usage" else [],
    }


def granted_in(entry):
    """What the entry moves from coupons to its own contract, less what it moves back."""
    own = [p for p in entry.postings if f"accrued:{entry.contract}:" in " ".join(p[:2])]
    return sum(fen if source.startswith("coupon:") else -fen for source, _, fen in own)


def expected_evidence(entry):
    """The contract's own limit with its times; of the provider's, the sum."""
    runs, told = entry.evidence or [], []
    for limit, start, end, device_time in runs:
        if limit == "contract":
            times = {"from": format_instant(start // 10**6), "until": format_instant(end // 10**6)}
            told.append({"limit": limit, **times, "device_hours": format_hours(device_time)})
    rest = sum(run[3] for run in runs if run[0] == "provider")
    return told + ([{"limit": "provider", "device_hours": format_hours(rest)}] if rest else [])


def expected_months(entry, record):
    return {
        "service_month": format_instant(record.start // 10**6)[:7],
        "booked_month": format_instant(entry.at // 10**6)[:7],
    }


def expected_change(number, entry, record):
    return {
        "line": entry.kind,
        "entry": number,
        "record": entry.record,
        "id": entry.id,
        "provider": entry.provider,
        "contract": entry.contract,
        "device": entry.device,
        **expected_months(entry, record),
        **expected_figures(entry),
    }


def expected_record(number, entry, voided, released):
    status = "withheld" if entry.withheld else "accepted"
    status = "released" if released is not None else status
    return {
        "line": "record",
        "entry": number,
        "id": entry.id,
        "provider": entry.provider,
        "contract": entry.contract,
        "device": entry.device,
        "milli_devices": entry.milli_devices,
        "start": format_instant(entry.start // 10**6),
        "end": format_instant(entry.end // 10**6),
        **expected_months(entry, entry),
        **expected_figures(entry),
        "status": "voided" if voided is not None else status,
        **({"voided": voided} if voided is not None else {}),
        **({"released": released} if released is not None else {}),
    }


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


# Pages


LISTS = {
    "/v1/providers/pcl/rejected": "rejected",
    f"/v1/enterprises/{ALPHA}/records": "records",
    f"/v1/enterprises/{ALPHA}/records?contract=A": "records",
    f"/v1/enterprises/{ALPHA}/refused": "refused",
    "/v1/entries?kind=usage": "entries",
    "/v1/entries?contract=A": "entries",
}


@pytest.mark.parametrize("path", LISTS)
async def test_paging_gives_each_item_once_and_in_order_while_new_ones_arrive(service, path):
    past = Past(service, 5)
    await past.steps(25)
    arrivals = count()

    async def arrive():
        if next(arrivals) < 12:
            await past.step()

    name = LISTS[path]
    found = await everything(service, path, name, 1, arrive)
    assert next(arrivals) > 5
    afterwards = await everything(service, path, name)
    stable = ("batch", "what", "id", "code", "entry", "number", "seq")
    assert [[each.get(key) for key in stable] for each in found] == [
        [each.get(key) for key in stable] for each in afterwards
    ]


@pytest.mark.parametrize("path", LISTS)
async def test_the_end_of_a_list_is_where_to_ask_again(service, path):
    past = Past(service, 6)
    found = []
    mark, after = "&" if "?" in path else "?", ""
    for _ in range(12):
        await past.steps(2)
        answer = (await service.get(path + (f"{mark}after={after}" if after else ""))).json
        assert answer["more"] is False
        found += answer[LISTS[path]]
        after = answer["next"]
    everywhere = await everything(service, path, LISTS[path])
    assert len(found) == len(everywhere)
    stable = ("batch", "what", "id", "code", "entry", "number", "seq")
    assert [[each.get(key) for key in stable] for each in found] == [
        [each.get(key) for key in stable] for each in everywhere
    ]


PAGED = [
    "/v1/providers/pcl/streams",
    "/v1/providers/pcl/records",
    "/v1/providers/pcl/streams/main",
    "/v1/providers/pcl/streams/main/batches",
    "/v1/providers/pcl/rejected",
    "/v1/providers/pcl/summaries",
    f"/v1/enterprises/{ALPHA}/contracts",
    f"/v1/enterprises/{ALPHA}/usage",
    f"/v1/enterprises/{ALPHA}/records",
    f"/v1/enterprises/{ALPHA}/refused",
    "/v1/pools",
    "/v1/coupons",
    "/v1/enterprises",
    "/v1/contracts",
    "/v1/providers",
    "/v1/withheld",
    "/v1/keys/pcl-1/suspects",
    "/v1/tokens",
]


def test_every_list_is_paged_and_looked_at_here():
    modules = (get_provider, get_enterprise, get_official)
    paths = {route.path for module in modules for route in module.ROUTES}
    named = {
        path.replace("pcl-1", "{keyid}")
        .replace("pcl", "{provider}")
        .replace("main", "{stream}")
        .replace(ALPHA, "{uscc}")
        for path in PAGED
    }
    others = {"/v1/receipt-key", "/v1/batches/{digest}", "/v1/batches/{digest}/envelope"}
    assert paths - others == named


async def fill(service) -> None:
    """Give every list two lines."""
    await service.usage([right(), right("x", "X"), right("w", "W", milli_devices=2_000)])
    await service.usage(seq=2)
    for seq, day in enumerate(("2025-02-01", "2025-02-02"), 1):
        answer = await service.usage(stream="days", seq=seq, summary=summary_of(day))
        assert answer.status == 200, answer.body


@pytest.mark.parametrize("path", PAGED)
async def test_a_cursor_is_good_for_its_question_alone_and_only_as_it_is(service, path):
    await fill(service)
    cursor = (await service.get(f"{path}?limit=1")).json["next"]
    assert cursor.isascii()
    assert (await service.get(f"{path}?after={cursor}")).status == 200
    changed = [cursor[:i] + other + cursor[i + 1 :] for i in range(len(cursor)) for other in "A_7"]
    changed += [cursor[:i] for i in range(1, len(cursor))]
    changed += [cursor + "A", cursor + "=", "A" + cursor, "0", "-1", "41", "a b", "%00", "é"]
    for other in changed:
        if other != cursor:
            assert (await service.get(f"{path}?after={other}")).code == "malformed", other
    for other in PAGED:
        if other != path:
            assert (await service.get(f"{other}?after={cursor}")).code == "malformed"
    for limit in ("0", "1001", "-1", "x", ""):
        assert (await service.get(f"{path}?limit={limit}")).code == "malformed", limit
    assert (await service.get(f"{path}?limit=1000")).status == 200
    assert (await service.get(f"{path}?nonsense=1")).code == "malformed"


async def test_a_number_in_a_url_has_one_spelling(service):
    for number in ("1e1", "1.0", "010", "+1", "1_0", "%201", "0x1", "1e400", "Infinity", "９"):
        for query in ("/v1/entries?limit=", "/v1/entries?after=", "/v1/coupons?year="):
            assert (await service.get(query + number)).code == "malformed", query + number
    for query in ("/v1/entries?limit=10", "/v1/entries?after=-1", "/v1/coupons?year=2025"):
        assert (await service.get(query)).status == 200, query


async def test_a_cursor_belongs_to_its_filters(service):
    path = f"/v1/enterprises/{ALPHA}/usage"
    await service.usage([right()])
    cursor = (await service.get(f"{path}?contract=A&from=2025-01-01")).json["next"]
    same = f"{path}?from=2025-01-01&after={cursor}&contract=A&limit=7"
    assert (await service.get(same)).status == 200
    for other in ("contract=A", "contract=W&from=2025-01-01", "contract=A&from=2025-01-02"):
        assert (await service.get(f"{path}?{other}&after={cursor}")).code == "malformed"


@pytest.mark.parametrize(
    "place",
    [
        [2**63],
        [-(2**63)],
        [10**30],
        [1.5],
        [True],
        [None],
        ["x"],
        [],
        [1, 2, 3],
        [[1]],
        {"a": 1},
        7,
    ],
)
async def test_a_forged_place_is_refused_even_with_the_right_check(service, place):
    path = "/v1/withheld"
    forged = made_cursor(service, path, place)
    assert (await service.get(f"{path}?after={forged}")).code == "malformed"


@pytest.mark.parametrize("name", ["\0", "\x1f", "\ud800", "é", "x" * 200])
async def test_a_forged_name_is_refused_even_with_the_right_check(service, name):
    path = "/v1/providers/pcl/streams"
    forged = made_cursor(service, path, [name])
    assert (await service.get(f"{path}?after={forged}")).code == "malformed"


def made_cursor(service, path, place, key=None):
    """Return a cursor as a thief of the key could make it, or with another key."""
    key = key or base64.b64decode(service.folder.cursor_key.read_text())
    data = json.dumps(place, separators=(",", ":")).encode()
    text = json.dumps([path, []], separators=(",", ":")).encode() + data
    return (
        base64.urlsafe_b64encode(hmac.digest(key, text, "sha256")[:16] + data).decode().rstrip("=")
    )


async def place_of(service, path):
    """Return the place that a path's cursor holds."""
    text = (await service.get(f"{path}?limit=1")).json["next"]
    return json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))[16:])


@pytest.mark.parametrize("path", PAGED)
async def test_a_cursor_may_carry_any_number_and_the_service_does_not_fail(service, path):
    await fill(service)
    place = await place_of(service, path)
    for number in (0, -1, 2**31, -(2**31) - 1, 2**53 - 1, -(2**53) + 1):
        other = [number if isinstance(part, int) else part for part in place]
        answer = await service.get(f"{path}?after={made_cursor(service, path, other)}")
        assert answer.status == 200 or answer.code == "moved", (other, answer.body)
    if any(isinstance(part, int) for part in place):
        for number in (2**53, 2**63 - 1, 2**63, 2**64, -(2**63), -(2**63) - 1, 10**40):
            other = [number if isinstance(part, int) else part for part in place]
            answer = await service.get(f"{path}?after={made_cursor(service, path, other)}")
            assert answer.code == "malformed", other


async def test_a_cursor_is_authenticated_by_a_key_that_its_owner_alone_can_read(service):
    file = service.folder.cursor_key
    assert file.stat().st_mode & 0o777 == 0o600
    assert len(base64.b64decode(file.read_text())) == 32
    await service.usage([right(), right("x", "X")])
    path = "/v1/withheld"
    own = (await service.get(f"{path}?limit=1")).json["next"]
    place = await place_of(service, path)
    assert own == made_cursor(service, path, place)
    for key in (bytes(32), b""):
        forged = made_cursor(service, path, place, key or b"another")
        assert (await service.get(f"{path}?after={forged}")).code == "malformed"


# What people add up


def fen(text):
    return round(float(text) * 100)


def added(pages_, name, column):
    """Return the sum of a column over all lines of some pages, and the rounding of the last."""
    lines = [fen(line[column]) for page in pages_ for line in page[name]]
    return sum(lines) + fen(pages_[-1]["rounding"][column])


MONEY = ("cost", "entitled", "withheld", "ineligible")


@pytest.mark.usefixtures("past")
async def test_the_lines_of_records_add_up_to_the_totals_of_their_contracts(service):
    for query, names in (("", "ABWF"), ("?contract=A", "A"), ("?contract=W", "W")):
        path = f"/v1/enterprises/{ALPHA}/records{query}"
        for limit in (1, 7, 1_000):
            found = [page async for page in pages(service, path, limit)]
            assert ["total" in page for page in found] == [False] * (len(found) - 1) + [True]
            contracts = [await service.contract(name) for name in names]
            totals = [
                sum(fen(each["cost"]) for each in contracts),
                sum(fen(year["entitled"]) for each in contracts for year in each["years"]),
                sum(fen(each["withheld"]) for each in contracts),
                sum(fen(each["ineligible"]) for each in contracts),
            ]
            assert [fen(found[-1]["total"][column]) for column in MONEY] == totals
            assert [added(found, "records", column) for column in MONEY] == totals
            rounding = [fen(found[-1]["rounding"][column]) for column in MONEY]
            lines = [line for page in found for line in page["records"]]
            assert rounding[:2] == [0, 0]
            assert all(abs(fen_) <= len(lines) for fen_ in rounding)  # each is less than a fen


@pytest.mark.usefixtures("past")
async def test_the_hours_of_usage_add_up_to_their_total(service):
    for limit in (1, 3, 1_000):
        found = [page async for page in pages(service, f"/v1/enterprises/{ALPHA}/usage", limit)]
        lines = [line for page in found for line in page["usage"]]
        exact = sum(int(line["milli_device_seconds"]) for line in lines)
        hours = sum(round(float(line["device_hours"]) * 10_000) for line in lines)
        total, rounding = found[-1]["total"], found[-1]["rounding"]
        assert int(total["milli_device_seconds"]) == exact
        assert round(float(total["device_hours"]) * 10_000) == exact // 360
        assert hours + round(float(rounding) * 10_000) == exact // 360
        assert all("total" not in page for page in found[:-1])


async def test_voided_records_of_half_a_fen_are_lines_that_add_up(service):
    half = ("2026-01-02T08:00:00+08:00", "2026-01-02T08:00:04+08:00")  # 1 card at 4.50
    await service.usage([record(f"h{n}", "A", *half, 1_000) for n in range(200)])
    path = f"/v1/enterprises/{ALPHA}/records"
    shown = await everything(service, path, "records")
    free = [each["id"] for each in shown if each["cost"] == "0.00"]
    assert (len(free), sum(fen(each["cost"]) for each in shown)) == (100, 100)
    await service.usage([], [void(id_) for id_ in free], seq=2)
    for limit in (30, 1_000):
        found = [page async for page in pages(service, path, limit)]
        assert found[-1]["total"]["cost"] == (await service.contract())["cost"] == "0.50"
        assert sum(fen(line["cost"]) for page in found for line in page["records"]) == 50
        assert found[-1]["rounding"] == dict.fromkeys(MONEY, "0.00")


async def test_withheld_lines_and_their_rounding_add_up(service):
    quarter = ("2026-01-02T08:00:00+08:00", "2026-01-02T08:15:00+08:00")  # 1.125 a card
    await service.usage([record(f"w{n}", "W", *quarter, 1_000) for n in range(4)])
    found = [page async for page in pages(service, f"/v1/enterprises/{ALPHA}/records", 7)]
    withheld = (await service.contract("W"))["withheld"]
    # Of 4.50 in all, what grows the cost from 1.12.
    assert [line["withheld"] for page in found for line in page["records"]] == [
        *("0.00", "1.13", "1.12", "1.13")
    ]
    assert found[-1]["total"]["withheld"] == withheld == "3.38"
    assert found[-1]["rounding"]["withheld"] == "0.00"
    # In the contract, what is eligible comes first: 2.25 and then 5.62.
    free = ("2026-01-02T09:00:00+08:00", "2026-01-02T09:15:00+08:00")
    await service.usage([record("w4", "W", *free, 1_000)], seq=2)
    path = f"/v1/enterprises/{ALPHA}/records?after={found[-1]['next']}"
    (later,) = [page async for page in pages(service, path, 7)]
    assert [(line["cost"], line["withheld"]) for line in later["records"]] == [("1.12", "0.00")]
    assert later["total"]["withheld"] == (await service.contract("W"))["withheld"] == "3.37"
    assert later["rounding"]["withheld"] == "-0.01"


async def test_a_void_between_two_pages_of_usage_is_told_and_not_added(service):
    days = [f"2026-01-0{day}T0{hour}:00:00+08:00" for day in (1, 2) for hour in (1, 5)]
    batch = [
        record("a", "A", days[0], days[1], 4_000),
        record("b", "A", days[2], days[3], 4_000),
        record("c", "A", days[2], days[3], 4_000),
    ]
    assert (await service.usage(batch)).json["entries"]["count"] == 4
    path = f"/v1/enterprises/{ALPHA}/usage?limit=1"
    first = (await service.get(path)).json
    await service.activate()  # concerns nobody's usage
    second = await service.get(f"{path}&after={first['next']}")
    assert (second.status, second.json["total"]["device_hours"]) == (200, "48.0000")
    await service.usage([], [void("a")], seq=2)
    gone = await service.get(f"{path}&after={first['next']}")
    assert (gone.status, gone.code) == (409, "moved")
    anew = [page async for page in pages(service, path.partition("?")[0], 1)]
    assert anew[-1]["total"]["device_hours"] == "32.0000"


MOVING = {
    f"/v1/enterprises/{ALPHA}/contracts": "contracts",
    f"/v1/enterprises/{ALPHA}/usage": "usage",
    "/v1/pools": "pools",
    "/v1/coupons": "coupons",
    "/v1/contracts": "contracts",
    f"/v1/contracts?enterprise={ALPHA}": "contracts",
    "/v1/contracts?provider=pcl": "contracts",
    "/v1/withheld": "withheld",
}


@pytest.mark.parametrize("path", MOVING)
async def test_a_list_that_is_added_up_is_of_one_size_on_all_its_pages(service, path):
    past = Past(service, 9)
    await past.steps(20)
    await service.usage([right(f"w{n}", "W", milli_devices=2_000) for n in range(3)], seq=900)
    mark = "&" if "?" in path else "?"
    whole = await everything(service, path, MOVING[path])
    assert await everything(service, path, MOVING[path], 1) == whole
    first = (await service.get(f"{path}{mark}limit=1")).json
    assert first["more"]
    await service.usage([], [void("w0")], seq=901)
    answer = await service.get(f"{path}{mark}limit=1&after={first['next']}")
    assert (answer.status, answer.code) == (409, "moved")
    assert (await service.get(f"{path}{mark}limit=1")).status == 200


async def test_a_record_that_came_since_the_first_page_of_the_queue_waits_for_the_next_reading(
    service,
):
    await service.usage([right(f"w{n}", "W", milli_devices=2_000) for n in range(2)])
    arrived = count(2)

    async def arrive():
        number = next(arrived)
        if number < 5:  # or a list that takes them up would never end
            await service.usage([right(f"w{number}", "W", milli_devices=2_000)], seq=number)

    found = await everything(service, "/v1/withheld", "withheld", 1, arrive)
    assert [each["id"] for each in found] == ["w0", "w1"]
    assert len(await everything(service, "/v1/withheld", "withheld")) == 3


@pytest.mark.parametrize("text", ["", "1", "1 2 3", "1  2", "1 x", " 1 2", "1.5 2", "1 2 ", "+1 2"])
def test_sums_that_nobody_wrote_are_refused(text):
    with pytest.raises(Problem) as refused:
        parse_sums(text, 2)
    assert refused.value.code == "malformed"
    assert parse_sums(sums_text((-7, 10**30)), 2) == [-7, 10**30]


# Answers in general


@pytest.mark.parametrize(
    "path", [*PAGED, "/v1/entries?kind=usage", "/v1/receipt-key", "/v1/batches/{digest}"]
)
async def test_an_answer_that_is_the_same_need_not_be_sent_again(service, path):
    first = await service.usage([right()])
    path = path.replace("{digest}", first.json["batch"])
    answer = await service.get(path)
    assert answer.status == 200
    tag = answer.headers["ETag"]
    again = await service.get(path, If_None_Match=tag)
    assert (again.status, again.body, again.headers["ETag"]) == (304, b"", tag)
    assert (await service.get(path, If_None_Match='"other"')).status == 200
    if "as_of" in answer.json:
        assert answer.json["as_of"]["entries"] == len(await stored(service.dsn))
        await service.usage([right("more")], seq=2)
        later = await service.get(path, If_None_Match=tag)
        assert later.status == 200
        assert later.json["as_of"]["entries"] == answer.json["as_of"]["entries"] + 2


@pytest.mark.usefixtures("past")
async def test_what_is_anothers_is_not_there(service):
    provider, enterprise = (
        await as_a(service, "provider", "other"),
        await as_a(service, "enterprise", BETA),
    )
    for path in PAGED:
        for headers, own in ((provider, "/other/"), (enterprise, BETA)):
            answer = await service.get(path, **headers)
            assert answer.code in ("not_found", "forbidden"), path
            mine = path.replace("/pcl/", "/other/").replace(ALPHA, BETA)
            if own in mine:
                assert (await service.get(mine, **headers)).status == 200, mine
    for name in ("usage", "records", "refused"):
        path = f"/v1/enterprises/{BETA}/{name}"
        for contract in ("A", "nothing"):
            answer = await service.get(f"{path}?contract={contract}", **enterprise)
            assert (answer.status, answer.code) == (404, "not_found")
        assert (await service.get(f"{path}?contract=A")).code == "unknown_contract"
    assert (await service.get(f"/v1/enterprises/{uscc_of(77)}/usage")).code == "unknown_enterprise"


async def test_no_filter_makes_a_fault(service):
    wrong = {
        "kind": ["nothing", "Usage", "%00"],
        "contract": ["", "a/b", "x" * 65, "%00", "%F0%9F%92%A9"],
        "record": ["", "a b", "x" * 129, "%00"],
        "provider": ["", ":", "%0A"],
        "batch": ["", "0", "0" * 63 + "G", "0" * 64 + "%0A"],
        "enterprise": ["", ALPHA[:-1] + "X", ALPHA.lower()],
        "after": ["-2", "x", str(2**53), ""],
        "limit": ["0", "1001"],
    }
    for name, values in wrong.items():
        for value in values:
            answer = await service.get(f"/v1/entries?{name}={value}")
            assert answer.code == "malformed", (name, value)
    for query in ("from=2025-02-30", "until=x", "from=1899-01-01", "programme=%00"):
        assert (await service.get(f"/v1/enterprises/{ALPHA}/usage?{query}")).code == "malformed"
    for query in ("year=0", "year=99999999999", "programme=A%00"):
        assert (await service.get(f"/v1/coupons?{query}")).code == "malformed"
    beyond = await service.get(f"/v1/entries?after={2**53 - 1}")
    assert (beyond.json["entries"], beyond.json["next"]) == ([], 2**53 - 1)


@pytest.mark.usefixtures("past")
async def test_a_page_is_one_snapshot(service):
    """While batches arrive, `as_of` and the counts never contradict each other."""

    async def post():
        for seq in range(300, 330):
            await service.usage([right(f"s{seq}")], seq=seq, stream="busy")

    posting = asyncio.create_task(post())
    before = len(await service.entries())
    seen = 0
    while not posting.done():
        answer = (await service.get(f"/v1/enterprises/{ALPHA}/records?limit=1000")).json
        size = answer["as_of"]["entries"]
        assert all(each["entry"] < size for each in answer["records"])
        busy = [each for each in answer["records"] if each["entry"] >= before]
        assert size - before <= 2 * len(busy) + 2
        seen += bool(busy)
    await posting
    assert seen


def test_dates_of_days_count_from_1970():
    from meter.values.units import day_of, day_start, format_date

    for day in range(-30_000, 40_000, 997):
        assert format_date(day_start(day)) == str(date(1970, 1, 1) + timedelta(days=day))
        assert day_of(day_start(day)) == day_of(day_start(day + 1) - 1) == day


async def test_the_database_takes_no_second_row_for_a_payload(service):
    await service.usage([right()])
    with pytest.raises(asyncpg.UniqueViolationError):
        await ask(
            service.dsn,
            "INSERT INTO meter.batch SELECT provider, stream, seq + 1, entry + 1, entries, payload,"
            " envelope, receipt, signature FROM meter.batch",
        )
