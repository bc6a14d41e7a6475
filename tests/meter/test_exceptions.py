"""The rules of exceptions: each finds what it is for, at its threshold and not below."""

import re
from pathlib import Path

import pytest

from meter.rules import commands
from meter.values.policy import shipped_text
from meter.values.units import parse_instant
from meter.views.exceptions.table import BY_NAME, RULES, exceptions, rules_with
from tests.books import ALPHA, BETA, DEVICE, Books, lifted, opened, record, void
from tests.papers import PATIENT, Office, papers

START = parse_instant("2025-03-01T08:00:00+08:00")
HOUR = 3_600
DAY = 86_400_000_000  # microseconds


def found(books: Books, rule: str, **thresholds: int) -> list[tuple[str, str, tuple[int, ...]]]:
    """Return what one rule finds: subject, detail, entries."""
    rules = rules_with(thresholds, books.state)
    told = exceptions(rules, enumerate(books.entries))
    return [(each.subject, each.detail, each.entries) for each in told if each.rule == rule]


def last(books: Books) -> int:
    return len(books.entries) - 1


def last_of(books: Books, kind: str) -> int:
    return max(number for number, each in enumerate(books.entries) if each.kind == kind)


@pytest.fixture
def books() -> Books:
    """Books with the contract A, of four devices, and a coupon of 1,000.00."""
    books = opened(lifted(), "2025-03-02T12:00:00+08:00")
    books.contract("A", max_devices={DEVICE: 4})
    books.issue(2025, "1000.00")
    return books


def use(
    books: Books,
    id_: str,
    start: int = START,
    devices: int = 1,
    contract: str = "A",
    **more: object,
) -> int:
    """Post an hour's record; returns its entry."""
    (result,) = books.post([record(id_, contract, start, start + HOUR, devices * 1_000, **more)])
    return result.entry


def test_what_is_withheld_is_found_until_it_is_released_or_voided(books):
    entries = [use(books, id_, devices=5) for id_ in ("a", "b", "c")]
    # By hand: of 5 devices 1 is above the contract's 4, of the next all 5.
    assert found(books, "withheld") == [
        ("A", "a: 4.50", (entries[0],)),
        ("A", "b: 22.50", (entries[1],)),
        ("A", "c: 22.50", (entries[2],)),
    ]
    books.release("a")
    books.post(voids=[void("b")])
    assert found(books, "withheld") == [("A", "c: 22.50", (entries[2],))]


def test_what_is_withheld_costs_what_it_does_by_the_terms_of_now(books):
    entries = [use(books, id_, devices=5) for id_ in ("a", "b")]
    books.supplement("2025-03-02", prices={DEVICE: "6.00"})  # after the use
    assert found(books, "withheld")[0] == ("A", "a: 4.50", (entries[0],))
    books.correct(prices={DEVICE: "9.00"})
    assert found(books, "withheld") == [
        ("A", "a: 9.00", (entries[0],)),
        ("A", "b: 45.00", (entries[1],)),
    ]
    contract = books.state.contracts["A"]
    withheld = sum(share.withheld for share in contract.shares.values())
    assert withheld == 5_400 * contract.terms.denominator


def test_a_late_window_is_found(books):
    number = books.late_window("2025-01-05", "2025-01-20", "2025-04-01")
    detail = "usage of 2025-01-05 to 2025-01-20, taken before 2025-04-01"
    assert found(books, "late_window") == [("A", detail, (number,))]


def test_a_void_is_late_from_the_threshold_on(books):
    taken = use(books, "r")
    books.at(books.now + 35 * DAY)
    number = books.void("r")
    assert found(books, "late_void") == [
        ("A", "r: after 35 days, found by the auditors", (taken, number))
    ]
    assert found(books, "late_void", late_void=36) == []


def test_an_id_that_was_sent_with_two_contents_is_found(books):
    taken = use(books, "r")
    books.post([record("r", "A", START, START + 2 * HOUR, 1_000)])
    (batch,) = [n for n, each in enumerate(books.entries) if each.kind == "batch"][1:]
    assert found(books, "conflict") == [("pcl", "r, stream main, batch 2", (taken, batch))]


def test_each_key_that_comes_or_goes_is_found(books):
    second = books.key("pcl-2")
    gone = books.revoke("pcl-1")
    log_key, receipt_key = books.add_log_key(), books.add_receipt_key()
    told = found(books, "key_change")
    first = next(n for n, each in enumerate(books.entries) if each.kind == "key")
    assert ("pcl", "key pcl-1 was registered", (first,)) in told
    assert ("pcl", "key pcl-2 was registered", (second,)) in told
    assert ("pcl", "key pcl-1 was revoked", (gone,)) in told
    assert ("service", "receipt key receipt-2 was added", (receipt_key,)) in told
    assert [each[2] for each in told if each[1].startswith("log key ")] == [(log_key,)]
    old, older = books.retire_log_key(), books.retire_receipt_key()
    assert {each[2] for each in found(books, "key_change")} == {
        *((number,) for number in (first, second, gone, log_key, receipt_key, old, older))
    }


def test_acts_of_two_are_counted_by_pair():
    office = Office("2025-03-01T12:00:00+08:00")
    office.activate()
    office.provider()
    office.key()
    office.enterprise()
    office.contract("A", amount="9000000.00")
    acts = [n for n, each in enumerate(office.entries) if getattr(each, "proposal", 0)]
    ended = office.propose("freeze", "maker-1", contract="A")
    office.end_proposal(ended, "maker-1")
    ((subject, detail, entries),) = found(office, "two_persons")
    assert subject == "maker, checker"
    assert detail == f"maker proposed and checker confirmed, {len(acts)} times"
    assert list(entries) == acts[:20]
    assert len(acts) > 1
    assert found(office, "two_persons", two_persons=len(acts) + 1) == []


def test_a_grant_near_the_cap_is_found():
    books = opened(lifted(cap="100.00"), "2025-03-02T12:00:00+08:00")
    books.contract("A")
    issued = books.issue(2025, "100.00")
    # By hand: 40 devices for an hour at 4.50 are 180.00, half of it 90.00; three more are 6.75.
    use(books, "r", devices=40)
    assert found(books, "near_cap") == found(books, "near_cap", near_cap=91) == []
    assert found(books, "near_cap", near_cap=90) == [
        (ALPHA, "training-coupon 2025: 90.00 of 100.00", (issued,))
    ]
    use(books, "s", devices=3)
    assert found(books, "near_cap") == [(ALPHA, "training-coupon 2025: 96.75 of 100.00", (issued,))]


def test_a_year_has_the_cap_of_its_own_policy():
    books = opened(lifted(cap="100.00"), "2025-03-02T12:00:00+08:00")
    books.contract("A")
    issued = books.issue(2025, "100.00")
    use(books, "r", devices=44)
    near = [(ALPHA, "training-coupon 2025: 99.00 of 100.00", (issued,))]
    assert found(books, "near_cap") == near
    books.activate(lifted(version="v2", starts="2026-01-01", ends="2027-01-01", cap="1000.00"))
    assert found(books, "near_cap") == near


def test_awards_near_the_cap_of_a_year_are_found():
    books = opened(lifted(), "2025-03-02T12:00:00+08:00")
    for programme in ("hardware", "open-source"):
        books.activate(shipped_text(programme, "2024-12"))
        books.budget(2025, "9000000.00", programme=programme)
    books.award("A", "hardware", "2000000.00")
    books.award("O", "open-source", "1000000.00")  # its cap is not one of a year
    assert found(books, "near_cap") == []
    last = books.award("B", "hardware", "900000.00")
    assert found(books, "near_cap") == [(ALPHA, "hardware 2025: 2900000.00 of 3000000.00", (last,))]


def test_all_codes_of_a_firm_have_one_cap():
    books = opened(lifted(cap="100.00"), "2025-03-02T12:00:00+08:00")
    books.enterprise(BETA)
    books.contract("A")
    books.contract("B", enterprise=BETA)
    books.issue(2025, "55.00")
    use(books, "r", devices=24)
    books.succeed(ALPHA, BETA)
    issued = books.issue(2025, "45.00", BETA)
    use(books, "s", devices=20, contract="B")
    # By hand: half of 24 and of 20 devices at 4.50 are 54.00 and 45.00.
    assert found(books, "near_cap") == [(BETA, "training-coupon 2025: 99.00 of 100.00", (issued,))]


def test_many_contracts_of_one_firm_and_year_are_found(books):
    books.enterprise(BETA)
    numbers = [n for n, each in enumerate(books.entries) if each.kind == "contract"]
    numbers += [
        books.contract(f"C{n}", signed_on="2024-12-30", starts="2025-01-01") for n in range(2)
    ]
    books.contract("next", signed_on="2025-01-01", starts="2025-01-01")
    books.contract("other", enterprise=BETA)
    assert found(books, "many_contracts") == []
    assert found(books, "many_contracts", many_contracts=3) == [
        (ALPHA, "training-coupon 2024: 3 contracts", tuple(numbers))
    ]


def test_a_price_above_the_median_of_its_kind_is_found(books):
    books.contract("B", prices={DEVICE: "6.7499"})
    assert found(books, "high_price", high_price=0) == []  # two have no middle
    books.contract("C", prices={DEVICE: "4.00"})
    books.contract("D", prices={DEVICE: {"amount": "900.00", "per": "day"}})
    assert found(books, "high_price") == []
    dear = books.contract("E", prices={DEVICE: "6.75"})
    # Of 4.00, 4.50, 6.7499 and 6.75 the upper middle is 6.7499.
    assert found(books, "high_price") == []
    books.contract("F", prices={DEVICE: "4.50"})
    assert found(books, "high_price") == [
        ("E", f"{DEVICE}: 6.75 per hour, median 4.50", (dear,)),
    ]


def test_a_price_is_high_as_it_was_amended_and_not_as_it_was_mistaken(books):
    mistaken = books.contract("B", prices={DEVICE: "45.00"})
    for name in ("C", "D"):
        books.contract(name, prices={DEVICE: "4.50"})
    told = f"{DEVICE}: 45.00 per hour, median 4.50"
    assert found(books, "high_price") == [("B", told, (mistaken,))]
    books.correct("B", prices={DEVICE: "4.50"})
    assert found(books, "high_price") == []
    dear = books.supplement("2025-04-01", "A", prices={DEVICE: "9.00"})
    books.supplement("2025-05-01", "A", prices={DEVICE: "4.50"})
    ((contract, detail, entries),) = found(books, "high_price")
    assert (contract, detail) == ("A", f"{DEVICE}: 9.00 per hour, median 4.50")
    assert dear in entries


def test_prices_are_compared_where_they_are_for_the_same_time(books):
    for number, amount in enumerate(("3000.00", "3000.00", "4500.00")):
        last = books.contract(f"M{number}", prices={DEVICE: {"amount": amount, "per": "month"}})
    assert found(books, "high_price") == [
        ("M2", f"{DEVICE}: 4500.00 per month, median 3000.00", (last,))
    ]


@pytest.mark.parametrize(
    ("ended", "days", "is_found"),
    [
        ("2024-12-25T00:00:00+08:00", 7, True),
        ("2024-12-24T23:00:00+08:00", 7, False),
        ("2025-01-01T02:00:00+08:00", 7, True),
        ("2025-01-07T23:59:59+08:00", 7, True),
        ("2025-01-08T01:00:00+08:00", 7, False),
        ("2025-01-03T00:00:00+08:00", 6, False),
    ],
)
def test_usage_beside_the_turn_of_a_year_that_came_late_is_found(ended, days, is_found):
    books = opened(lifted(), "2024-12-24T12:00:00+08:00")
    books.contract("A")
    end = parse_instant(ended)
    books.at(end * 1_000_000 + days * DAY)
    number = use(books, "r", end - HOUR)
    expected = [("A", f"r: {days} days after its end", (number,))] if is_found else []
    assert found(books, "year_edge") == expected


def test_an_invoice_on_two_claims_is_found_while_both_stand():
    books = opened(PATIENT, "2025-12-30T12:00:00+08:00")
    books.contract("A")
    books.contract("B")
    books.issue(2025, "1000.00")
    number = "1" * 20
    entries = []
    for claim, item in (("C1", "A"), ("C2", "B")):
        body = papers(number, claim, "2025-12-30")
        entries.append(books.ask(commands.EnterClaim, id=claim, item=item, year=2025, **body))
    assert found(books, "double_invoice") == [("C1, C2", f"invoice {number}", tuple(entries))]
    books.ask(commands.EndClaim, claim="C2", outcome="returned", reason="a mistake")
    assert found(books, "double_invoice") == []


def test_one_reference_of_the_bank_for_two_claims_is_found_and_for_one_twice_is_not():
    day = "2025-12-30"
    books = opened(PATIENT, f"{day}T12:00:00+08:00")
    paid = {}
    for name in ("A", "B", "C"):
        books.contract(name)
        use(books, f"of-{name}", parse_instant(f"{day}T08:00:00+08:00"), contract=name)
    books.issue(2025, "1000.00")
    notice = {"starts": day, "ends": "2026-01-06", "url": "https://city.test/1"}
    for number, name in enumerate(("A", "B", "C")):
        body = {"id": name, "item": name, "year": 2025} | papers(f"{number:020}", name, day)
        books.ask(commands.EnterClaim, **body)
        books.ask(commands.CheckClaim, claim=name)
        books.ask(commands.ApproveClaim, claim=name, amount="1.00")
        books.ask(commands.NoticeClaim, claim=name, **notice)
    books.at("2026-01-07T12:00:00+08:00")
    for name, reference in (("A", "R"), ("B", "S"), ("C", "R")):
        books.ask(commands.OrderClaim, claim=name)
        body = {"bank_reference": reference, "paid_on": "2026-01-07"}
        paid[name] = books.ask(commands.PayClaim, claim=name, **body)
    back = {"returned_on": "2026-01-07", "reason": "a wrong account"}
    books.ask(commands.ReturnPayment, claim="B", **back)
    books.ask(commands.PayClaim, claim="B", bank_reference="S", paid_on="2026-01-07")
    expected = [("A, C", "reference R", (paid["A"], paid["C"]))]
    assert found(books, "double_reference") == expected


def test_a_month_that_was_closed_with_gaps_is_found_with_who_answers():
    office = Office("2025-03-02T12:00:00+08:00")
    office.activate(PATIENT)
    office.provider()
    office.key()
    office.enterprise()
    office.contract("A")
    office.post([], seq=1)
    office.at("2025-04-02T12:00:00+08:00")
    office.post([], seq=3)
    office.close_month("2025-03", waiver="checker")
    number = last_of(office, "month_closing")
    assert found(office, "waived_gaps") == [
        ("2025-03", "gaps: 1; checker answers: the stream was replaced", (number,))
    ]
    office.post([], seq=2)
    office.at("2025-05-02T12:00:00+08:00")
    office.close_month("2025-04")
    assert len(found(office, "waived_gaps")) == 1


def test_a_dispute_is_found_until_it_is_decided(books):
    records = {name: use(books, name) for name in ("a", "b", "c")}
    disputes = {name: books.dispute(name) for name in records}
    told = [
        ("A", f"{name} of pcl: it never ran", (records[name], disputes[name])) for name in "abc"
    ]
    assert found(books, "open_dispute") == told
    books.dismiss("a")
    books.void("b")
    assert found(books, "open_dispute") == told[2:]


# All rules


def test_each_rule_says_what_it_means_and_where_it_comes_from_in_both_languages():
    for rule in RULES:
        for text in (rule.meaning, rule.source):
            assert text.isascii()
        for text in (rule.meaning_zh, rule.source_zh):
            assert any("\u4e00" <= letter <= "\u9fff" for letter in text)
        assert bool(rule.unit) == bool(rule.unit_zh) == (rule.default is not None)
    assert len(BY_NAME) == len(RULES)


def test_the_page_lists_each_rule_with_its_threshold():
    page = (Path(__file__).parents[2] / "docs/audit.md").read_text("utf-8")
    told = re.findall(r"(?m)^\| `(\w+)` \| [^|]+ \| ?([^|]*?) ?\|$", page)
    assert [(name, limit) for name, limit in told if name in BY_NAME] == [
        (rule.name, f"{rule.default} {rule.unit}".replace("1 acts", "1 act") if rule.unit else "")
        for rule in RULES
    ]


@pytest.mark.parametrize("thresholds", [{"nothing": 1}, {"withheld": 1}, {"late_void": -1}])
def test_a_threshold_that_cannot_be_is_refused(books, thresholds):
    with pytest.raises(ValueError, match="threshold"):
        rules_with(thresholds, books.state)
