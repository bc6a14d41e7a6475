"""Records: what is metered, what is refused and in which order, and where time ends."""

from typing import Any

import pytest
from msgspec import UNSET

from meter.rules.entries import UsageAccepted
from meter.values.units import MICROSECONDS, day_of, format_instant, parse_instant
from meter.wire.receipt import RECORD_CODES, Accepted, Conflict, Duplicate, Rejected
from tests.books import ALPHA, DAY, DEVICE, HOUR, lifted, opened, record, uscc_of, void
from tests.deciding import (
    END,
    LATENESS,
    START,
    TIMES,
    code,
    usage,
    verdict,
    with_contract,
    with_two_providers,
)
from tests.summing import summed, told


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
