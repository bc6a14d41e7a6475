"""The judgement of batches: senders, numbers, verdicts, and the bytes of receipts."""

import base64
import hmac
import json
from hashlib import sha256
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import UNSET

from meter.rules.decide import Decision, decide
from meter.rules.entries import BatchAccepted, RecordVoided, UsageAccepted
from meter.values.problems import Problem
from meter.values.units import MICROSECONDS, day_of, format_instant, parse_instant
from meter.wire import dsse
from meter.wire.batch import parse_batch
from meter.wire.receipt import (
    RECORD_CODES,
    VOID_CODES,
    Accepted,
    Before,
    Conflict,
    Duplicate,
    Rejected,
)
from tests.books import (
    ALPHA,
    DAY,
    DEVICE,
    HOUR,
    ORIGIN,
    Books,
    attempt,
    figures,
    lifted,
    opened,
    properties,
    record,
    salt_of,
    signer,
    uscc_of,
    void,
)
from tests.summing import summed, told

START = parse_instant("2025-03-01T08:00:00+08:00")
END = START + HOUR
LATENESS = 35 * DAY
TIMES = ("2025-03-01T08:00:00+08:00", "2025-03-01T09:00:00+08:00")


def with_contract() -> Books:
    books = opened()
    books.contract("A")
    books.issue(2025, "500000.00")
    return books


def with_two_providers() -> Books:
    books = with_contract()
    books.provider("sz", uscc=uscc_of(7), name="other")
    books.key("sz-1", "sz")
    books.contract("Z", provider="sz")
    return books


def usage(**changes: Any) -> dict[str, Any]:
    return record("r", "A", *TIMES, 64_000) | changes


def verdict(books: Books, **changes: Any) -> Any:
    (result,) = books.post([usage(**changes)])
    return result


def refusal(books: Books, **changes: Any) -> Problem:
    """Post and be refused; nothing may change."""
    before = figures(books.state)
    with pytest.raises(Problem) as refused:
        books.post(**changes)
    assert figures(books.state) == before
    return refused.value


# Who may send


def test_a_key_that_nobody_registered_is_unknown():
    assert refusal(with_contract(), keyid="nobody").code == "bad_signature"


def test_a_batch_that_was_verified_is_not_decided_under_a_key_that_the_ledger_does_not_hold():
    books = with_contract()
    data = dsse.seal(dsse.BATCH_TYPE, books.payload([usage()]), "nobody", signer("nobody"))
    sent = parse_batch(dsse.parse(data, dsse.BATCH_TYPE), data)
    before = figures(books.state)
    with pytest.raises(Problem, match="no registered key nobody") as refused:
        decide(books.state, sent, books.now, Before(books.state.size, ""), salt_of(data))
    assert refused.value.code == "bad_signature"
    assert figures(books.state) == before


def test_a_key_signs_for_its_own_provider_only():
    books = with_two_providers()
    assert refusal(books, keyid="sz-1", records=[usage()]).code == "provider_mismatch"
    assert refusal(books, keyid="pcl-1", provider="sz").code == "provider_mismatch"
    assert refusal(books, keyid="pcl-1", provider="nobody").code == "provider_mismatch"


def test_a_signature_by_another_key_than_the_named_one_is_bad():
    books = with_two_providers()
    payload = books.payload([usage()])
    with pytest.raises(Problem) as refused:
        books.send(dsse.seal(dsse.BATCH_TYPE, payload, "pcl-1", signer("sz-1")))
    assert refused.value.code == "bad_signature"


@pytest.mark.parametrize("log", ["kashi.test/other", ORIGIN + "/", ORIGIN.upper(), "x"])
def test_a_batch_for_another_log_is_refused(log):
    assert refusal(with_contract(), log=log).code == "wrong_log"


def test_a_genesis_must_match_where_it_is_sent():
    books = with_contract()
    assert refusal(books, genesis="0" * 64).code == "wrong_genesis"
    books.post([usage()], genesis=books.state.genesis_hash)
    assert books.cost("A") == 28_800


def test_the_provider_is_checked_before_the_log_and_the_log_before_the_genesis():
    books = with_two_providers()
    wrong = {"log": "kashi.test/other", "genesis": "0" * 64}
    assert refusal(books, provider="sz", **wrong).code == "provider_mismatch"
    assert refusal(books, **wrong).code == "wrong_log"
    books.post(seq=1)
    books.revoke()
    assert refusal(books, **wrong).code == "wrong_log"
    assert refusal(books, genesis="0" * 64).code == "wrong_genesis"
    # The number is looked up before the revocation.
    assert refusal(books, seq=1, records=[usage()]).code == "seq_conflict"
    assert refusal(books, seq=2).code == "key_revoked"


def test_after_its_revocation_a_key_sends_nothing_new():
    books = with_contract()
    number = books.revoke()
    problem = refusal(books, records=[usage()])
    assert (problem.code, problem.status, problem.facts) == ("key_revoked", 403, {"entry": number})


# Numbers of a stream


def test_the_same_batch_again_gets_the_stored_answer_byte_for_byte():
    books = with_contract()
    books.post([usage()], seq=1)
    entries = list(books.entries)
    before = figures(books.state)
    books.at("2026-06-01T00:00:00+08:00").post([usage()], seq=1)
    assert books.receipts[0] == books.receipts[1]
    assert books.entries == entries
    assert figures(books.state) == before


def test_the_same_batch_again_is_answered_after_the_key_was_revoked():
    books = with_contract()
    books.post([usage()], seq=1)
    books.revoke()
    books.post([usage()], seq=1)
    assert books.receipts[0] == books.receipts[1]


def test_the_same_payload_under_another_key_of_the_provider_is_the_same_batch():
    books = with_contract()
    books.key("pcl-2")
    books.post([usage()], seq=1)
    books.post([usage()], seq=1, keyid="pcl-2")
    assert books.receipts[0] == books.receipts[1]


def test_another_payload_under_a_used_number_is_a_conflict():
    books = with_contract()
    payload = books.payload([usage()], seq=1)
    books.post([usage()], seq=1)
    problem = refusal(books, records=[usage(id="s")], seq=1)
    assert (problem.code, problem.status) == ("seq_conflict", 409)
    assert problem.facts == {"batch": sha256(payload).hexdigest()}
    books.revoke()
    assert refusal(books, records=[usage(id="s")], seq=1).code == "seq_conflict"


def test_a_payload_that_reads_the_same_in_other_bytes_is_another_payload():
    books = with_contract()
    payload = books.payload([usage()], seq=1)
    books.post([usage()], seq=1)
    with pytest.raises(Problem) as refused:
        books.send(dsse.seal(dsse.BATCH_TYPE, payload + b" ", "pcl-1", signer("pcl-1")))
    assert refused.value.code == "seq_conflict"


def test_streams_and_providers_number_for_themselves():
    books = with_two_providers()
    books.post([usage(id="1")], seq=1, stream="a")
    books.post([usage(id="2")], seq=1, stream="b")
    books.post([usage(id="1", contract="Z")], seq=1, stream="a", provider="sz", keyid="sz-1")
    assert [books.cost(name) for name in "AZ"] == [57_600, 28_800]


def test_batches_come_in_any_order_and_an_empty_one_fills_a_gap():
    books = with_contract()
    for seq in (3, 2**53 - 1, 1):
        books.post([usage(id=f"r{seq}")], seq=seq)
    before = len(books.entries)
    books.post(seq=2)
    (entry,) = books.entries[before:]
    assert isinstance(entry, BatchAccepted)
    assert (entry.seq, entry.voids, entry.records, entry.postings) == (2, 0, 0, [])
    assert books.receipt()["entries"] == {"first": before, "count": 1}
    assert (books.receipt()["voids"], books.receipt()["results"]) == ([], [])
    assert sorted(seq for *_, seq in books.state.batches) == [1, 2, 3, 2**53 - 1]


def test_a_payload_that_fails_its_schema_leaves_its_number_free():
    books = with_contract()
    assert refusal(books, records=[usage(milli_devices=1.5)], seq=1).code == "bad_batch"
    assert books.post([usage()], seq=1)[0].status == "accepted"


def test_batches_leave_an_entry_with_their_hashes_and_counts():
    books = with_contract()
    payload = books.payload([usage(), usage(contract="none", id="s")], [void("x")], seq=4)
    data = dsse.seal(dsse.BATCH_TYPE, payload, "pcl-1", signer("pcl-1"))
    size = books.state.size
    receipt = books.send(data)
    entry, used = books.entries[size:]
    assert entry == BatchAccepted(
        at=books.now,
        by="pcl-1",
        postings=[],
        salt=salt_of(data),
        provider="pcl",
        stream="main",
        seq=4,
        payload=sha256(payload).hexdigest(),
        envelope=sha256(data).hexdigest(),
        receipt=sha256(receipt).hexdigest(),
        before=size,
        voids=1,
        records=2,
        purchases=0,
    )
    assert isinstance(used, UsageAccepted)
    assert (used.batch, used.by, used.at) == (size, "pcl-1", books.now)


def test_the_salts_of_a_batch_follow_from_its_own_and_count_what_was_refused():
    books = with_contract()
    verdict(books)
    size = books.state.size
    books.post([usage(contract="none", id="s"), usage(id="t")], [void("x"), void("r")])
    batch, voided, used = books.entries[size:]
    secret = bytes.fromhex(batch.salt)
    expected = [hmac.new(secret, text, "sha256").digest()[:16].hex() for text in (b"1", b"3")]
    assert [voided.salt, used.salt] == expected


# Records


def test_the_usage_entry_says_what_was_metered_and_moves_the_money():
    books = with_contract()
    verdict(books, run="slurm:4211", state="RUNNING", final=False)
    assert books.entries[-1] == UsageAccepted(
        at=books.now,
        by="pcl-1",
        salt=books.entries[-1].salt,
        batch=len(books.entries) - 2,
        provider="pcl",
        id="r",
        contract="A",
        device=DEVICE,
        milli_devices=64_000,
        start=START * MICROSECONDS,
        end=END * MICROSECONDS,
        run="slurm:4211",
        state="RUNNING",
        final=False,
        cost=28_800,
        fits=[(day_of(START), 64_000 * HOUR)],
        entitled=[(2025, 14_400)],
        postings=[
            (f"enterprise:{ALPHA}", "due:A", 28_800),
            (f"coupon:training-coupon:2025:{ALPHA}", "accrued:A:2025", 14_400),
        ],
    )


def test_an_equal_record_is_a_duplicate_in_the_same_batch_and_in_later_ones():
    books = with_contract()
    first, again = books.post([usage(), usage()])
    assert isinstance(first, Accepted)
    assert again == Duplicate("r", "duplicate", first.entry)
    assert verdict(books) == again
    # Content is compared as parsed: the same instants under other offsets are the same.
    assert verdict(books, start="2025-03-01T00:00:00Z", end="2025-02-28T20:00:00-05:00") == again
    assert books.cost("A") == 28_800


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("contract", "Z"),
        ("contract", "none"),
        ("device", "other"),
        ("milli_devices", 64_001),
        ("start", "2025-03-01T08:00:01+08:00"),
        ("end", "2025-03-01T09:00:01+08:00"),
    ],
)
def test_the_same_id_with_another_field_is_a_conflict_that_names_it(field, value):
    books = with_two_providers()
    number = verdict(books).entry
    size = books.state.size
    result = verdict(books, **{field: value})
    assert isinstance(result, Conflict)
    assert (result.id, result.status, result.entry) == ("r", "conflict", number)
    assert result.detail.endswith(f"in {field}")
    assert books.state.size == size + 1
    assert (books.cost("A"), books.cost("Z")) == (28_800, 0)


@pytest.mark.parametrize(("field", "other"), [("run", "2"), ("state", "DONE"), ("final", False)])
def test_the_same_id_with_another_opaque_field_is_a_duplicate_that_names_it(field, other):
    books = with_contract()
    opaque = {"run": "slurm:1", "state": "RUNNING", "final": True}
    number = verdict(books, **opaque).entry
    assert verdict(books, **opaque).detail is UNSET
    left_out = {name: value for name, value in opaque.items() if name != field}
    for again in (left_out, opaque | {field: other}):
        result = verdict(books, **again)
        assert (result.status, result.entry) == ("duplicate", number)
        assert f"in {field}, which" in result.detail
    assert books.cost("A") == 28_800


def test_duplicates_and_conflicts_are_seen_before_any_rule_is_tried():
    books = with_contract()
    verdict(books)
    books.freeze("A")
    books.at(END * MICROSECONDS + 2 * LATENESS * MICROSECONDS)
    assert verdict(books).status == "duplicate"
    assert verdict(books, milli_devices=0).status == "conflict"


def test_record_ids_belong_to_their_provider():
    books = with_two_providers()
    verdict(books)
    (other,) = books.post([usage(contract="Z")], provider="sz", keyid="sz-1")
    assert other.status == "accepted"


def test_a_rejected_record_leaves_its_id_free():
    books = with_contract()
    first, second, third = books.post([usage(contract="none"), usage(milli_devices=0), usage()])
    assert (first.code, second.code) == ("unknown_contract", "bad_devices")
    assert third.status == "accepted"


def test_a_wrong_record_leaves_the_others_of_its_batch_unharmed():
    books = with_contract()
    wrong = [usage(id="w1", contract="none"), usage(id="w2", device="none")]
    results = books.post([usage(id="1"), wrong[0], usage(id="2"), wrong[1], usage(id="3")])
    assert [each.status for each in results] == [
        "accepted",
        "rejected",
        "accepted",
        "rejected",
        "accepted",
    ]
    assert [each.id for each in results] == ["1", "w1", "2", "w2", "3"]
    assert books.cost("A") == 3 * 28_800


LATE = {"start": "2025-01-01T00:00:00+08:00", "end": "2025-01-01T01:00:00+08:00"}
AHEAD = {"start": "2025-03-01T11:00:00+08:00", "end": "2025-03-02T12:00:00+08:00"}
BACKWARDS_LATE = {"start": LATE["end"], "end": LATE["start"]}
BACKWARDS_AHEAD = {"start": "2025-04-02T12:00:00+08:00", "end": AHEAD["end"]}
LONG_LATE = {"start": "2024-11-01T00:00:00+08:00", "end": LATE["end"]}
LONG_AHEAD = {"start": "2025-01-01T00:00:00+08:00", "end": AHEAD["end"]}


@pytest.mark.parametrize(
    ("broken", "code"),
    [
        (
            {"contract": "none", "device": "none", "milli_devices": 0} | BACKWARDS_LATE,
            "unknown_contract",
        ),
        ({"contract": "none"}, "unknown_contract"),
        ({"contract": "Z", "device": "none", "milli_devices": 0} | LONG_LATE, "unknown_contract"),
        ({"contract": "Z"}, "unknown_contract"),
        ({"device": "none", "milli_devices": 0} | BACKWARDS_LATE, "unknown_device"),
        ({"device": "none"} | LONG_AHEAD, "unknown_device"),
        ({"milli_devices": 0} | BACKWARDS_LATE, "bad_devices"),
        ({"milli_devices": -1} | LONG_AHEAD, "bad_devices"),
        ({"milli_devices": 10**9 + 1} | LATE, "bad_devices"),
        (BACKWARDS_LATE, "bad_interval"),
        (BACKWARDS_AHEAD, "bad_interval"),
        ({"end": TIMES[0]}, "bad_interval"),
        (LONG_LATE, "too_long"),
        (LONG_AHEAD, "too_long"),
        (AHEAD, "in_future"),
        (LATE, "too_late"),
        ({}, "contract_frozen"),
    ],
)
def test_a_record_that_breaks_several_rules_gets_the_code_of_the_first(broken, code):
    books = with_two_providers()
    books.freeze("A")
    books.freeze("Z")
    result = verdict(books, **broken)
    assert isinstance(result, Rejected)
    assert (result.id, result.status, result.code) == ("r", "rejected", code)
    assert result.detail
    assert code in RECORD_CODES


def test_every_code_of_a_record_stands_in_the_order_of_the_documents():
    assert RECORD_CODES == (
        "unknown_contract",
        "wrong_meter",
        "unknown_device",
        "bad_devices",
        "bad_amount",
        "bad_interval",
        "too_long",
        "in_future",
        "too_late",
        "contract_frozen",
        "second_purchase",
    )


def code(result: Any) -> str | None:
    return result.code if isinstance(result, Rejected) else None


def test_device_counts_go_from_a_thousandth_to_a_million_devices():
    assert code(verdict(with_contract(), milli_devices=0)) == "bad_devices"
    assert code(verdict(with_contract(), milli_devices=1)) is None
    assert code(verdict(with_contract(), milli_devices=10**9)) is None
    assert code(verdict(with_contract(), milli_devices=10**9 + 1)) == "bad_devices"


def test_an_interval_of_a_second_is_the_shortest_and_of_31_days_the_longest():
    def lasting(seconds: int) -> str | None:
        books = with_contract().at((START + 32 * DAY) * MICROSECONDS)
        return code(verdict(books, end=format_instant(START + seconds)))

    assert lasting(-1) == lasting(0) == "bad_interval"
    assert lasting(1) is None
    assert lasting(31 * DAY) is None
    assert lasting(31 * DAY + 1) == "too_long"


def test_an_end_may_be_five_minutes_ahead_and_not_a_second_more():
    def ahead(seconds: int, microseconds: int = 0) -> str | None:
        books = with_contract().at((END - seconds) * MICROSECONDS + microseconds)
        return code(verdict(books))

    assert ahead(0) is None
    assert ahead(300) is None
    assert ahead(300, -1) == "in_future"
    assert ahead(301) == "in_future"


def test_a_record_is_late_35_days_after_its_end_and_not_a_microsecond_before():
    def after(microseconds: int) -> str | None:
        return code(verdict(with_contract().at(END * MICROSECONDS + microseconds)))

    assert after(LATENESS * MICROSECONDS) is None
    assert after(LATENESS * MICROSECONDS + 1) == "too_late"


def test_the_lateness_is_the_one_of_the_contracts_own_policy():
    books = with_contract()
    books.activate(lifted(version="later"))
    books.contract("L")
    books.at(END * MICROSECONDS + 36 * DAY * MICROSECONDS)
    assert code(verdict(books)) == "too_late"
    assert code(verdict(books, contract="L")) is None


def test_a_freeze_stops_new_records_and_an_end_of_it_lets_them_in():
    books = with_contract()
    verdict(books, id="before")
    books.freeze("A")
    assert code(verdict(books)) == "contract_frozen"
    assert books.post(voids=[void("before")])[0].status == "accepted"
    books.unfreeze("A")
    assert code(verdict(books)) is None


def test_grants_go_on_while_a_contract_is_frozen():
    books = opened()
    books.contract("A")
    verdict(books)
    books.freeze("A")
    books.issue(2025, "100.00")
    assert books.granted("A") == 10_000


@pytest.mark.parametrize(
    ("terms", "reason"),
    [
        ({"use": "inference"}, "use"),
        ({"related_party": True}, "related_party"),
        ({"starts": "2025-03-02"}, "outside_term"),
        ({"ends": "2025-03-01"}, "outside_term"),
        ({"starts": "2025-03-05"}, "outside_term"),
        ({"starts": "2025-03-05", "use": "inference", "related_party": True}, "related_party"),
        ({"starts": "2025-03-05", "use": "inference"}, "use"),
    ],
)
def test_usage_that_is_not_eligible_is_metered_and_says_why_nothing_is_entitled(terms, reason):
    books = with_contract()
    books.contract("N", **terms)
    result = verdict(books, contract="N")
    assert (result.status, result.cost) == ("accepted", "288.00")
    assert (result.entitled, result.granted, result.by_year) == ("0.00", "0.00", {})
    assert result.bound == []
    assert (result.withheld, result.ineligible) == ("0.00", "288.00")
    assert result.reasons == {reason: "288.00"}
    assert books.entries[-1].ineligible == [(reason, 28_800)]
    assert books.entries[-1].fits == [(day_of(START), 64_000 * HOUR)]  # it takes room all the same
    assert books.entries[-1].postings == [(f"enterprise:{ALPHA}", "due:N", 28_800)]


@pytest.mark.parametrize("edge", ["2024-12-18T00:00:00+08:00", "2026-12-18T00:00:00+08:00"])
def test_usage_counts_from_the_first_second_of_the_validity_to_its_last(edge):
    books = opened(lifted()).at("2027-01-01T00:00:00+08:00")
    books.contract("A")
    inside = 1 if edge.startswith("2024") else -1
    second = parse_instant(edge)
    for begin, eligible in ((second, inside > 0), (second - 1, inside < 0)):
        before = books.eligible("A", int(edge[:4]))
        (result,) = books.post([record(str(begin), "A", begin, begin + 1, 1_000)])
        more = books.eligible("A", int(edge[:4])) - before
        assert more == (1_000 * 45_000 if eligible else 0)
        assert list(result.reasons) == ([] if eligible else ["outside_policy"])
    before = books.eligible("A", int(edge[:4]))
    books.post([record("across", "A", second - 60, second + 90, 1)])
    more = books.eligible("A", int(edge[:4])) - before
    assert more == (90 if inside > 0 else 60) * 45_000


@pytest.mark.parametrize(
    ("second", "reason"),
    [
        ("2024-12-17T23:59:59+08:00", "outside_policy"),
        ("2024-12-18T00:00:00+08:00", "outside_term"),
        ("2026-12-17T23:59:59+08:00", "outside_term"),
        ("2026-12-18T00:00:00+08:00", "outside_policy"),
    ],
)
def test_usage_outside_the_term_is_outside_the_policy_only_beyond_its_validity(second, reason):
    books = opened(lifted()).at("2027-01-01T00:00:00+08:00")
    books.contract("A", starts="2025-01-01", ends="2026-01-01")
    begin = parse_instant(second)
    (result,) = books.post([record("r", "A", begin, begin + 1, 64_000)])
    assert result.reasons == {reason: "0.08"}
    summed(told(books))


def test_usage_counts_from_the_first_second_of_term_and_enlistment_to_their_last():
    books = opened(lifted())
    books.provider(
        "sz",
        uscc=uscc_of(7),
        enlisted={"batch": "1", "from": "2025-02-02", "until": "2025-02-20"},
        devices={DEVICE: 100},
    )
    books.key("sz-1", "sz")
    prices = {DEVICE: "4.50", "unlisted": "4.50"}
    books.contract("T", provider="sz", starts="2025-02-01", ends="2025-02-10", prices=prices)
    months = {"start": "2025-01-20T00:00:00+08:00", "end": "2025-02-15T00:00:00+08:00"}

    def eligible(**changes: Any) -> int:
        body = usage(contract="T", milli_devices=1, id=str(books.state.size)) | changes
        before = books.eligible("T", 2025)
        books.post([body], provider="sz", keyid="sz-1")
        return (books.eligible("T", 2025) - before) // 45_000

    # From the enlistment's first day (2 February) to the term's last (9 February).
    assert eligible(**months) == 8 * DAY
    assert eligible(device="unlisted", **months) == 0
    edge = {"start": "2025-02-01T23:59:59+08:00", "end": "2025-02-02T00:00:01+08:00"}
    assert eligible(**edge) == 1
    edge = {"start": "2025-02-09T23:59:59+08:00", "end": "2025-02-10T00:00:01+08:00"}
    assert eligible(**edge) == 1
    assert eligible(start="2025-02-10T00:00:00+08:00", end="2025-02-10T00:00:01+08:00") == 0
    reasons = {reason: work // 45_000 for reason, work in books.ineligible("T").items()}
    # Outside the term comes first; of the unlisted kind all that is inside is not enlisted.
    assert reasons == {
        "outside_term": 2 * (12 + 5) * DAY + 1 + 1,
        "not_enlisted": DAY + 9 * DAY + 1,
    }


# Voids


def test_a_void_takes_money_back_and_answers_with_signed_figures():
    books = with_contract()
    accepted = verdict(books)
    (result,) = books.post(voids=[void("r")])
    assert result == Accepted(
        id="r",
        status="accepted",
        entry=accepted.entry + 2,
        cost="-288.00",
        entitled="-144.00",
        granted="-144.00",
        uncovered="0.00",
        withheld="0.00",
        ineligible="0.00",
        reasons={},
        by_year={"2025": "-144.00"},
        bound=[],
    )
    assert books.entries[-1] == RecordVoided(
        at=books.now,
        by="pcl-1",
        salt=books.entries[-1].salt,
        batch=result.entry - 1,
        provider="pcl",
        id="r",
        record=accepted.entry,
        contract="A",
        device=DEVICE,
        reason="node failed, not charged",
        cost=-28_800,
        entitled=[(2025, -14_400)],
        postings=[
            ("due:A", f"enterprise:{ALPHA}", 28_800),
            ("accrued:A:2025", f"coupon:training-coupon:2025:{ALPHA}", 14_400),
        ],
    )


def test_voids_come_before_records_so_an_amendment_is_one_batch():
    books = with_contract()
    verdict(books)
    taken, amended = books.post([usage(id="r.1", milli_devices=32_000)], [void("r")])
    assert (taken.status, taken.cost) == ("accepted", "-288.00")
    assert (amended.status, amended.cost) == ("accepted", "144.00")
    assert (books.cost("A"), books.granted("A")) == (14_400, 7_200)


def test_a_void_does_not_reach_the_records_of_its_own_batch():
    books = with_contract()
    refused, accepted = books.post([usage()], [void("r")])
    assert (code(refused), accepted.status) == ("unknown_record", "accepted")


def test_a_void_of_an_unknown_a_rejected_or_another_providers_record_is_rejected():
    books = with_two_providers()
    verdict(books, contract="none")
    books.post([usage(id="z", contract="Z")], provider="sz", keyid="sz-1")
    results = books.post(voids=[void("none"), void("r"), void("z")])
    assert [code(each) for each in results] == ["unknown_record"] * 3


def test_a_record_is_voided_once_by_whomever():
    books = with_contract()
    books.post([usage(id="1"), usage(id="2")])
    first, again = books.post(voids=[void("1"), void("1")])
    assert (first.status, code(again)) == ("accepted", "already_voided")
    books.void("2")
    assert code(books.post(voids=[void("2")])[0]) == "already_voided"
    with pytest.raises(Problem) as refused:
        books.void("1")
    assert refused.value.code == "already_voided"
    assert books.cost("A") == 0


def test_a_voided_id_stays_used():
    books = with_contract()
    number = verdict(books).entry
    books.post(voids=[void("r")])
    assert verdict(books) == Duplicate("r", "duplicate", number)
    assert verdict(books, milli_devices=1).status == "conflict"
    assert books.cost("A") == 0


def test_a_providers_void_obeys_the_lateness_limit_and_the_authoritys_does_not():
    books = with_contract()
    books.post([usage(id="1"), usage(id="2")])
    books.at((END + LATENESS) * MICROSECONDS)
    assert books.post(voids=[void("1")])[0].status == "accepted"
    books.at((END + LATENESS) * MICROSECONDS + 1)
    assert code(books.post(voids=[void("2")])[0]) == "too_late"
    books.void("2")
    assert books.cost("A") == 0


def test_the_codes_of_voids_are_tried_in_their_order():
    books = with_contract()
    books.post([usage()])
    books.void("r")
    books.at((END + 2 * LATENESS) * MICROSECONDS)
    assert code(books.post(voids=[void("r")])[0]) == "already_voided"
    assert VOID_CODES == ("unknown_record", "already_voided", "too_late")


# The receipt


def test_the_receipt_is_these_bytes():
    books = with_contract()
    payload = books.payload(
        [usage(id="slurm:4211:0"), usage(id="slurm:4212:0", contract="TC-9")], [void("x")], seq=17
    )
    first = books.state.size
    receipt = books.send(dsse.seal(dsse.BATCH_TYPE, payload, "pcl-1", signer("pcl-1")))
    assert first == 7
    root = base64.b64encode(bytes(32)).decode()
    assert (
        receipt
        == (
            f'{{"batch":"{sha256(payload).hexdigest()}","log":"kashi.test/books","provider":"pcl",'
            f'"stream":"main","seq":17,"before":{{"size":7,"root":"{root}"}},'
            '"entries":{"first":7,"count":2},'
            '"voids":[{"id":"x","status":"rejected","code":"unknown_record",'
            '"detail":"no accepted record of this id"}],'
            '"results":[{"id":"slurm:4211:0","status":"accepted","entry":8,"cost":"288.00",'
            '"entitled":"144.00","granted":"144.00","uncovered":"0.00","withheld":"0.00",'
            '"ineligible":"0.00","reasons":{},"by_year":{"2025":"144.00"},"bound":[]},'
            '{"id":"slurm:4212:0","status":"rejected","code":"unknown_contract",'
            '"detail":"pcl has no contract TC-9"}]}'
        ).encode()
    )


def test_a_receipt_is_silent_about_the_contracts_of_other_providers():
    books = with_two_providers()
    books.withdraw(2025, "499900.00")  # 100.00 are left
    verdict(books)
    books.post([usage(contract="Z")], provider="sz", keyid="sz-1", stream="sz-stream")
    assert [books.granted(name) for name in "AZ"] == [10_000, 0]
    (result,) = books.post(voids=[void("r")])
    # The money that A gives back goes to Z in the same entry.
    assert [books.granted(name) for name in "AZ"] == [0, 10_000]
    assert any("accrued:Z:2025" in posting for posting in books.entries[-1].postings)
    assert (result.granted, result.by_year) == ("-100.00", {"2025": "-100.00"})
    text = books.receipts[-1].decode()
    assert '"Z"' not in text
    assert "sz" not in text
    assert "100.00" not in text.replace('"-100.00"', "")


def test_uncovered_is_what_is_entitled_and_not_granted():
    books = with_contract()
    books.withdraw(2025, "499900.00")
    result = verdict(books)
    assert (result.entitled, result.granted, result.uncovered) == ("144.00", "100.00", "44.00")
    assert result.bound == ["coupon"]
    result = verdict(books, id="s")
    assert (result.entitled, result.granted, result.uncovered) == ("144.00", "0.00", "144.00")
    assert result.by_year == {"2025": "0.00"}
    (result,) = books.post(voids=[void("s")])
    assert (result.entitled, result.granted, result.uncovered) == ("-144.00", "0.00", "-144.00")
    assert result.bound == ["coupon"]


def test_a_batch_leaves_its_time_and_the_name_of_its_stream():
    books = with_contract().at("2025-03-01T12:00:01+08:00")
    books.post(stream="main")
    assert books.state.last_at == books.now
    with pytest.raises(Problem, match="looks_alike"):
        books.post(stream="Main")
    books.post(stream="main")


def test_a_coupon_of_one_fen_is_granted():
    books = with_contract()
    books.withdraw(2025, "499999.99")
    assert verdict(books).granted == "0.01"


def test_a_contract_that_is_used_up_stays_so_beside_usage_that_does_not_count():
    books = opened()
    books.contract("A", amount="100.00")
    assert verdict(books).bound == ["contract_amount", "coupon"]
    early = {"start": "2024-11-30T23:00:00+08:00", "end": "2024-12-01T00:00:00+08:00"}
    books.at("2024-12-02T00:00:00+08:00")
    result = verdict(books, id="early", **early)
    assert (result.entitled, result.bound) == ("0.00", ["contract_amount", "coupon"])


def test_the_same_batch_on_the_same_state_at_the_same_time_gives_the_same_bytes():
    one, two = with_two_providers(), with_two_providers()
    for books in (one, two):
        books.post([usage(), usage(id="s", contract="none"), usage(id="t")])
        books.post([usage(id="u", run="run")], [void("t"), void("none")])
    assert one.receipts == two.receipts
    assert one.entries == two.entries


# Hostile payloads

REFUSALS_OF_A_SIGNED_BATCH = {
    "bad_batch",
    "provider_mismatch",
    "seq_conflict",
    "wrong_genesis",
    "wrong_log",
}
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.sampled_from([0, 1, 2**53, 2**63, 2**64, 10**30, -1]),
    st.floats(),
    st.text(max_size=12),
    st.sampled_from(
        ["", "A", "Z", "r", "pcl", "sz", "main", ORIGIN, *TIMES, "ascend-910b", "\ud800"]
    ),
    st.sampled_from(
        ["9998-12-31T23:59:59-23:59", "1900-01-01T00:00:00+23:59", "2025-03-01T12:05:00Z"]
    ),
)
JSON = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=6,
)
GOOD = {
    "log": ORIGIN,
    "provider": "pcl",
    "stream": "main",
    "seq": 2,
    "voids": [void("old"), void("none")],
    "records": [usage(run="run", state="RUNNING", final=True), usage(id="s", contract="Z")],
}


def places(value: Any, path: tuple = ()) -> list[tuple]:
    """Return the path of everything inside a JSON value."""
    match value:
        case dict():
            inner = [places(item, (*path, key)) for key, item in value.items()]
        case list():
            inner = [places(item, (*path, index)) for index, item in enumerate(value)]
        case _:
            inner = []
    return [path, *(place for each in inner for place in each)]


def changed(value: Any, path: tuple, new: Any, action: str) -> Any:
    """Put something else at a path: in its place, beside it, or nothing at all."""
    if not path:
        return new
    head, *rest = path
    copy = dict(value) if isinstance(value, dict) else list(value)
    if rest:
        copy[head] = changed(value[head], tuple(rest), new, action)
    elif action == "remove":
        del copy[head]
    elif action == "add" and isinstance(copy, list):
        copy.insert(head, new)
    elif action == "add":
        copy[f"{head}x"] = new
    else:
        copy[head] = new
    return copy


@st.composite
def hostile_payloads(draw) -> bytes:
    value: Any = GOOD
    for _ in range(draw(st.integers(1, 3))):
        path = draw(st.sampled_from(places(value)))
        action = draw(st.sampled_from(["replace", "replace", "remove", "add"]))
        value = changed(value, path, draw(JSON), action)
    data = json.dumps(value, ensure_ascii=draw(st.booleans())).encode("utf-8", "surrogatepass")
    if draw(st.booleans()):
        position = draw(st.integers(0, len(data)))
        data = (
            data[:position]
            + draw(st.binary(max_size=4))
            + data[position + draw(st.integers(0, 3)) :]
        )
    return data


@settings(properties, max_examples=400)
@given(hostile_payloads())
def test_a_hostile_payload_gets_documented_codes_and_nothing_else(payload):
    books = with_two_providers()
    books.post([usage(id="old")], seq=1)
    before = figures(books.state)
    data = dsse.seal(dsse.BATCH_TYPE, payload, "pcl-1", signer("pcl-1"))
    receipt = attempt(lambda: books.send(data))
    if isinstance(receipt, Problem):
        assert receipt.code in REFUSALS_OF_A_SIGNED_BATCH
        assert figures(books.state) == before
        return
    answer = json.loads(receipt)
    assert {each["code"] for each in answer["voids"] if "code" in each} <= set(VOID_CODES)
    assert {each["code"] for each in answer["results"] if "code" in each} <= set(RECORD_CODES)
    assert answer["entries"]["count"] == len(books.entries) - before["size"]


@settings(properties, max_examples=200)
@given(
    st.fixed_dictionaries(
        {},
        optional={
            "id": st.sampled_from(["r", "old", "s"]),
            "contract": st.sampled_from(["A", "Z", "none"]),
            "device": st.sampled_from([DEVICE, "none"]),
            "milli_devices": st.integers() | st.integers(1, 10**9),
            "start": st.integers(START - 40 * DAY, START + 40 * DAY).map(format_instant),
            "end": st.integers(START - 40 * DAY, START + 40 * DAY).map(format_instant),
            "final": st.booleans(),
        },
    )
)
def test_a_record_of_the_right_form_always_gets_one_result(changes):
    books = with_two_providers()
    verdict(books, id="old")
    result = attempt(lambda: verdict(books, **changes))
    if isinstance(result, Problem):
        # An integer that no reader of ours keeps exact.
        assert result.code == "bad_batch"
        assert abs(changes["milli_devices"]) >= 2**53
        return
    assert result.status in {"accepted", "duplicate", "conflict", "rejected"}
    assert code(result) in {None, *RECORD_CODES}


# Steps


def steps_of(records: list[dict[str, Any]]) -> int:
    """Return how many steps the judgement of records takes, without the one for the receipt."""
    books = with_contract()
    data = dsse.seal(dsse.BATCH_TYPE, books.payload(records), "pcl-1", signer("pcl-1"))
    signed = parse_batch(dsse.parse(data, dsse.BATCH_TYPE), data)
    before = Before(books.state.size, base64.b64encode(bytes(32)).decode())
    decision = Decision(books.state, signed, books.now, before, salt_of(data), by_groups=False)
    steps = 0
    while decision.result is None:
        decision.step()
        steps += 1
    return steps - 1


@pytest.mark.parametrize(
    ("seconds", "records", "steps"),
    [
        (HOUR, 25, 1),
        (HOUR, 26, 2),
        (31 * DAY, 1, 1),
        (31 * DAY, 4, 4),
        (31 * DAY // 2, 4, 2),
        # Refused, and so no dearer than the longest that is not.
        (365 * DAY, 2, 2),
        (-31 * DAY, 26, 2),
    ],
)
def test_a_step_judges_25_records_or_31_days_of_them(seconds, records, steps):
    ids = [f"r{number}" for number in range(records)]
    assert steps_of([record(id_, "A", END - seconds, END, 1) for id_ in ids]) == steps
