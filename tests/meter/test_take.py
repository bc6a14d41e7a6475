"""What a new version of a policy does to running contracts: it takes them, or they keep theirs."""

from typing import Any

import pytest

from meter.values.problems import Problem
from tests.books import (
    BETA,
    DEVICE,
    Books,
    lifted,
    micros,
    opened,
    record,
)
from tests.summing import checked, found, summed, told

NOON = "2025-06-30T12:00:00+08:00"
TAKING = '\n[transition]\nrunning = "take"\neffective = "2025-07-01"\narticle = "1"\n'
TAKING += 'standing = "judgement"\n'
# 600,000.00 at 1.00: 25,000 cards for a day.
A_DAY = 24_000_000 // 24 * 25


def text(taken: bool = True, effective: str = "2025-07-01", **figures: object) -> str:
    changed = lifted(version="v2", standard=4_000, **figures)
    return changed + TAKING.replace("2025-07-01", effective) if taken else changed


def ledger(now: str = NOON, **policy: object) -> Books:
    books = opened(lifted(**policy), now=now)
    books.contract("A", prices={DEVICE: "1.00"}, ends="2027-06-01")
    return books


def use(books: Books, id_: str, day: str, milli_devices: int = A_DAY) -> None:
    begin, end = f"{day}T00:00:00+08:00", f"{day}T24:00:00+08:00"
    end = f"{day[:8]}{int(day[8:]) + 1:02}T00:00:00+08:00"
    [result] = books.post([record(id_, "A", begin, end, milli_devices)])
    assert result.status == "accepted"


@pytest.mark.parametrize(("taken", "entitled"), [(True, 460_000_00), (False, 500_000_00)])
@pytest.mark.parametrize("late", [False, True])
def test_a_version_takes_running_contracts_or_they_keep_theirs(taken, entitled, late):
    books = ledger()
    books.issue(2025, "500000.00")
    if not late:
        use(books, "a", "2025-06-10")
    books.activate(text(taken))
    books.at("2025-07-30T12:00:00+08:00")
    use(books, "b", "2025-07-10")
    if late:
        use(books, "a", "2025-06-10")
    assert books.share("A", 2025).entitled == books.granted("A") == entitled
    checked(books)


def test_a_contract_that_is_registered_afterwards_is_taken_too():
    books = opened(lifted(), now=NOON)
    books.activate(text())
    books.at("2025-07-30T12:00:00+08:00")
    books.contract("A", prices={DEVICE: "1.00"})
    use(books, "a", "2025-06-10")
    use(books, "b", "2025-07-10")
    assert books.state.contracts["A"].agreed.policy == "v2"  # the newest that is in force
    assert books.share("A", 2025).entitled == 400_000_00
    checked(books)


def test_a_correction_keeps_the_version_of_its_registration():
    books = ledger()
    books.activate(text(taken=False))
    books.at("2025-07-30T12:00:00+08:00")
    use(books, "b", "2025-07-10", 1_000)
    books.correct(prices={DEVICE: "2.00"})
    assert books.share("A", 2025).entitled == 24_00
    checked(books)


def test_validity_ratio_and_uses_are_the_new_ones_and_the_limit_stays():
    books = ledger(ends="2025-09-01")
    books.enterprise(BETA, founded_on="2024-06-01")
    books.contract("S", enterprise=BETA, prices={DEVICE: "1.00"})
    books.activate(text(uses=["inference"], ends="2026-12-18", combined_standard=9_000))
    contract = books.state.contracts["A"]
    assert contract.terms.support_limit == 500_000_00
    assert [each.policy.version for each in contract.versions] == ["test", "v2"]
    books.at("2025-10-30T12:00:00+08:00")
    use(books, "a", "2025-07-10", 1_000)
    assert set(books.ineligible("A")) == {"use"}
    books.correct(use="inference")
    use(books, "b", "2025-06-10", 1_000)
    use(books, "c", "2025-10-10", 1_000)  # its own version had ended
    assert set(books.ineligible("A")) == {"use"}  # of its own version's time
    assert books.share("A", 2025).entitled == 2 * 9_60
    checked(books)


def test_days_after_the_end_of_its_own_version_are_outside_for_a_contract_that_keeps_it():
    books = ledger(ends="2025-07-01")
    books.activate(text(taken=False))
    books.at("2025-07-30T12:00:00+08:00")
    use(books, "b", "2025-07-10", 1_000)
    assert set(books.ineligible("A")) == {"outside_policy"}
    checked(books)


def test_a_startup_keeps_its_class_under_the_name_that_the_new_version_gives_it():
    books = opened(lifted(), now=NOON)
    books.enterprise(BETA, founded_on="2024-06-01")
    books.contract("A", enterprise=BETA, prices={DEVICE: "1.00"})
    assert books.state.contracts["A"].agreed.ratio_class == "startup"
    renamed = text(startup=5_500).replace('name = "startup"', 'name = "young"')
    books.activate(renamed.replace("startup = 6000 }", "young = 6000 }"))
    books.at("2025-07-30T12:00:00+08:00")
    use(books, "b", "2025-07-10", 1_000)
    assert books.share("A", 2025).entitled == 13_20
    checked(books)


def test_a_later_version_takes_over_from_its_own_day():
    books = ledger()
    books.activate(text(effective="2025-08-01"))
    third = text(effective="2025-09-01").replace('version = "v2"', 'version = "v3"')
    books.activate(third.replace("ratio = 4000", "ratio = 1000"))
    books.at("2025-09-30T12:00:00+08:00")
    for id_, day in (("a", "2025-07-10"), ("b", "2025-08-10"), ("c", "2025-09-10")):
        use(books, id_, day, 1_000)
    assert books.share("A", 2025).entitled == 12_00 + 9_60 + 2_40
    assert len(books.state.contracts["A"].segments) == 5  # by year and version
    checked(books)


@pytest.mark.parametrize(
    ("now", "effective", "refused"),
    [
        ("2025-06-30T12:00:00+08:00", "2025-07-01", False),
        ("2025-06-30T23:54:59+08:00", "2025-07-01", False),
        ("2025-06-30T23:55:00+08:00", "2025-07-01", True),  # a record may end on that day already
        ("2025-06-30T12:00:00+08:00", "2025-06-30", True),
        ("2025-06-30T12:00:00+08:00", "2026-12-18", True),  # its own end
    ],
)
def test_contracts_are_taken_later_than_all_that_is_booked(now, effective, refused):
    books = ledger(now)
    if not refused:
        books.activate(text(effective=effective))
        return
    with pytest.raises(Problem) as caught:
        books.activate(text(effective=effective))
    assert (caught.value.code, caught.value.facts["field"]) == ("bad_dates", "effective")


def test_the_sums_find_the_ratio_of_the_wrong_version():
    books = ledger()
    books.activate(text())
    for segment in books.state.contracts["A"].segments:
        segment.ratio_bp = 5_000
    books.at("2025-07-30T12:00:00+08:00")
    use(books, "b", "2025-07-10", 1_000)
    found(books, "sum_entitled")


def taken_late(at: str, effective: str) -> list[dict[str, Any]]:
    """Return entries with usage of 10 July, then a version that lies about when it takes."""
    books = ledger("2025-07-30T12:00:00+08:00")
    use(books, "b", "2025-07-10", 1_000)
    books.activate(text(effective="2025-09-01"))
    entries = told(books)
    taking = entries[-1]["content"].replace("2025-09-01", effective)
    entries[-1] |= {"at": micros(at), "content": taking}
    return entries


def test_the_sums_find_a_version_that_takes_contracts_from_a_day_that_has_begun():
    noon = "2025-07-30T12:00:00+08:00"
    summed(taken_late(noon, "2025-07-31"))
    found(taken_late(noon, "2025-07-30"), "sum_policy", "from a day on before")


def test_the_sums_find_a_version_that_takes_contracts_whose_usage_is_booked():
    evening = "2025-07-09T23:00:00+08:00"
    summed(taken_late(evening, "2025-07-11"))
    found(taken_late(evening, "2025-07-10"), "sum_policy", "A is taken", "has usage since then")


def test_a_year_of_two_ratios_can_need_what_the_higher_one_gives():
    books = ledger()
    books.activate(text())
    # 50 % of 1,000,000.00 before July, 40 % from then on.
    with pytest.raises(Problem, match="above_need"):
        books.issue(2025, "500000.01")
    books.issue(2025, "500000.00")
    checked(books)


def test_a_year_has_the_highest_ratio_of_its_own_days():
    books = ledger(claim_months=60)
    books.activate(text(effective="2026-01-01"))
    contract = books.state.contracts["A"]
    assert {year: contract.ratio_of(year) for year in (2025, 2026)} == {2025: 5_000, 2026: 4_000}
    for year, most, more in ((2025, "500000.00", "500000.01"), (2026, "400000.00", "400000.01")):
        with pytest.raises(Problem, match="above_need"):
            books.issue(year, more)
        books.issue(year, most)
    checked(books)
    entries = told(books)
    for year in (2025, 2026):
        bent = [dict(each) for each in entries]
        (issue,) = (each for each in bent if each["kind"] == "issue" and each["year"] == year)
        issue["amount"] += 1
        issue["postings"] = [[*names, fen + 1] for *names, fen in issue["postings"]]
        found(bent, "sum_need")
