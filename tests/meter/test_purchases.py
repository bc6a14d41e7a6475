"""Purchases: what counts, by day of delivery or of service, and what is refused.

`expected` computes the entitlement of purchases anew, by calendar dates and fractions, without the
core.
"""

import hmac
import random
from collections import defaultdict
from datetime import date, timedelta
from fractions import Fraction
from math import floor
from typing import Any

import pytest
from msgspec.structs import asdict, replace

from ledger.verify import verify
from meter.auditor.replay import Audit
from meter.rules import commands
from meter.rules.effects import Diverged
from meter.rules.evolve import evolve
from meter.rules.kinds.table import read_entry
from meter.rules.purchases import measured_purchase
from meter.rules.state import State
from meter.values.policy import shipped_text
from meter.values.problems import Problem
from meter.values.units import day_of, parse_date
from meter.wire.batch import Purchase
from meter.wire.receipt import Accepted, Conflict, Duplicate, Rejected
from tests.books import (
    ALPHA,
    BETA,
    SHIPPED,
    Books,
    balances,
    day_number,
    expected_balances,
    lifted,
    purchase,
    record,
    usage_by_day,
    uscc_of,
    void,
)
from tests.summing import found, summed, told
from tests.writer import Writer

PROGRAMME = "corpus-coupon"
DAWN = ("2026-03-01T05:00:00+08:00", "2026-03-01T06:00:00+08:00")
VENDOR, BOOKSELLER = uscc_of(71), uscc_of(72)
FILE = shipped_text(PROGRAMME, "2024-12").replace("days = 35", "days = 3660")
WITHIN_2026 = FILE.replace('from = "2024-12-18"', 'from = "2026-01-01"').replace(
    'version = "2024-12"', 'version = "2026"'
)
ROUNDING = '\n[rounding]\nmode = "{}"\nprorate = "{}"\narticle = "none"\nstanding = "judgement"\n'
BY_DAYS = FILE + ROUNDING.format("fen", "days")
IN_YUAN = WITHIN_2026 + ROUNDING.format("yuan-per-step", "days")


def shop(text: str = FILE, books: Books | None = None, **terms: Any) -> Books:
    """Return books with the vendor `szdex` and ALPHA's contract C of purchases."""
    books = Books("2026-06-01T12:00:00+08:00") if books is None else books
    books.activate(text)
    books.vendor("szdex", VENDOR, PROGRAMME)
    books.enterprise()
    books.shop("C", PROGRAMME, "szdex", **terms)
    return books


def service(id_: str, amount: str, starts: str, ends: str, **more: Any) -> dict[str, Any]:
    dates = {"service_from": starts, "service_until": ends}
    return purchase(id_, "C", amount, starts, **(dates | more))


def refused(code: str, ask: Any, *arguments: Any, **changes: Any) -> Problem:
    with pytest.raises(Problem) as caught:
        ask(*arguments, **changes)
    assert caught.value.code == code
    return caught.value


def entitled(books: Books) -> dict[int, int]:
    shares = books.state.contracts["C"].shares.items()
    return {year: share.entitled for year, share in shares if share.entitled}


# The worked examples


def test_purchases_are_funded_up_to_the_amount_each_by_the_difference_of_one_floor():
    books = shop()
    books.issue(2026, "300000.00", programme=PROGRAMME)
    amounts = ["333333.33", "333333.33", "333333.35"]
    results = books.sell(
        *(purchase(f"p{n}", "C", each, "2026-03-01") for n, each in enumerate(amounts))
    )
    assert [each.granted for each in results] == ["99999.99", "100000.00", "100000.01"]
    assert [each.cost for each in results] == amounts
    assert results[-1].bound == ["contract_amount"]
    summed(told(books))


def test_by_the_yuan_each_step_is_cut_of_one_purchase_in_one_segment():
    books = shop(IN_YUAN, amount="200000.00")
    starts = date(2026, 12, 18) - timedelta(305)
    bought = service("p", "200000.00", str(starts), str(starts + timedelta(729)))
    (result,) = books.sell(bought | {"delivered_on": "2026-05-01"})
    assert (result.cost, result.entitled) == ("200000.00", "25102.00")
    assert result.reasons == {"outside_policy": "116323.74"}
    (second,) = books.sell(purchase("q", "C", "1.00", "2026-05-01"))
    assert second.code == "second_purchase"
    summed(told(books))
    books.sell(voids=[void("p")])
    assert entitled(books) == {}
    (again,) = books.sell(purchase("q", "C", "1000.99", "2026-05-01"))
    assert (again.cost, again.entitled) == ("1000.99", "300.00")
    summed(told(books))


def test_by_the_yuan_the_counted_cost_is_cut_before_the_ratio():
    # 30 % of 3.34 is 1.00 and some, of its whole yuan 0.90.
    for amount, entitled_to in (("3.33", "0.00"), ("3.34", "0.00"), ("4.00", "1.00")):
        books = shop(IN_YUAN)
        (result,) = books.sell(purchase("p", "C", amount, "2026-05-01"))
        assert (result.cost, result.entitled) == (amount, entitled_to)
        summed(told(books))


# When it counts


def test_a_purchase_counts_whole_on_the_day_of_its_delivery():
    books = shop()
    books.sell(
        purchase("old", "C", "100.00", "2025-12-31"),
        service("new", "100.00", "2026-01-01", "2027-01-01"),
    )
    assert entitled(books) == {2025: 30_00, 2026: 30_00}
    assert usage_by_day(books.state).keys() == {("C", 20_453, ""), ("C", 20_454, "")}


def test_a_service_counts_by_its_days_where_the_policy_says_so():
    books = shop(BY_DAYS)
    (result,) = books.sell(service("s", "365.00", "2025-12-01", "2026-12-01"))
    assert entitled(books) == {2025: 9_30, 2026: 100_20}
    assert result.by_year == {"2025": "0.00", "2026": "0.00"}
    (whole,) = books.sell(purchase("p", "C", "1.00", "2026-01-01"))
    assert (whole.entitled, whole.cost) == ("0.30", "1.00")
    summed(told(books))


def test_a_purchase_begins_on_the_first_day_on_which_it_counts():
    for text, day in ((FILE, "2026-05-01"), (BY_DAYS, "2026-01-01")):
        books = shop(text)
        books.sell(
            service("s", "365.00", "2026-01-01", "2027-01-01") | {"delivered_on": "2026-05-01"}
        )
        first = min(each for _, each, _ in usage_by_day(books.state))
        assert books.entries[-1].first_day == first == day_of(parse_date(day))


def test_a_days_share_is_cut_downwards_and_all_of_them_are_the_whole():
    bought = Purchase("s", "C", 1, "2026-01-01", "2026-01-01", "2026-01-08")
    parts = [part for _, part, _, _ in measured_purchase(bought, by_days=True).days]
    # A fen is 360,000,000 parts; of seven days the first k have floor(k/7) of them.
    assert parts[:2] == [51_428_571, 51_428_571]
    assert parts[-1] == 51_428_572
    assert sum(parts) == 360_000_000


def test_days_of_service_outside_the_term_count_for_nothing_and_say_so():
    books = shop(BY_DAYS, starts="2025-01-01", ends="2026-01-01")
    (result,) = books.sell(service("s", "20.00", "2025-12-27", "2026-01-06"))
    assert (result.entitled, result.reasons) == ("3.00", {"outside_term": "10.00"})
    assert result.ineligible == "10.00"


@pytest.mark.parametrize(
    ("terms", "reason"),
    [({"use": "inference"}, "use"), ({"related_party": True}, "related_party")],
)
def test_use_and_parties_decide_as_they_do_for_usage(terms, reason):
    books = shop(**terms)
    (result,) = books.sell(purchase("p", "C", "10.00", "2026-03-01"))
    assert (result.entitled, result.reasons) == ("0.00", {reason: "10.00"})


def test_a_void_takes_back_what_a_purchase_is_worth_then():
    books = shop(BY_DAYS)
    books.issue(2026, "1000.00", programme=PROGRAMME)
    books.sell(service("s", "365.00", "2025-12-01", "2026-12-01"))
    books.correct("C", related_party=True)
    (result,) = books.sell(voids=[void("s")])
    assert (result.cost, result.entitled) == ("-365.00", "0.00")
    assert result.reasons == {"related_party": "-365.00"}
    assert (books.cost("C"), entitled(books)) == (0, {})
    assert "device" not in told(books)[-1]
    summed(told(books))


def test_an_amendment_of_the_amount_rates_purchases_anew():
    books = shop(amount="100.00")
    books.sell(purchase("p", "C", "250.00", "2026-03-01"))
    assert entitled(books) == {2026: 30_00}
    books.supplement("2026-04-01", "C", amount="200.00")
    assert entitled(books) == {2026: 60_00}
    summed(told(books))


# What is refused


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"contract": "X"}, "unknown_contract"),
        ({"contract": "T"}, "unknown_contract"),
        ({"amount": "0.00"}, "bad_amount"),
        ({"service_from": "2026-03-01"}, "bad_interval"),
        ({"service_until": "2026-03-01"}, "bad_interval"),
        ({"service_from": "2026-03-01", "service_until": "2026-03-01"}, "bad_interval"),
        ({"service_from": "2026-03-01", "service_until": "2030-03-02"}, "too_long"),
        ({"delivered_on": "2026-06-02"}, "in_future"),
        ({"delivered_on": "2016-01-01"}, "too_late"),
    ],
)
def test_a_purchase_that_breaks_a_rule_is_refused(change, code):
    books = shop()
    books.activate(lifted())
    books.provider()
    books.key()
    books.contract("T", enterprise=ALPHA)
    (result,) = books.sell(purchase("p", "C", "10.00", "2026-03-01") | change)
    assert isinstance(result, Rejected)
    assert result.code == code
    assert books.sell(purchase("p", "C", "10.00", "2026-03-01"))[0].status == "accepted"


def test_a_purchase_is_no_record_of_usage_and_a_record_no_purchase():
    books = shop()
    books.activate(lifted())
    books.provider()
    books.key()
    books.contract("T")
    (result,) = books.post([record("r", "C", *DAWN, 1_000)], keyid="szdex-1", provider="szdex")
    assert result.code == "wrong_meter"
    (result,) = books.post(purchases=[purchase("p", "T", "10.00", "2026-03-01")])
    assert result.code == "wrong_meter"


def test_what_is_delivered_today_counts_and_ages_from_the_end_of_its_day():
    books = shop(FILE.replace("days = 3660", "days = 35"))
    assert books.sell(purchase("p", "C", "10.00", "2026-06-01"))[0].status == "accepted"
    books.at("2026-07-06T23:59:59+08:00")
    assert books.sell(purchase("q", "C", "10.00", "2026-06-01"))[0].status == "accepted"
    books.at("2026-07-07T00:00:01+08:00")
    assert books.sell(purchase("r", "C", "10.00", "2026-06-01"))[0].code == "too_late"
    (late,) = books.sell(voids=[void("p")])
    assert late.code == "too_late"
    books.late_window("2026-06-01", "2026-06-02", "2026-08-01", "C")
    assert books.sell(purchase("r", "C", "10.00", "2026-06-01"))[0].status == "accepted"


def test_a_day_may_begin_five_minutes_ahead_of_the_ledgers_clock():
    books = shop().at("2026-06-01T23:54:59+08:00")
    assert books.sell(purchase("p", "C", "10.00", "2026-06-02"))[0].code == "in_future"
    books.at("2026-06-01T23:55:00+08:00")
    assert books.sell(purchase("p", "C", "10.00", "2026-06-02"))[0].status == "accepted"


def test_a_service_may_last_as_long_as_a_term_can():
    (result,) = shop(BY_DAYS).sell(service("s", "1461.00", "2026-01-01", "2030-01-01"))
    assert (result.cost, result.reasons) == ("1461.00", {"outside_policy": "1110.00"})


def test_a_service_begins_within_the_days_of_a_term_of_its_delivery():
    books, delivered = shop(BY_DAYS), date(2026, 5, 1)

    def beginning(days: int) -> Any:
        begin = delivered + timedelta(days)
        bought = service(f"s{days}", "1.00", str(begin), str(begin + timedelta(1)))
        (result,) = books.sell(bought | {"delivered_on": str(delivered)})
        return result

    assert all(isinstance(beginning(days), Accepted) for days in (-1_461, 1_461))
    for days in (-1_462, 1_462):
        refusal = beginning(days)
        assert refusal.code == "bad_interval"
        assert refusal.detail == "service_from is more than 1461 days from delivered_on"


def test_a_service_of_more_than_four_years_is_refused_with_their_days():
    books, begin = shop(BY_DAYS), date(2026, 5, 1)
    for days, status in ((1_461, "accepted"), (1_462, "rejected")):
        (result,) = books.sell(
            service(f"s{days}", "1.00", str(begin), str(begin + timedelta(days)))
        )
        assert result.status == status
    assert (result.code, result.detail) == ("too_long", "a service of more than 1461 days")


def test_a_purchase_without_a_service_counts_on_its_day_also_where_services_count_by_days():
    bought = Purchase("p", "C", 1, "2026-01-01")
    for by_days in (False, True):
        parts = measured_purchase(bought, by_days=by_days).days
        assert parts == [(day_number("2026-01-01"), 360_000_000, 360_000_000, 0)]


def test_a_frozen_contract_takes_no_purchase():
    books = shop()
    books.freeze("C")
    assert books.sell(purchase("p", "C", "10.00", "2026-03-01"))[0].code == "contract_frozen"


def test_one_id_holds_one_purchase_or_record():
    books = shop()
    bought = service("p", "10.00", "2026-03-01", "2026-04-01")
    (first,) = books.sell(bought)
    assert isinstance(first, Accepted)
    (second,) = books.sell(bought)
    assert second == Duplicate("p", "duplicate", first.entry)
    (third,) = books.sell(bought | {"amount": "11.00", "service_until": "2026-05-01"})
    assert isinstance(third, Conflict)
    assert third.detail == f"differs from entry {first.entry} in amount, service_until"
    (fourth,) = books.post([record("p", "C", *DAWN, 1_000)], keyid="szdex-1", provider="szdex")
    assert isinstance(fourth, Conflict)
    assert "another kind" in fourth.detail


@pytest.mark.parametrize(
    "change",
    [
        {"contract": "D"},
        {"amount": "10.01"},
        {"delivered_on": "2026-03-02"},
        {"service_from": "2026-03-02"},
        {"service_until": "2026-04-02"},
    ],
)
def test_each_difference_from_what_an_id_holds_is_a_conflict(change):
    books = shop()
    books.shop("D", PROGRAMME, "szdex", contract_no="HT-D")
    bought = service("p", "10.00", "2026-03-01", "2026-04-01")
    (first,) = books.sell(bought)
    (second,) = books.sell(bought | change)
    detail = f"differs from entry {first.entry} in {', '.join(change)}"
    assert second == Conflict("p", "conflict", first.entry, detail)


def test_a_purchase_does_not_take_the_id_of_a_record():
    books = shop()
    books.activate(lifted())
    books.provider()
    books.key()
    books.contract("T")
    books.post([record("r", "T", *DAWN, 1_000)])
    (result,) = books.post(purchases=[purchase("r", "T", "10.00", "2026-03-01")])
    assert isinstance(result, Conflict)
    assert "another kind" in result.detail


def test_the_salts_of_purchases_count_after_those_of_voids_and_records():
    books = shop()
    books.sell(purchase("gone", "C", "10.00", "2026-03-01"))
    books.post(
        [record("r", "C", *DAWN, 1_000)],
        [void("gone")],
        keyid="szdex-1",
        provider="szdex",
        purchases=[
            purchase("none", "C", "0.00", "2026-03-01"),
            purchase("p", "C", "10.00", "2026-03-01"),
            purchase("q", "C", "10.00", "2026-03-01"),
        ],
    )
    batch, voided, *bought = books.entries[-4:]
    secret = bytes.fromhex(batch.salt)
    digests = [hmac.digest(secret, b"%d" % number, "sha256") for number in (0, 3, 4)]
    assert [each.salt for each in (voided, *bought)] == [each[:16].hex() for each in digests]


# Who serves, and who applies


def test_who_serves_purchases_has_no_devices_and_names_programmes_of_purchases():
    books = shop()
    books.activate(SHIPPED)
    offer = {"id": "books", "uscc": BOOKSELLER, "name": "书店"}
    ask = books.ask
    refused("malformed", ask, commands.RegisterProvider, **offer)
    refused("malformed", ask, commands.RegisterProvider, **offer, devices={"h800": 1})
    both = offer | {"serves": [PROGRAMME], "devices": {"h800": 1}}
    refused("malformed", ask, commands.RegisterProvider, **both)
    refused("wrong_meter", ask, commands.RegisterProvider, **offer, serves=["training-coupon"])
    refused("unknown_programme", ask, commands.RegisterProvider, **offer, serves=["nothing"])
    twice = [PROGRAMME, PROGRAMME]
    assert refused("malformed", ask, commands.RegisterProvider, **offer, serves=twice).facts == {
        "field": "serves"
    }
    refused("wrong_meter", books.enlist, "b", 1, "2025-01-01", "2026-01-01", "szdex")


def test_a_contract_is_with_who_serves_its_programme_and_has_the_terms_of_its_meter():
    books = shop()
    books.activate(lifted())
    books.provider()
    refused("not_served", books.shop, "D", PROGRAMME, "pcl")
    books.activate(shipped_text("model-coupon", "2024-12"))
    refused("not_served", books.shop, "D", "model-coupon", "szdex")
    refused("not_served", books.contract, "D", provider="szdex")
    assert refused("malformed", books.contract, "D", prices={}).facts["field"] == "prices"
    priced = {"prices": {"h800": "1.00"}}
    assert refused("malformed", books.shop, "D", PROGRAMME, "szdex", **priced)
    limited = {"max_devices": {"h800": 1}}
    assert refused("malformed", books.shop, "D", PROGRAMME, "szdex", **limited)
    refused("malformed", books.supplement, "2026-01-01", "C", **priced)
    refused("malformed", books.correct, "C", **limited)


def test_who_serves_a_programme_cannot_apply_under_it_nor_the_reverse():
    books = shop()
    books.enterprise(VENDOR)
    refused("role_conflict", books.shop, "D", PROGRAMME, "szdex", enterprise=VENDOR)
    refused("role_conflict", books.vendor, "alpha", ALPHA, PROGRAMME)
    refused("role_conflict", books.succeed, ALPHA, VENDOR)
    # A vendor may train models, and a computing centre buy corpora.
    books.activate(lifted())
    books.provider("pcl", uscc=BOOKSELLER)
    books.contract("T", enterprise=VENDOR)
    books.enterprise(BOOKSELLER)
    books.shop("D", PROGRAMME, "szdex", enterprise=BOOKSELLER)
    summed(told(books))


def test_no_version_takes_contracts_whose_services_are_booked_ahead():
    taking = (
        FILE.replace('version = "2024-12"', 'version = "next"')
        + '\n[transition]\nrunning = "take"\neffective = "2026-09-01"\narticle = "none"\n'
        + 'standing = "judgement"\n'
    )
    shop().activate(taking)
    for text in (BY_DAYS, WITHIN_2026 + ROUNDING.format("yuan-per-step", "none")):
        problem = refused("unsupported_section", shop(text).activate, taking)
        assert problem.facts["section"] == "transition"


@pytest.mark.parametrize(
    "text",
    [
        SHIPPED + ROUNDING.format("fen", "days"),
        SHIPPED + ROUNDING.format("yuan-per-step", "none"),
        FILE + ROUNDING.format("yuan-per-step", "none"),
    ],
)
def test_only_purchases_count_by_days_and_by_the_yuan_within_a_year(text):
    problem = refused("bad_policy", Books().activate, text)
    assert problem.facts["section"] == "rounding"


# Against another way of computing it

Bought = tuple[int, date, tuple[date, date] | None]


def expected(bought: list[Bought], amount: int) -> dict[int, int]:
    """Return the entitlement by year of purchases by days: 30 % within the policy's days."""
    by_year: defaultdict[int, Fraction] = defaultdict(Fraction)
    for fen, delivered, days in bought:
        first, after = days or (delivered, delivered + timedelta(1))
        count = (after - first).days
        for n in range(count):
            day = first + timedelta(n)
            if date(2024, 12, 18) <= day < date(2026, 12, 18):
                part = floor(fen * 360_000_000 * (n + 1) / Fraction(count))
                part -= floor(fen * 360_000_000 * n / Fraction(count))
                by_year[day.year] += Fraction(part, 360_000_000)
    left, support, found = Fraction(amount), floor(Fraction(3, 10) * amount), {}
    for year in sorted(by_year):
        counted = min(by_year[year], left)
        left -= counted
        found[year] = min(floor(Fraction(3, 10) * counted), support)
        support -= found[year]
    return {year: fen for year, fen in found.items() if fen}


def some_purchases(rng: random.Random) -> list[Bought]:
    bought: list[Bought] = []
    for _ in range(rng.randint(1, 12)):
        delivered = date(2024, 12, 1) + timedelta(rng.randrange(540))
        days = None
        if rng.random() < 0.6:
            first = delivered + timedelta(rng.randrange(-20, 40))
            days = first, first + timedelta(rng.randint(1, 500))
        bought.append((rng.randint(1, 90_000_00), delivered, days))
    return bought


def as_json(number: int, fen: int, delivered: date, days: tuple[date, date] | None) -> Any:
    dates = {} if days is None else {"service_from": str(days[0]), "service_until": str(days[1])}
    return purchase(f"p{number}", "C", f"{fen // 100}.{fen % 100:02}", str(delivered), **dates)


@pytest.mark.parametrize("seed", range(60))
def test_any_order_of_purchases_amendments_and_voids_gives_the_expected_totals(seed):
    rng = random.Random(seed)
    bought = some_purchases(rng)
    books = shop(BY_DAYS, amount="150000.00", starts="2024-12-01", ends="2028-01-01")
    books.issue(2025, "40000.00", programme=PROGRAMME)
    acts: list[Any] = [lambda n=n: books.sell(as_json(n, *bought[n])) for n in range(len(bought))]
    acts.append(lambda: books.supplement("2025-06-01", "C", amount="120000.00"))
    rng.shuffle(acts)
    for act in acts:
        act()
    gone = {n for n in range(len(bought)) if rng.random() < 0.2}
    books.sell(voids=[void(f"p{n}") for n in sorted(gone)])
    left = [each for n, each in enumerate(bought) if n not in gone]
    assert entitled(books) == expected(left, 120_000_00)
    assert books.cost("C") == sum(fen for fen, *_ in left)
    assert list(balances(books.entries))[-1] == expected_balances(books.state)
    summed(told(books))
    again = State()
    for entry in books.entries:
        evolve(again, entry)
    assert again.contracts["C"].shares == books.state.contracts["C"].shares


# An auditor's view


def bought_in_days() -> Books:
    books = shop(BY_DAYS)
    books.sell(service("s", "365.00", "2025-12-01", "2026-12-01"))
    return books


@pytest.mark.parametrize("lies", [{"by_days": False}, {"postings": []}])
def test_a_purchase_that_differs_from_the_rules_cannot_be_replayed(lies):
    *before, bought = bought_in_days().entries
    state = State()
    for entry in before:
        evolve(state, entry)
    with pytest.raises(Diverged):
        evolve(state, replace(bought, **lies))


def with_lie(books: Books, **lies: Any) -> list[dict[str, Any]]:
    entries = told(books)
    place = next(n for n, each in enumerate(entries) if each["kind"] == "purchase")
    entries[place] = entries[place] | lies
    return entries


def test_the_sums_find_a_writer_who_counts_purchases_otherwise():
    books = bought_in_days()
    found(with_lie(books, by_days=False), "sum_purchase")
    found(with_lie(books, amount=365_01), "sum_cost")
    found(with_lie(books, service_until="2026-12-02"), "sum_entitled")
    found(with_lie(books, cost=365_01), "sum_cost")
    found(with_lie(books, ineligible=[["use", 1]]), "sum_ineligible")
    twice = told(books)
    found([*twice, twice[-1]], "sum_record", "counts already")
    elsewhere = with_lie(books, contract="Z")
    found(elsewhere, "sum_record", "no contract of purchases")


def test_the_sums_find_a_second_purchase_that_is_cut_by_itself():
    books = shop(IN_YUAN)
    books.sell(purchase("p", "C", "10.00", "2026-03-01"))
    entries = told(books)
    second = entries[-1] | {"id": "q"}
    found([*entries, second], "sum_purchase", "second")


def test_the_sums_find_who_serves_what_it_applied_for():
    books = shop()
    entries = told(books)
    for entry in entries:
        if entry["kind"] == "provider":
            entry["uscc"] = ALPHA
    found(entries, "sum_role")
    unserved = told(books)
    for entry in unserved:
        if entry["kind"] == "provider":
            entry["serves"] = ["model-coupon"]
    found(unserved, "sum_role", "does not serve")


def test_an_audit_of_a_ledger_with_purchases_finds_nothing(tmp_path):
    writer = shop(BY_DAYS, Writer("2026-06-01T12:00:00+08:00"))
    writer.issue(2026, "1000.00", programme=PROGRAMME)
    writer.sell(
        service("s", "365.00", "2025-12-01", "2026-12-01"),
        purchase("p", "C", "0.00", "2026-01-01"),
        purchase("q", "C", "9.99", "2026-01-01"),
    )
    writer.sell(voids=[void("q")])
    report = verify(writer.export(tmp_path / "good"), writer.verifier, Audit())
    assert report.findings == []
    lying = writer.twin()
    lying.tell_batch = lambda decided: decided_with(decided, cost=1)
    lying.sell(purchase("z", "C", "9.99", "2026-01-01"))
    report = verify(lying.export(tmp_path / "bad"), lying.verifier, Audit())
    (problem,) = report.findings
    assert problem.code == "not_as_decided"


def decided_with(decided: Any, **lies: Any) -> Any:
    own, entry = decided.entries
    return replace(decided, parts=[own, type(entry)(**(asdict(entry) | lies))])


def test_beta_may_buy_from_the_same_vendor():
    books = shop()
    books.enterprise(BETA)
    books.shop("D", PROGRAMME, "szdex", enterprise=BETA, contract_no="HT-D")
    (result,) = books.sell(purchase("d", "D", "10.00", "2026-03-01"))
    assert result.entitled == "3.00"


def test_the_entry_of_a_contract_says_that_it_has_no_prices():
    entry = told(shop())[-1]
    assert (entry["kind"], entry["prices"], entry["max_devices"]) == ("contract", {}, {})
    with pytest.raises(ValueError, match="prices"):
        read_entry({name: value for name, value in entry.items() if name != "prices"})
