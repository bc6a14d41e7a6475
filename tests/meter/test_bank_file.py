"""The list for the bank and its results: what is read, what is refused and what is known."""

import contextlib
import csv
import io
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meter.api.responses import AsOf, BookedView, ClaimView
from meter.console import bank_file
from meter.console.bank_file import COLUMNS, Due, Fault, Line, Planned, plan, read, write
from meter.values.problems import Problem
from tests.books import ALPHA, BETA

TODAY = "2025-06-02"
LINE = Line(2, "C1", ALPHA, "400000.00", "paid", "city-1", "2025-06-01", "")


def claim(state="ordered", booked=(), **changes):
    fields = {
        "id": "C1",
        "entry": 9,
        "newest": 41,
        "item": "A",
        "programme": "p",
        "year": 2025,
        "enterprise": ALPHA,
        "state": state,
        "asked": "",
        "approved": "400000.00",
        "cash": "400000.00",
        "payee": ALPHA,
        "invoices": [],
        "payments": [],
        "objections": [],
        "as_of": AsOf(1, ""),
    }
    held = [BookedView(*each) for each in booked]
    return ClaimView(**fields | {"booked": held} | changes)


def file(*rows, head=COLUMNS):
    text = io.StringIO()
    csv.writer(text).writerows([head, *rows])
    return text.getvalue()


def row(**changes):
    cells = {"claim": "C1", "payee": ALPHA, "name": "甲", "amount": "400000.00", "order": "41"}
    cells |= {"result": "paid", "bank_reference": "city-1", "date": "2025-06-01", "reason": ""}
    return [(cells | changes)[name] for name in COLUMNS]


def test_the_list_goes_out_with_a_byte_order_mark_and_without_formulas():
    data = write([Due("C1", ALPHA, "=甲", "400000.00", "41")])
    assert data.startswith(b"\xef\xbb\xbfclaim,payee,name,amount,order,result,")
    assert f"C1,{ALPHA},'=甲,400000.00,41,,,,\r\n".encode() in data
    lines, faults = read(data.decode())
    assert faults == []
    assert lines == [replace(LINE, result="", bank_reference="", date="")]


def test_what_a_spreadsheet_wrote_anew_is_read_as_it_was():
    head = ["date", "extra", *(name for name in COLUMNS if name != "date")]
    cells = ["2025/6/1", "x", "C1", ALPHA, "甲", "400000", "41", "Paid", "city-1", ""]
    assert read(file(cells, head=head)) == ([LINE], [])
    assert read(file(row(amount="400000.5")))[0][0].amount == "400000.50"
    assert read("\ufeff" + file(row(), [""] * 9, row(claim="C2", bank_reference="city-2")))[0][
        1
    ] == (replace(LINE, number=4, claim="C2", bank_reference="city-2"))


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"claim": "C 1"}, "unknown_claim"),
        ({"result": "failed"}, "bad_result"),
        ({"bank_reference": ""}, "bad_reference"),
        ({"bank_reference": "1.02E+11"}, "bad_reference"),
        ({"date": "2025-02-30"}, "bad_dates"),
        ({"date": ""}, "bad_dates"),
        ({"result": "returned"}, "bad_result"),
    ],
)
def test_a_wrong_line_is_told_by_its_number_and_a_code(changes, code):
    lines, faults = read(file(row(claim="C0", bank_reference="city-0"), row(**changes)))
    assert [(each.number, each.code) for each in faults] == [(3, code)]
    assert [each.claim for each in lines] == ["C0"]


def test_a_claim_or_a_reference_stands_in_one_line():
    _, faults = read(file(row(), row(bank_reference="city-2"), row(claim="C3")))
    assert [(each.number, each.code) for each in faults] == [
        (3, "line_twice"),
        (4, "reference_used"),
    ]
    assert read(file(row(), ["C2"]))[1][0].code == "bad_columns"


@pytest.mark.parametrize(
    "text", ["", "claim,payee\r\n", file(row(), head=[*COLUMNS[:-1], "claim"])]
)
def test_a_file_that_is_no_such_list_is_refused_as_a_whole(text):
    with pytest.raises(Problem) as refused:
        read(text)
    assert refused.value.code == "malformed"


def test_a_file_has_a_thousand_lines_at_most(monkeypatch):
    monkeypatch.setattr(bank_file, "MAX_LINES", 1)
    with pytest.raises(Problem) as refused:
        read(file(row(), row(claim="C2")))
    assert refused.value.code == "too_large"


PAID = [("city-1", "2025-06-01")]
RETURNED = replace(LINE, result="returned", date="2025-06-02", reason="closed")


@pytest.mark.parametrize(
    ("line", "held", "found"),
    [
        (LINE, claim(), "pay"),
        (LINE, claim("paid", PAID), "known"),
        (LINE, claim("ordered", PAID), "known"),  # it came back since
        (replace(LINE, bank_reference="city-2"), claim("ordered", PAID), "pay"),
        (replace(LINE, result=""), claim("ended"), "nothing"),
        (RETURNED, claim("paid", PAID), "return"),
        (RETURNED, claim("ordered", PAID), "known"),
        (RETURNED, claim("paid", [*PAID, ("city-2", "2025-06-02")]), "known"),
        (replace(LINE, date="2025-06-02"), claim("paid", PAID), "exists_differently"),
        (replace(LINE, bank_reference="city-2"), claim("paid", PAID), "wrong_state"),
        (LINE, claim("noticed"), "wrong_state"),
        (RETURNED, claim("paid", [("city-9", "2025-06-01")]), "wrong_state"),
        (replace(LINE, payee=BETA), claim(), "wrong_payee"),
        (replace(LINE, amount="400000.01"), claim(), "wrong_amount"),
        (replace(LINE, amount=""), claim(), "wrong_amount"),
        (replace(LINE, date="2025-06-03"), claim(), "bad_dates"),
    ],
)
def test_a_line_is_held_against_its_claim(line, held, found):
    done = plan(line, held, TODAY)
    assert (done.plan if isinstance(done, Planned) else done.code) == found
    assert isinstance(done, Planned) or done.number == 2


def test_a_browser_s_ends_of_lines_change_nothing():
    text = file(row(reason="a\r\nb"), row(claim="C2", bank_reference="city-2"))
    others = [text.replace("\r\n", end) for end in ("\n", "\r", "\r\n")]
    assert [read(each) for each in others] == [read(text)] * 3


@given(st.lists(st.text(max_size=8), min_size=9, max_size=9), st.text(max_size=60))
def test_no_file_does_more_than_be_refused(cells, text):
    for data in (text, file(cells), file(row()) + text):
        with contextlib.suppress(Problem):
            lines, faults = read(data)
            assert all(isinstance(each, Line) for each in lines)
            assert all(isinstance(each, Fault) for each in faults)
