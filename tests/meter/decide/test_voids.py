"""Voids: what they take back, whom they reach, and when they are refused."""

import pytest

from meter.rules.entries import RecordVoided
from meter.values.problems import Problem
from meter.values.units import MICROSECONDS
from meter.wire.receipt import VOID_CODES, Accepted, Duplicate
from tests.books import ALPHA, DEVICE, void
from tests.deciding import END, LATENESS, code, usage, verdict, with_contract, with_two_providers


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
