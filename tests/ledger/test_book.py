from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.book import Book
from ledger.errors import BadPosting, FloorBroken, LedgerError

FLOORS = ("coupon", "pool")

accounts = st.sampled_from(
    ["treasury:t", "pool:t:2025", "coupon:t:2025:a", "coupon:t:2025:b", "due"]
)
postings = st.tuples(accounts, accounts, st.integers(1, 50)).filter(lambda p: p[0] != p[1])
entries = st.lists(st.lists(postings, max_size=4), max_size=12)


@given(entries)
def test_a_book_is_the_sum_of_the_entries_that_break_no_floor(history):
    book, model = Book(FLOORS), {}
    for entry in history:
        after = dict(model)
        for source, target, fen in entry:
            after[source] = after.get(source, 0) - fen
            after[target] = after.get(target, 0) + fen
        broken = {a: fen for a, fen in after.items() if fen < 0 and a.split(":")[0] in FLOORS}
        if broken:
            before = book.balances
            with pytest.raises(FloorBroken) as error:
                book.post(entry)
            assert (error.value.account, error.value.balance) in broken.items()
            assert book.balances == before
        else:
            book.post(entry)
            model = after
    assert {a: fen for a, fen in book.balances.items() if fen} == {
        a: fen for a, fen in model.items() if fen
    }
    assert sum(book.balances.values()) == 0


@given(entries, entries)
def test_touched_are_the_accounts_that_changed_since_they_were_last_taken(first, second):
    book = Book()
    for entry in first:
        book.post(entry)
    book.take_touched()
    before, steps = book.balances, set()
    for entry in second:
        known = book.balances
        book.post(entry)
        steps |= {a for a in book.balances if book.balances[a] != known.get(a, 0)}
    changed = {a for a, fen in book.balances.items() if fen != before.get(a, 0)}
    touched = book.take_touched()
    assert changed <= set(touched) == steps
    assert touched == {account: book.balance(account) for account in touched}
    assert book.take_touched() == {}


def test_the_example_of_the_module_holds():
    book = Book(["coupon"])
    book.post([("pool", "coupon:a", 500), ("coupon:a", "due:b", 300)])
    assert book.balance("coupon:a") == 200
    with pytest.raises(FloorBroken) as error:
        book.post([("coupon:a", "due:b", 201)])
    assert (error.value.account, error.value.balance) == ("coupon:a", -1)
    assert str(error.value) == "floor_broken: coupon:a would stand at -1 fen"
    assert book.balance("coupon:a") == 200
    assert set(book.take_touched()) == {"pool", "coupon:a", "due:b"}


def test_a_floor_looks_at_the_net_of_an_entry():
    book = Book(["pool"])
    book.post([("pool", "a", 5), ("b", "pool", 5)])
    assert book.take_touched() == {"a": 5, "b": -5}


def test_an_account_may_be_spent_to_its_floor_and_has_nothing_before_its_first_posting():
    book = Book(["pool"])
    assert book.balance("pool") == 0
    book.post([("a", "pool", 5)])
    book.post([("pool", "b", 5)])
    assert book.balance("pool") == 0
    with pytest.raises(FloorBroken):
        book.post([("pool", "b", 1)])


def test_amounts_grow_beyond_64_bits():
    book = Book(balances={"a": -(2**80), "b": 2**80})
    book.post([("a", "b", 2**90)])
    assert book.balance("b") == 2**80 + 2**90


def test_an_entry_is_applied_whole_or_not_at_all():
    book = Book()
    with pytest.raises(BadPosting):
        book.post([("a", "b", 1), ("a", "a", 1)])
    assert book.balances == {}
    assert book.take_touched() == {}


@pytest.mark.parametrize(
    "posting",
    [
        None,
        "abc",
        [],
        ["a", "b"],
        ["a", "b", 1, 1],
        ["a", "b", 0],
        ["a", "b", -1],
        ["a", "b", True],
        ["a", "b", 1.0],
        ["a", "b", "1"],
        ["a", "a", 1],
        ["", "b", 1],
        ["a", "", 1],
        ["a:", "b", 1],
        [":a", "b", 1],
        ["a::a", "b", 1],
        ["a b", "b", 1],
        ["a\n", "b", 1],
        ["ä", "b", 1],
        ["a", ["b"], 1],
        ["a", 7, 1],
        [b"a", "b", 1],
        ["a", None, 1],
        {"from": "a", "to": "b", "fen": 1},
    ],
)
def test_a_posting_has_two_accounts_and_a_positive_amount(posting):
    with pytest.raises(BadPosting):
        Book().post([posting])


@pytest.mark.parametrize(
    ("posting", "detail"),
    [
        (["a", "b", 0], "0 fen is not a positive amount"),
        (["a", "a", -1], "-1 fen is not a positive amount"),
        (["a", "a", 1], "'a' posts to itself"),
        (["a", "a", True], "['a', 'a', True] is not [from, to, fen]"),
        (["a", "b", False], "['a', 'b', False] is not [from, to, fen]"),
        (["a", "b", 1.5], "['a', 'b', 1.5] is not [from, to, fen]"),
    ],
)
def test_what_is_wrong_with_a_posting_is_said(posting, detail):
    with pytest.raises(BadPosting) as error:
        Book().post([posting])
    assert error.value.detail == detail


@pytest.mark.parametrize("name", ["", "pool:", "pool:a", "p l", "pool\n"])
def test_a_floor_is_a_class_and_not_an_account(name):
    with pytest.raises(BadPosting):
        Book([name])


nested = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda v: st.lists(v, max_size=4) | st.tuples(v, v, v),
)


@given(st.lists(nested, max_size=3))
def test_whatever_is_posted_raises_only_errors_of_the_ledger(postings):
    with suppress(LedgerError):
        Book().post(postings)
