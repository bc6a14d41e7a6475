"""Amendments of contracts: supplements and corrections, and what they do to money.

`expected` computes a contract's figures anew from its usage and its amendments, by calendar dates
and fractions, without the core.
"""

import random
from collections import defaultdict
from collections.abc import Iterator
from datetime import datetime, timedelta
from fractions import Fraction
from math import floor
from typing import Any

import pytest
from msgspec import UNSET
from msgspec.structs import replace

from meter.rules import commands
from meter.rules.subjects import subjects_of
from meter.values.problems import Problem
from tests.books import (
    ALPHA,
    BETA,
    DEVICE,
    Books,
    balances,
    figures,
    lifted,
    opened,
    record,
)
from tests.papers import papers
from tests.summing import found, replayed, summed, told

OTHER = "h800"
NOW = "2026-06-01T12:00:00+08:00"


def ledger(policy: str | None = None, **terms: Any) -> Books:
    books = opened(lifted() if policy is None else policy, now=NOW)
    books.enlist("2025-2", {OTHER: 1_000}, "2020-01-01", "2030-01-01")
    books.contract("A", **terms)
    return books


def hours(id_: str, day: str, cards: int, count: int = 1, contract: str = "A", **more: Any) -> dict:
    """Return a record of some cards for some hours from a day's midnight on."""
    start = datetime.fromisoformat(f"{day}T00:00:00+08:00")
    end = start + timedelta(hours=count)
    return record(id_, contract, start.isoformat(), end.isoformat(), cards * 1_000, **more)


def refused(code: str, ask: Any, *arguments: Any, **changes: Any) -> Problem:
    with pytest.raises(Problem) as caught:
        ask(*arguments, **changes)
    assert caught.value.code == code
    return caught.value


# The worked examples


@pytest.mark.parametrize("amended_first", [True, False])
def test_a_supplement_changes_the_price_from_a_day_on(amended_first):
    books = ledger()
    books.issue(2025, "500000.00")
    usage = [hours("a", "2025-03-01", 64, 100), hours("b", "2025-05-01", 64, 100)]
    if not amended_first:
        books.post(usage)
    books.supplement("2025-04-10", prices={DEVICE: "4.00"})
    if amended_first:
        books.post(usage)
    assert (books.cost("A"), books.granted("A")) == (54_400_00, 27_200_00)


def test_a_correction_changes_the_price_from_the_first_day_on_and_supplements_stay():
    books = ledger()
    books.issue(2025, "500000.00")
    books.post([hours("a", "2025-03-01", 64, 100), hours("b", "2025-05-01", 64, 100)])
    books.supplement("2025-04-10", prices={DEVICE: "4.00"})
    number = books.correct(prices={DEVICE: "4.40"})
    assert (books.cost("A"), books.granted("A")) == (53_760_00, 26_880_00)
    entry = books.entries[number]
    assert (entry.cost, entry.entitled) == (-640_00, [(2025, -320_00)])
    assert entry.postings == [
        ("due:A", f"enterprise:{ALPHA}", 640_00),
        ("accrued:A:2025", f"coupon:training-coupon:2025:{ALPHA}", 320_00),
    ]


def test_a_record_across_the_border_has_both_prices():
    books = ledger()
    books.issue(2025, "500000.00")
    books.supplement("2025-04-10", prices={DEVICE: "4.00"})
    night = ("2025-04-09T23:00:00+08:00", "2025-04-10T01:00:00+08:00")
    books.post([record("a", "A", *night, 1_000)])
    assert (books.cost("A"), books.granted("A")) == (8_50, 4_25)


# What each field does


def test_a_supplement_sets_amount_and_end_for_the_whole_contract():
    books = ledger(amount="1000.00", ends="2026-01-01")
    books.post([hours("a", "2025-03-01", 64, 10), hours("b", "2026-02-01", 10, 10)])
    assert books.share("A", 2025).entitled == 500_00
    books.supplement("2025-12-01", amount="3000.00", ends="2026-03-01")
    assert books.share("A", 2025).entitled == 1_440_00
    assert books.share("A", 2026).entitled == 60_00  # 120.00 are left of the amount
    assert books.ineligible("A") == {}
    books.supplement("2025-12-20", ends="2026-01-15")  # terminated
    assert books.share("A", 2026).entitled == 0
    assert set(books.ineligible("A")) == {"outside_term"}


def test_the_newest_amount_is_that_of_the_latest_day_then_of_the_latest_entry():
    books = ledger()
    books.supplement("2025-06-01", amount="3000.00")
    books.supplement("2025-03-01", amount="2000.00")
    books.correct(amount="500.00")
    assert books.state.contracts["A"].agreed.amount == 3_000_00
    books.supplement("2025-06-01", amount="2500.00")
    assert books.state.contracts["A"].agreed.amount == 2_500_00


def test_the_number_of_the_parties_is_corrected_and_stays_theirs_alone():
    books = ledger(contract_no="1")
    books.contract("B", contract_no="2")
    refused("contract_known", books.correct, "B", contract_no="1")
    books.correct("A", contract_no="3")
    books.correct("B", contract_no="1")
    books.enterprise(BETA)
    books.contract("C", contract_no="3", enterprise=BETA)
    refused("contract_known", books.correct, "A", enterprise=BETA)
    books.correct("A", enterprise=BETA, contract_no="4")
    books.contract("D", contract_no="3")
    summed(books)
    replayed(books)


def test_the_sums_follow_the_number_of_the_parties():
    books = ledger(contract_no="1")
    books.correct("A", contract_no="2")
    books.contract("B", contract_no="1")
    summed(books)
    entries = told(books)
    entries[-1]["contract_no"] = "2"
    found(entries, "sum_contract", "number 2 is that of two contracts")


def test_an_amendment_says_nothing_of_what_it_leaves_as_it_is():
    books = ledger(prices={DEVICE: "1.00"})
    books.post([hours("r", "2025-02-01", 5)])
    books.supplement("2025-01-01", prices={DEVICE: "2.00"})
    entry = books.entries[-1]
    assert (entry.cost, entry.withheld_cost, entry.ineligible) == (5_00, UNSET, UNSET)


def test_other_public_money_and_an_amendment_come_to_the_same_in_any_order():
    totals = []
    for order in (0, 1):
        books = ledger(amount="1000.00")
        books.post([hours("a", "2025-03-01", 64, 10)])
        steps = [
            lambda books=books: books.fund_contract("A", "300.00"),
            lambda books=books: books.supplement("2025-05-01", amount="1400.00"),
        ]
        for step in steps[::-1] if order else steps:
            step()
        summed(books)
        replayed(books)
        totals.append(books.share("A", 2025).entitled)
    assert totals == [400_00, 400_00]


def test_a_correction_derives_class_and_policy_again():
    books = opened(lifted(), now=NOW)
    books.enterprise(BETA, founded_on="2024-06-01")
    books.contract("A", enterprise=BETA, signed_on="2025-02-01")
    books.post([hours("a", "2025-03-01", 64)])
    contract = books.state.contracts["A"]
    assert contract.agreed.ratio_class == "startup"
    assert books.share("A", 2025).entitled == 172_80
    number = books.correct(signed_on="2025-06-01")  # a year after its founding
    assert contract.agreed.ratio_class == books.entries[number].ratio_class == "standard"
    assert books.share("A", 2025).entitled == 144_00


def test_a_correction_of_use_or_parties_makes_usage_count_or_not():
    books = ledger(related_party=True)
    books.post([hours("a", "2025-03-01", 64)])
    assert books.share("A", 2025).entitled == 0
    number = books.correct(related_party=False)
    assert books.entries[number].ineligible == [("related_party", -288_00)]
    assert books.share("A", 2025).entitled == 144_00
    books.correct(use="other", starts="2024-12-20")
    assert books.ineligible("A") == {"use": 64 * 3_600 * 1_000 * 45_000}


def test_a_kind_of_devices_is_added_and_has_no_price_before():
    books = ledger(max_devices={})
    books.supplement("2025-04-10", prices={OTHER: "10.00"})
    before, after = books.post(
        [hours("a", "2025-04-09", 1, device=OTHER), hours("b", "2025-04-10", 1, device=OTHER)]
    )
    assert (before.code, after.status) == ("unknown_device", "accepted")
    assert books.cost("A") == 10_00
    assert books.state.contracts["A"].agreed.prices.keys() == {DEVICE, OTHER}
    books.correct(prices={OTHER: "9.00"})  # of the first day, for which there was none
    assert books.cost("A") == 10_00
    [early] = books.post([hours("c", "2025-04-09", 1, device=OTHER)])
    assert early.cost == "9.00"


def test_rented_devices_bind_later_records_from_their_day_on():
    books = ledger(max_devices={})
    books.post([hours("a", "2025-05-01", 10)])
    books.supplement("2025-05-01", max_devices={DEVICE: 4})
    assert books.cost("A") == 45_00
    assert books.share("A", 2025).withheld == 0
    early, late = books.post([hours("b", "2025-04-30", 10), hours("c", "2025-05-01", 10)])
    assert (early.withheld, late.withheld) == ("0.00", "27.00")
    # What was in use before the limit was not counted against it, and so is not freed.
    books.void("a")
    [more] = books.post([hours("d", "2025-05-01", 1)])
    assert more.withheld == "4.50"
    books.void("c")
    [more] = books.post([hours("e", "2025-05-01", 4)])
    assert more.withheld == "0.00"
    replayed(books)


def test_what_is_withheld_keeps_its_time_and_gets_the_new_price():
    books = ledger(max_devices={DEVICE: 4})
    books.post([hours("a", "2025-05-01", 10)])
    number = books.correct(prices={DEVICE: "5.00"}, max_devices={DEVICE: 100})
    entry = books.entries[number]
    assert (entry.cost, entry.withheld_cost) == (5_00, 3_00)
    assert entry.entitled == [(2025, 1_00)]
    books.release("a")
    assert books.share("A", 2025).entitled == 25_00
    replayed(books)


def test_a_void_after_an_amendment_subtracts_what_the_record_is_worth_then():
    books = ledger()
    books.issue(2025, "500000.00")
    books.post([hours("a", "2025-03-01", 64), hours("b", "2025-03-02", 64)])
    books.correct(prices={DEVICE: "4.40"})
    number = books.void("a")
    assert books.entries[number].cost == -281_60
    assert (books.cost("A"), books.granted("A")) == (281_60, 140_80)


def test_a_contract_moves_to_another_enterprise_with_all_its_money():
    books = ledger(amount="1000.00")
    books.enterprise(BETA)
    books.contract("B", amount="1000.00")
    books.contract("C", enterprise=BETA, amount="1000.00")
    books.issue(2025, "200.00")
    books.issue(2025, "100.00", BETA)
    books.post([hours(name, "2025-03-01", 64, contract=name) for name in ("A", "B", "C")])
    assert [books.granted(name) for name in "ABC"] == [144_00, 56_00, 100_00]
    books.correct("A", enterprise=BETA)
    assert [books.granted(name) for name in "ABC"] == [0, 144_00, 100_00]
    assert [each.registered.id for each in books.state.contracts_of(BETA, "training-coupon")] == [
        *"AC"
    ]
    assert [each.registered.id for each in books.state.enterprises[ALPHA].left] == ["A"]
    assert books.state.enterprises[BETA].left == []
    [*_, account] = balances(books.entries)
    assert account[f"enterprise:{BETA}"] == -576_00
    books.void("C")
    assert [books.granted(name) for name in "ABC"] == [100_00, 144_00, 0]
    replayed(books)


def test_the_money_of_a_contract_that_moves_is_posted_by_year_whatever_came_first():
    posted = []
    for days in (("2025-03-01", "2026-03-01"), ("2026-03-01", "2025-03-01")):
        books = ledger(amount="1000.00")
        books.enterprise(BETA)
        books.contract("C", enterprise=BETA, amount="1000.00")
        for year, enterprise in ((2025, ALPHA), (2026, ALPHA), (2025, BETA), (2026, BETA)):
            books.issue(year, "50.00", enterprise)
        for day in days:
            books.post([hours(day, day, 32)])
        books.correct("A", enterprise=BETA)
        accounts = [(source, target) for source, target, _ in books.entries[-1].postings]
        posted.append([each for each in accounts if "coupon" in "".join(each)])
    assert posted[0] == posted[1]
    assert [[name for name in each if ":A:" in name] for each in posted[0]] == [
        *(["accrued:A:2025"], ["accrued:A:2026"], ["accrued:A:2025"], ["accrued:A:2026"])
    ]


def test_an_amendment_concerns_all_parties_that_a_contract_ever_had():
    books = ledger()
    books.enterprise(BETA)
    for changes, enterprises in (
        ({"amount": "900.00"}, {f"enterprise:{ALPHA}"}),
        ({"enterprise": BETA}, {f"enterprise:{ALPHA}", f"enterprise:{BETA}"}),
    ):
        books.correct(**changes)
        subjects = subjects_of(books.state, books.entries[-1])
        assert subjects > {"contract:A", "provider:pcl"}
        assert {each for each in subjects if each.startswith("enterprise:")} == enterprises


def test_prices_per_month_stay_so():
    books = ledger(prices={DEVICE: {"amount": "3000.00", "per": "month"}})
    refused("malformed", books.supplement, "2025-04-01", prices={DEVICE: "4.00"})
    refused("malformed", books.correct, prices={DEVICE: "4.00"})
    price = {"amount": "3100.00", "per": "month"}
    books.supplement("2025-08-01", prices={DEVICE: price})
    books.post([hours("a", "2025-07-01", 8, 31 * 24), hours("b", "2025-08-01", 8, 31 * 24)])
    assert books.cost("A") == 24_000_00 + 24_800_00


# What is refused


def test_each_mode_has_its_fields():
    books = ledger()
    for field, value in (("starts", "2025-01-01"), ("use", "training"), ("enterprise", ALPHA)):
        found = refused("malformed", books.supplement, "2025-03-01", **{field: value})
        assert found.facts["field"] == {"starts": "from"}.get(field, field)
    refused("malformed", books.supplement, "2025-03-01")  # it changes nothing
    refused("malformed", books.correct, effective="2025-03-01", amount="1.00")
    refused("malformed", books.correct, amount="0.00")
    refused("unknown_contract", books.correct, "X", amount="1.00")
    refused("unknown_enterprise", books.correct, enterprise=BETA)
    refused("looks_alike", books.correct, prices={DEVICE.upper(): "4.00"})
    assert figures(books.state)["contracts"]["A"] == figures(ledger().state)["contracts"]["A"]


def test_dates_that_cannot_be_meant_are_refused():
    books = ledger()
    refused("bad_dates", books.supplement, "2026-07-01", signed_on="2026-06-02", amount="1.00")
    refused("bad_dates", books.supplement, "2025-01-01", signed_on="2024-11-30", amount="1.00")
    refused("bad_dates", books.supplement, "2025-01-01", ends="2024-12-01")
    refused("bad_dates", books.correct, starts="2027-01-01")
    refused("bad_dates", books.correct, signed_on="2019-03-31")
    refused("bad_dates", books.supplement, "2025-01-01", ends="2028-01-02")  # five years
    books.supplement("2026-07-01", signed_on="2026-06-01", ends="2028-01-01")


def test_a_firm_that_is_a_startup_no_more_adds_to_no_contract_of_a_startup():
    books = opened(lifted(), now=NOW)
    books.enterprise(BETA, founded_on="2025-01-01")
    books.contract("A", enterprise=BETA, signed_on="2025-12-01", starts="2025-12-01")
    assert books.state.contracts["A"].agreed.ratio_class == "startup"
    late = {"signed_on": "2026-02-01"}
    refused("class_changed", books.supplement, "2026-03-01", amount="1000000.01", **late)
    refused("class_changed", books.supplement, "2026-03-01", ends="2027-01-02", **late)
    books.supplement("2026-03-01", amount="900000.00", ends="2026-12-01", **late)
    books.supplement("2026-03-01", prices={DEVICE: "4.00"}, **late)
    refused("class_changed", books.supplement, "2026-04-01", amount="900000.01", **late)
    # What took off would add now.
    refused("class_changed", books.correct, amount="899999.99")
    books.correct(amount="900000.00")
    books.supplement("2026-01-01", amount="2000000.00", signed_on="2025-12-31")
    summed(books)


def test_sums_that_no_entry_can_hold_are_refused():
    books = ledger(prices={DEVICE: "0.0001"}, max_devices={})
    dense = [
        record(
            f"r{n}", "A", f"2025-{n:02}-01T00:00:00+08:00", f"2025-{n:02}-29T00:00:00+08:00", 10**9
        )
        for n in (3, 5, 7, 8, 10, 12)
    ]
    books.post(dense)
    before = figures(books.state)
    # 4,032,000,000 card-hours cost 2^53 fen at a price of 22,339.28…
    refused("too_large", books.correct, prices={DEVICE: "22339.29"})
    assert figures(books.state) == before
    books.correct(prices={DEVICE: "22339.28"})


def test_at_most_64_contracts_of_a_firm_touch_one_year():
    books = ledger(starts="2025-01-01", ends="2026-01-01")
    for number in range(63):
        books.contract(f"n{number}", starts="2025-01-01", ends="2026-01-01")
    refused("too_many_contracts", books.contract, "B", starts="2025-12-31", ends="2026-02-01")
    books.contract("B", starts="2026-01-01", ends="2027-01-01")
    refused("too_many_contracts", books.correct, "B", starts="2025-12-31")
    books.enterprise(BETA)
    books.contract("C", enterprise=BETA, starts="2025-01-01", ends="2025-02-01")
    refused("too_many_contracts", books.correct, "C", enterprise=ALPHA)
    books.correct("A", enterprise=BETA)
    books.correct("C", enterprise=ALPHA)


def test_a_contract_with_claims_keeps_its_enterprise():
    books = ledger()
    books.enterprise(BETA)
    books.contract("B")
    books.issue(2025, "500000.00")
    books.post([hours("a", "2025-03-01", 64)])
    books.ask(commands.EnterClaim, id="C1", item="A", year=2025, **papers())
    refused("claim_open", books.correct, enterprise=BETA)
    books.correct("B", enterprise=BETA)


# Any order


TERMS = {
    "A": {"prices": {DEVICE: "4.50", OTHER: "10.00"}, "amount": "20000.00"},
    "B": {"prices": {DEVICE: "3.00", OTHER: "1.00"}, "amount": "1000000.00"},
}


class Plan:
    """What happens to two contracts of one firm, drawn at random, in no order yet."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.records = [self._record(number) for number in range(self.chance.randint(3, 9))]
        self.voided = [each["id"] for each in self.records if self.chance.random() < 0.3]
        self.amendments = [self._amendment() for _ in range(self.chance.randint(1, 6))]

    def _record(self, number: int) -> dict[str, Any]:
        start = datetime.fromisoformat("2024-12-10T00:00:00+08:00") + timedelta(
            hours=self.chance.randrange(24 * 500), seconds=self.chance.randrange(3_600)
        )
        end = start + timedelta(seconds=self.chance.randint(1, 40 * 3_600))
        device, contract = self.chance.choice([DEVICE, OTHER]), self.chance.choice("AB")
        milli_devices = self.chance.randint(1, 90_000)
        return record(
            f"r{number}", contract, start.isoformat(), end.isoformat(), milli_devices, device=device
        )

    def _amendment(self) -> dict[str, Any]:
        chance = self.chance
        found: dict[str, Any] = {"contract": chance.choice("AB")}
        prices = {
            device: f"{chance.randint(1, 9)}.{chance.randint(0, 99):02}"
            for device in chance.sample([DEVICE, OTHER], chance.randint(1, 2))
        }
        found["prices"] = prices
        if chance.random() < 0.4:
            found["amount"] = f"{chance.randint(1, 60_000)}.{chance.randint(0, 99):02}"
        if chance.random() < 0.3:
            found["ends"] = chance.choice(["2025-06-01", "2025-10-17", "2026-03-01"])
        if chance.random() < 0.5:
            return found | {"effective": chance.choice(["2025-01-01", "2025-05-20", "2026-01-01"])}
        if chance.random() < 0.3:
            found["starts"] = chance.choice(["2024-12-01", "2025-01-15"])
        if chance.random() < 0.3:
            found |= {"use": chance.choice(["training", "other"])}
        if chance.random() < 0.3:
            found |= {"related_party": chance.random() < 0.4}
        return found

    def carry_out(self, order: int) -> Books:
        """Carry all out in an order of its own, in which amendments of one day keep theirs."""
        books = ledger(max_devices={}, **TERMS["A"])
        books.contract("B", max_devices={}, **TERMS["B"])
        for year in (2024, 2025, 2026):
            books.issue(year, "6000.00")
        chance = random.Random(order)
        queues: defaultdict[Any, list[Any]] = defaultdict(list)
        for each in self.records:
            queues[each["id"]].append(lambda each=each: books.post([each]))
        for id_ in self.voided:
            queues[id_].append(lambda id_=id_: books.void(id_))
        for each in self.amendments:
            key = each["contract"], each.get("effective")
            amend = books.supplement if "effective" in each else books.correct
            queues[key].append(lambda each=each, amend=amend: amend(**each))
        while queues:
            key = chance.choice(list(queues))
            queues[key].pop(0)()
            if not queues[key]:
                del queues[key]
        return books

    def expected(self, name: str) -> tuple[int, dict[int, int]]:
        """Return the cost of a contract, and its entitlement by year, from the plan alone."""
        own = [each for each in self.amendments if each["contract"] == name]
        original: dict[str, Any] = {"starts": "2024-12-01", "ends": "2027-01-01"}
        original |= {"use": "training", "related_party": False} | TERMS[name]
        for each in own:
            if "effective" not in each:
                original |= each | {"prices": original["prices"] | each["prices"]}
        later = sorted((each for each in own if "effective" in each), key=lambda e: e["effective"])
        newest = dict(original)
        for each in later:
            newest |= {key: each[key] for key in ("amount", "ends") if key in each}
        used, eligible = Fraction(0), defaultdict(Fraction)
        for day, device, card_hours in self._usage_of(name):
            prices = dict(original["prices"])
            for change in later:
                if change["effective"] <= day:
                    prices |= change["prices"]
            worth = card_hours * Fraction(prices[device])
            used += worth
            counts = newest["use"] == "training" and not newest["related_party"]
            if counts and max("2024-12-18", newest["starts"]) <= day < newest["ends"]:
                eligible[int(day[:4])] += worth
        left, entitled = Fraction(newest["amount"]), {}
        for year, worth in sorted(eligible.items()):
            counted = min(worth, left)
            left -= counted
            entitled[year] = floor(counted * 50)
        return floor(used * 100), {year: fen for year, fen in entitled.items() if fen}

    def _usage_of(self, name: str) -> Iterator[tuple[str, str, Fraction]]:
        for each in self.records:
            if each["contract"] == name and each["id"] not in self.voided:
                for day, seconds in seconds_by_date(each):
                    yield day, each["device"], Fraction(each["milli_devices"] * seconds, 3_600_000)


def seconds_by_date(usage: dict[str, Any]) -> list[tuple[str, int]]:
    start, end = (datetime.fromisoformat(usage[name]) for name in ("start", "end"))
    parts = []
    while start < end:
        midnight = datetime.combine(start.date() + timedelta(days=1), datetime.min.time())
        until = min(end, midnight.replace(tzinfo=start.tzinfo))
        parts.append((start.date().isoformat(), int((until - start).total_seconds())))
        start = until
    return parts


@pytest.mark.parametrize("seed", range(300))
def test_any_order_of_records_voids_and_amendments_gives_the_same_sums(seed):
    plan = Plan(seed)
    totals = []
    for order in (2 * seed, 2 * seed + 1):
        books = plan.carry_out(order)
        for name in "AB":
            shares = books.state.contracts[name].shares
            entitled = {year: each.entitled for year, each in shares.items() if each.entitled}
            assert (books.cost(name), entitled) == plan.expected(name)
        totals.append([books.coupon(year) for year in (2024, 2025, 2026)])
        for coupon in totals[-1]:
            assert coupon.granted == min(coupon.issued, coupon.entitled)
        replayed(books)
    assert totals[0] == totals[1]


# The independent sums


@pytest.mark.parametrize("seed", range(60))
def test_the_sums_agree_in_any_history(seed):
    summed(Plan(seed).carry_out(seed))


def test_the_sums_agree_on_what_is_withheld_and_on_a_move():
    books = ledger(max_devices={})
    books.enterprise(BETA)
    books.contract("Z", enterprise=BETA)
    books.issue(2025, "300.00")
    books.issue(2025, "100.00", BETA)
    books.post([hours("a", "2025-05-01", 10)])
    books.supplement("2025-05-01", max_devices={DEVICE: 4}, prices={OTHER: "9.00"})
    books.post([hours("b", "2025-04-30", 10, 30), hours("c", "2025-05-01", 10, 2)])
    books.void("a")
    books.post([hours("d", "2025-05-01", 3, 3), hours("o", "2025-05-01", 1, device=OTHER)])
    books.release("b")
    books.correct(prices={DEVICE: "5.00"}, enterprise=BETA)
    books.void("c")
    summed(books)


def test_the_sums_find_a_price_of_the_wrong_day():
    books = ledger()
    books.supplement("2025-04-10", prices={DEVICE: "4.00"})
    contract = books.state.contracts["A"]
    contract.steps[1].first_day += 1
    books.post([hours("a", "2025-04-10", 64)])
    found(books, "sum_cost")


@pytest.mark.parametrize(
    ("field", "value", "code"),
    [
        ("cost", -639_99, "sum_cost"),
        ("entitled", [(2025, -319_99)], "sum_entitled"),
        ("withheld_cost", 1, "sum_withheld"),
        ("ineligible", [("use", 1)], "sum_ineligible"),
        ("ratio_class", "startup", "sum_class"),
        ("policy", "another", "sum_policy"),
    ],
)
def test_the_sums_find_another_figure_in_an_amendment(field, value, code):
    books = ledger()
    books.post([hours("a", "2025-03-01", 64, 100)])
    number = books.correct(prices={DEVICE: "4.40"})
    books.entries[number] = replace(books.entries[number], **{field: value})
    found(books, code)


@pytest.mark.parametrize(("field", "value"), [("class", "startup"), ("policy", "another")])
def test_the_sums_find_a_supplement_that_gives_a_class_or_a_policy(field, value):
    books = ledger()
    books.supplement("2025-03-01", amount="2000000.00")
    entries = told(books)
    entries[-1][field] = value
    found(entries, "sum_class", "a supplement gives A a class")


def test_the_sums_find_what_a_startup_no_more_adds():
    books = opened(lifted(), now=NOW)
    books.enterprise(BETA, founded_on="2025-01-01")
    books.contract("A", enterprise=BETA, signed_on="2025-12-01", starts="2025-12-01")
    number = books.supplement("2026-01-01", amount="2000000.00", signed_on="2025-12-31")
    summed(books)
    books.entries[number] = replace(books.entries[number], signed_on="2026-01-01")
    found(books, "sum_class")
