"""What a provider is told of its batches, streams and refusals agrees with the stored receipts."""

import asyncio
import base64
import json
import random
from collections import defaultdict
from hashlib import sha256

import pytest

from meter.values.units import format_moment
from meter.wire.advice import ADVICE
from meter.wire.batch import MAX_SEQ
from meter.wire.receipt import RECORD_CODES, VOID_CODES
from tests.asking import as_a, everything, right, told
from tests.books import ALPHA, void
from tests.services import ask, receipt_key

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
