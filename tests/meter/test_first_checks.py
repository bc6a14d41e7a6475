"""Checks and figures that others hide: each case is refused, or found, by the one it is named for.

Where several checks lead to one answer, a fault of the first shows only in what the others let
pass.
"""

import json
from hashlib import sha256

import pytest
from msgspec import UNSET, ValidationError, convert
from msgspec.structs import replace

from meter.rules import commands
from meter.rules.commands import fingerprint_of
from meter.rules.decide_command import response_to
from meter.rules.kinds.periods import expired
from meter.rules.payable import count_paper
from meter.values.strict import decode
from meter.values.units import parse_instant
from tests.awarding import granting
from tests.books import (
    ALPHA,
    BETA,
    DEVICE,
    PROGRAMME,
    Books,
    coupon_ids,
    day_number,
    lifted,
    line,
    micros,
    opened,
    purchase,
    record,
    summary,
    without_sections,
)
from tests.commanding import refusal
from tests.desk import Desk
from tests.fuzz.ledgers import story
from tests.histories import CORPUS, history
from tests.meter.test_periods import OVER, used
from tests.papers import NUMBER, PATIENT, invoice
from tests.summing import Sums, found, summed, told

START, END = "2025-03-01T08:00:00+08:00", "2025-03-01T09:00:00+08:00"


def contracted(**changes) -> Books:
    books = opened(lifted())
    books.contract("A", **changes)
    return books


# Refusals


@pytest.mark.parametrize("name", ["effective", "signed_on"])
def test_a_supplement_needs_both_of_its_days(name):
    books = contracted()
    body = {"contract": "A", "mode": "supplement", "document": "协议", "reason": "as signed"}
    days = {"effective": "2025-02-01", "signed_on": "2025-01-01"}
    body |= {"amount": "1.00"} | {day: value for day, value in days.items() if day != name}
    problem = refusal(books.ask, commands.AmendContract, **body)
    assert (problem.code, problem.detail) == ("malformed", f"a supplement needs {name}")


def test_a_batch_is_spelled_as_it_was_at_first():
    books = opened(lifted())
    enlisted = {"batch": "Batch", "from": "2020-01-01", "until": "2030-01-01"}
    books.provider("szu", uscc=BETA, enlisted=enlisted)
    for name in ("BATCH", "Batch."):
        problem = refusal(books.enlist, name, 1, "2025-01-01", "2026-01-01", provider="szu")
        assert problem.code == "looks_alike"
    books.enlist("other", 1, "2025-01-01", "2026-01-01", provider="szu")
    assert refusal(books.enlist, "OTHER", 1, "2025-01-01", "2026-01-01", provider="szu").code == (
        "looks_alike"
    )


def test_a_provider_and_a_key_are_spelled_as_they_were_at_first():
    books = opened(lifted())
    for name in ("PCL", "pcl."):
        assert refusal(books.provider, name, uscc=BETA).code == "looks_alike"
        assert refusal(books.key, f"{name}-1".replace(".-1", "-1.")).code == "looks_alike"


def test_a_person_is_recovered_as_it_is_spelled():
    books = opened(lifted())
    assert refusal(books.recover_person, "OP", "new").code == "looks_alike"


def test_a_programme_goes_on_to_fund_by_what_it_funded():
    books = opened(lifted())
    text = CORPUS.replace('"corpus-coupon"', f'"{PROGRAMME}"')
    problem = refusal(books.activate, text)
    assert problem.code == "wrong_meter"
    assert problem.detail == f"{PROGRAMME} funds by device-time, and goes on so"


def test_a_policy_without_claims_takes_none():
    desk = Desk(without_sections(PATIENT, "claims"), A="1000000.00")
    assert refusal(desk.books.ask, commands.EnterClaim, **body()).code == "no_claims"


def body() -> dict:
    return {"id": "C1", "item": "A", "year": 2025, "invoices": [], "payments": []}


def test_at_most_five_hundred_ask_for_a_part_of_a_pool():
    body = {"programme": PROGRAMME, "year": 2025}
    for count in (0, 1, 500, 501):
        data = json.dumps(body | {"requests": [[ALPHA, "1.00"]] * count}).encode()
        if count in {1, 500}:
            assert len(decode(data, commands.AllocatePool).requests) == count
        else:
            with pytest.raises(ValueError, match="requests"):
                decode(data, commands.AllocatePool)


def test_an_enterprise_ends_its_claim_by_withdrawing_it_alone():
    desk = Desk(A="1000000.00")
    desk.enter()
    for outcome in ("returned", "rejected"):
        command = commands.EndClaim(claim="C1", outcome=outcome, reason="asked")
        problem = refusal(desk.books.do, command, "of-a-firm")
        assert problem.code == "forbidden"


# What is answered


def test_a_check_warns_of_an_invoice_that_another_open_claim_names():
    desk = Desk(A="1000000.00", B="1000000.00")
    desk.enter("C1")
    desk.enter("C2", item="B")
    for claim, other in (("C1", "C2"), ("C2", "C1")):
        warnings = [f"invoices: {NUMBER} stands in claim {other} too"]
        assert checked(desk, claim) == {"warnings": warnings}
    desk.end("returned", "C2")
    desk.enter("C3", item="B", invoices=[invoice("9" * 20)])
    assert checked(desk, "C3") == {}


def checked(desk: Desk, claim: str) -> dict:
    """Return what is answered to the check of a claim beside its entry's number."""
    number = desk.check(claim)
    response = response_to(desk.books.state, number, desk.books.entries[number])
    assert response.pop("entry") == number
    return response


def test_a_fingerprint_is_that_of_the_command_with_the_fields_that_are_there():
    for kind in (commands.FreezeContract, commands.UnfreezeContract):
        text = f'["{kind.__name__},{{"contract":"A"}}]'.replace(",{", '",{', 1)
        assert fingerprint_of(kind(contract="A")) == sha256(text.encode()).hexdigest()


def test_a_purchase_ages_from_the_end_of_its_day_and_serves_between_two_dates():
    made = next(each for each in story().entries if each.kind == "purchase")
    dates = {"service_from": "2025-02-01", "service_until": "2025-04-01"}
    entry = replace(made, delivered_on="2025-03-01", by_days=True, **dates)
    assert entry.end == micros("2025-03-02T00:00:00+08:00")
    assert entry.service == (
        parse_instant("2025-02-01T00:00:00+08:00"),
        parse_instant("2025-04-01T00:00:00+08:00"),
    )
    assert entry.first_day == day_number("2025-02-01")
    for changes in ({"service_from": UNSET}, {"service_until": UNSET}, dict.fromkeys(dates, UNSET)):
        assert replace(entry, **changes).service is None
        assert replace(entry, **changes).first_day == day_number("2025-03-01")
    assert replace(entry, by_days=UNSET).first_day == day_number("2025-03-01")


def test_a_project_has_its_audited_investment_from_the_first():
    books = granting("adaptation")
    books.project("Q", audited_investment="90.00")
    assert [books.state.projects[name].audited() for name in "PQ"] == [None, 9_000]
    books.audit("80.00", "Q")
    assert books.state.projects["Q"].audited() == 8_000


def test_an_expiry_names_the_coupons_that_it_empties():
    books = used().at(OVER)
    entry = books.entries[books.expire(2025)]
    assert expired(entry) == [((ALPHA, PROGRAMME, 2025), 5_600)]


def test_a_released_record_says_what_of_it_counts_for_nothing():
    books = opened(lifted())
    books.contract("A", use="inference", max_devices={DEVICE: 1})
    books.post([record("r", "A", START, END, 3_000)])
    (ineligible,) = books.entries[-1].ineligible
    entry = books.entries[books.release("r")]
    assert entry.ineligible == [(ineligible[0], 900)]
    summed(told(books))


@pytest.mark.parametrize(
    ("parts", "taken_back", "counts"),
    [([], 0, 0), ([5], 0, 5), ([5, 2], 3, 4), ([5], 5, 0), ([5], 6, 0), ([5], 4, 1)],
)
def test_a_paper_counts_its_parts_less_what_was_taken_back(parts, taken_back, counts):
    assert count_paper(parts, taken_back) == counts


# What the sums find


def test_one_person_begins_a_ledger_of_a_trial_domain_alone():
    entries = told(contracted())
    for host in ("kashi.test", "test", "a.b.test:8443"):
        entries[0]["origin"] = f"{host}/books"
        summed(entries)
    for host in ("kashi.test.cn", "test.cn", "a.b.test.city.cn:8443", "a.localhost.b"):
        entries[0]["origin"] = f"{host}/books"
        found(entries, "sum_persons", host, "is no trial")


def test_an_award_by_another_policy_than_the_newest_is_found():
    books = granting("adaptation")
    books.award("A", "adaptation", "20.00", project="P", base="60.00")
    entries = told(books)
    summed(entries)
    entries[-1]["policy"] = "older"
    found(entries, "sum_policy", "older is not the newest policy")


def test_records_that_are_found_at_a_glance_are_counted_once_in_a_summary():
    books = contracted()
    for id_ in "rs":
        books.post([record(id_, "A", START, END, 1_000)])
    books.at("2025-03-02T12:00:00+08:00")
    for told_of, differing in ((2, 0), (1, 1), (3, 1)):
        books.post(summary=summary("2025-03-01", line("A", told_of, "7200.000")))
        (*_, entry) = (each for each in books.entries if each.kind == "summary")
        assert (entry.told_records, entry.records, entry.differing) == (told_of, 2, differing)
    summed(told(books))


def test_a_summary_counts_the_usage_of_its_own_stream_and_no_purchase():
    writer = history(0)
    writer.at("2027-02-01T12:00:00+08:00")
    start, end = "2027-01-31T08:00:00+08:00", "2027-01-31T09:00:00+08:00"
    for contract, stream in (("A", "one"), ("B", "two"), ("A", "two")):
        writer.post([record(f"{contract}-{stream}", contract, start, end, 1)], stream=stream)
    writer.sell(purchase("last", "K", "1.00", "2027-01-31"))
    hour = "3.600"
    for stream, lines, more in (
        ("one", [line("A", 1, hour)], {}),
        ("two", [line("A", 1, hour), line("B", 1, hour)], {}),
        ("main", [], {"provider": "szdex", "keyid": "szdex-1"}),
    ):
        writer.post(summary=summary("2027-01-31", *lines), stream=stream, **more)
        (*_, entry) = (each for each in writer.entries if each.kind == "summary")
        assert (entry.lines, entry.records, entry.differing) == (len(lines), len(lines), 0)
    summed(told(writer))


def test_all_that_was_compared_is_counted():
    writer, sums = story(), Sums()
    for number, data in enumerate(writer.leaves):
        sums.entry(number, data)
    sums.finish()
    state = writer.state
    awarded = {
        (each.made.enterprise, each.made.programme, each.made.year)
        for each in state.awards.values()
    }
    owing = {each.agreed.enterprise for each in state.contracts.values()}
    coupons = coupon_ids(state) | awarded
    assert sums.compared == sum(map(len, (state.contracts, coupons, state.pools, owing)))


def test_a_verifier_key_has_1_to_300_characters():
    for text in ("v", "v" * 300):
        assert convert(text, commands.Vkey) == text
    for text in ("", "v" * 301):
        with pytest.raises(ValidationError):
            convert(text, commands.Vkey)
