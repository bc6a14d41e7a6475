"""How many debts one order pays back, and that no cash goes beside more of them."""

from meter.rules import commands
from tests.meter.test_award_claims import approve, awarding, debt, enter, order, refused
from tests.papers import DAY, day_after, day_of
from tests.summing import summed, told

MOST = 200


def test_an_order_sets_off_two_hundred_debts_and_with_one_more_no_cash_is_left():
    books = awarding("open-source")
    items = [f"W{number}" for number in range(MOST + 1)]
    for item in items:
        books.award(item, "open-source", "3.00")
        enter(books, item, item, "3.00")
        approve(books, item, "3.00")
        notice = {"starts": day_of(books), "ends": day_after(day_of(books), 7)}
        books.ask(commands.NoticeClaim, claim=item, url="https://city.test/1", **notice)
    books.at(books.now + 8 * DAY)
    for item in items:
        books.ask(commands.OrderClaim, claim=item)
    for item in items:
        books.change_award(item, "1.00")
    books.award("X", "open-source", "1000.00")
    enter(books, "more", "X", "1000.00")
    approve(books, "more", "1000.00")
    assert refused(order, books, "more") == "too_large"
    recovered = {"item": items[0], "year": 2025, "bank_reference": "city-1"}
    books.ask(commands.RecoverDebt, amount="2.00", **recovered)
    books.ask(commands.OrderClaim, claim="more")
    entry = books.entries[-1]
    assert entry.cash == 1_000_00 - MOST * 2_00
    assert len(entry.postings) == MOST + 1
    assert not any(debt(books, item) for item in items)
    summed(told(books))
