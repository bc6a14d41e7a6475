"""What a release tells where nothing of the record counted before, and an amendment for later."""

from tests.books import DEVICE, Books, lifted, record
from tests.summing import summed, told

START, END = "2025-03-01T08:00:00+08:00", "2025-03-01T09:00:00+08:00"


def test_a_record_that_was_withheld_whole_counts_for_nothing_when_it_is_released():
    books = Books("2025-03-10T12:00:00+08:00")
    books.activate(lifted())
    books.provider(devices={DEVICE: 4})
    books.key()
    books.enterprise()
    books.contract("A", related_party=True)
    books.contract("B")
    books.post([record("full", "B", START, END, 4_000)])
    (result,) = books.post([record("r", "A", START, END, 1_000)])
    assert (result.cost, result.withheld, result.reasons) == ("4.50", "4.50", {})
    books.release("r")
    entry = books.entries[-1]
    assert (entry.withheld_cost, entry.ineligible) == (-4_50, [("related_party", 4_50)])
    assert (entry.entitled, entry.postings) == ([], [])
    summed(told(books))


def test_the_shares_after_an_amendment_are_kept_as_they_were_then():
    books = Books("2025-03-10T12:00:00+08:00")
    books.activate(lifted())
    books.provider(devices={DEVICE: 4})
    books.key()
    books.enterprise()
    books.contract("A", prices={DEVICE: "4.00"})
    books.issue(2025, "1.50")
    books.post([record("r", "A", START, END, 1_000)])
    number = books.supplement("2025-01-01", "A", amount="2.00")
    kept = books.state.touched.amended["A", number + 1]
    assert {year: (each.entitled, each.granted) for year, each in kept.items()} == {
        2025: (1_00, 1_00)
    }
    books.void("r")
    assert books.share("A", 2025).entitled == 0
    assert kept[2025].entitled == 1_00
