"""Questions: each lawful move of money that wants an explanation, and the moves that want none."""

import json

import pytest

from ledger.canon import encode
from meter.rules.kinds.table import read_entry
from meter.values.policy import shipped_text
from meter.values.units import parse_instant
from meter.views.flags import MAX_ENTRIES_NAMED, QUESTION_KINDS, Question, Questions
from tests.books import (
    ALPHA,
    BETA,
    DEVICE,
    HOUR,
    Books,
    lifted,
    purchase,
    record,
    uscc_of,
    void,
)
from tests.services import contract_body, serving

EIGHT = parse_instant("2025-12-31T08:00:00+08:00")
NEXT_YEAR = parse_instant("2026-01-01T08:00:00+08:00")
NOW = "2026-01-02T12:00:00+08:00"


def opened(cards: int = 1_000) -> Books:
    """Return books with contracts A and B of one enterprise and C of another."""
    books = Books(NOW)
    books.activate(lifted())
    books.provider(devices={DEVICE: cards})
    books.key()
    books.enterprise()
    books.enterprise(BETA)
    for name, owner in (("A", ALPHA), ("B", ALPHA), ("C", BETA)):
        books.contract(name, enterprise=owner, max_devices={})
    return books


def hour(id_: str, contract: str = "A", cards: int = 8, start: int = EIGHT, **more) -> dict:
    return record(id_, contract, start, start + HOUR, cards * 1_000, **more)


def minutes(id_: str, begin: int, end: int, cards: int) -> dict:
    return record(id_, "A", EIGHT + begin * 60, EIGHT + end * 60, cards * 1_000)


def asked(books: Books) -> list[Question]:
    """Return the questions, found by one look at the end and by a look after each entry alike."""
    at_once, step_by_step = Questions(books.state), Questions(books.state)
    for number, entry in enumerate(books.entries):
        at_once.entry(number, entry)
        step_by_step.entry(number, read_entry(json.loads(encode(entry))))
        step_by_step.found()
    assert at_once.found() == step_by_step.found()
    return at_once.found()


def kinds(books: Books) -> list[tuple[str, tuple[str, ...]]]:
    return [(each.kind, each.contracts) for each in asked(books)]


def number_of(books: Books, id_: str, kind: str = "usage") -> int:
    return next(
        number
        for number, entry in enumerate(books.entries)
        if entry.kind == kind and entry.id == id_
    )


# What wants an explanation


@pytest.mark.parametrize("same", [{"run": "job-1"}, {}])
def test_usage_that_was_voided_and_posted_again_under_another_contract_is_asked_about(same):
    books = opened()
    books.post([hour("a", **same)])
    books.post([], [void("a")])
    books.post([hour("b", "B", **same)])
    (question,) = [each for each in asked(books) if each.kind == "moved"]
    numbers = (number_of(books, "a"), number_of(books, "a", "void"), number_of(books, "b"))
    assert question == Question("moved", "pcl", ("A", "B"), 1, numbers)


@pytest.mark.parametrize("same", [{"run": "job-1"}, {}])
def test_usage_that_an_amendment_moves_into_another_year_is_asked_about(same):
    books = opened()
    books.post([hour("a", **same)])
    books.post([hour("b", start=NEXT_YEAR, **same)], [void("a")])
    assert kinds(books) == [("moved", ("A",))]


def test_a_run_that_was_voided_and_comes_back_in_another_year_is_asked_about():
    books = opened()
    books.post([hour("a", run="job-1")])
    books.void("a")
    books.post([hour("b", start=NEXT_YEAR, run="job-1")])
    assert kinds(books) == [("moved", ("A",))]


@pytest.mark.parametrize("by_authority", [True, False])
def test_a_void_while_the_contract_is_frozen_is_asked_about(by_authority):
    books = opened()
    books.post([hour("a"), hour("b", cards=9)])
    books.void("b")
    books.freeze("A")
    if by_authority:
        books.void("a")
    else:
        books.post([], [void("a")])
    books.unfreeze("A")
    numbers = (number_of(books, "a"), number_of(books, "a", "void"))
    assert asked(books) == [Question("frozen_void", "pcl", ("A",), 1, numbers)]


@pytest.mark.parametrize(
    ("first", "second", "contracts"),
    [
        ({}, {}, ("A",)),
        ({"run": "job-1"}, {"run": "job-1"}, ("A",)),
        ({"run": "job-1"}, {}, ("A",)),
        ({}, {"contract": "B"}, ("A", "B")),
    ],
)
def test_one_interval_of_one_usage_under_two_ids_is_asked_about(first, second, contracts):
    books = opened()
    books.post([hour("a", **first), hour("b", **second)])
    numbers = (number_of(books, "a"), number_of(books, "b"))
    assert asked(books) == [Question("repeated", "pcl", contracts, 1, numbers)]


def test_one_run_under_two_contracts_is_asked_about_whatever_its_intervals():
    books = opened()
    books.post([hour("a", run="job-1"), hour("c", "C", 9, EIGHT + HOUR, run="job-1")])
    numbers = (number_of(books, "a"), number_of(books, "c"))
    assert asked(books) == [Question("shared_run", "pcl", ("A", "C"), 1, numbers)]


def test_devices_that_need_no_enlistment_are_never_too_many():
    books = Books(NOW)
    text = lifted()
    start = text.index("[enlistment]")
    books.activate(text[:start] + text[start:].replace("true", "false", 1))
    books.provider(devices={"other": 8})
    books.key()
    books.enterprise()
    books.contract("A", max_devices={})
    books.issue(2025, "100.00")
    books.post([minutes("a", 0, 5, 8)])
    assert books.share("A", 2025).granted > 0
    assert asked(books) == []


def test_more_cards_at_once_than_enlisted_within_a_quarter_are_asked_about():
    books = opened(cards=8)
    (result,) = books.post([minutes("a", 0, 5, 16)])
    assert result.withheld == "0.00"  # its device-time fits
    assert asked(books) == [Question("crowded", "pcl", (), 1, (number_of(books, "a"),))]


def test_a_thousandth_of_a_card_too_many_at_once_is_asked_about_and_none_is_not():
    for milli_devices, count in ((8_000, 0), (8_001, 1)):
        books = opened(cards=8)
        books.post([record("a", "A", EIGHT, EIGHT + 60, milli_devices)])
        assert len(asked(books)) == count


def test_records_that_are_many_at_once_only_together_are_asked_about():
    books = opened(cards=8)
    books.post([hour("whole", cards=4), minutes("a", 3, 8, 4), minutes("b", 7, 12, 4)])
    numbers = (number_of(books, "a"), number_of(books, "b"))
    assert asked(books) == [Question("crowded", "pcl", (), 1, numbers)]
    books.void("b")
    assert asked(books) == []


def test_a_crowd_of_many_names_its_first_entries():
    books = opened(cards=8)
    books.post([minutes(f"r{number}", 0, 1, 1) for number in range(30)])
    (question,) = [each for each in asked(books) if each.kind == "crowded"]
    first = number_of(books, "r0")
    assert question.entries == tuple(range(first, first + MAX_ENTRIES_NAMED))


def test_a_release_is_asked_about():
    books = opened(cards=8)
    books.post([hour("a"), hour("b", "C")])
    books.release("b")
    numbers = (number_of(books, "b"), number_of(books, "b", "release"))
    assert asked(books) == [Question("released", "pcl", ("C",), 1, numbers)]


def test_what_is_found_often_is_one_question_with_a_count_and_its_first_entries():
    books = opened()
    for place in range(30):
        books.post([hour(f"{id_}{place}", start=EIGHT - place * HOUR) for id_ in "ab"])
    (question,) = asked(books)
    assert (question.kind, question.count) == ("repeated", 30)
    assert len(question.entries) == MAX_ENTRIES_NAMED
    assert question.entries[:2] == (number_of(books, "a0"), number_of(books, "b0"))


def test_each_kind_of_question_has_words():
    for kind in QUESTION_KINDS:
        text = str(Question(kind, "pcl", ("A", "B"), 1, (41, 57)))
        assert f"({kind}): pcl, contract A and B: entries 41, 57" in text


def test_an_enterprise_is_that_of_the_entry_which_raises_the_question():
    books = opened()
    books.post([hour("a"), hour("b", "B"), hour("d", cards=9), hour("x", cards=5)])
    books.post([hour("e", "B", cards=9), hour("y", "C", cards=5)], [void("d")])
    before = kinds(books)
    assert before == [("moved", ("A", "B")), ("repeated", ("A", "B"))]
    books.correct("B", enterprise=BETA)
    books.correct("C", enterprise=ALPHA)
    assert kinds(books) == before
    books.post([hour("z", cards=5), hour("f", cards=9)])
    assert kinds(books) == [*before, ("repeated", ("A", "C"))]


# What wants none


def test_ordinary_work_raises_no_question():
    books = opened(cards=24)
    books.post([hour("a", run="job-1"), hour("a2", run="job-2"), hour("c", "C")])
    books.post([hour(f"a.{n}", start=EIGHT + n * HOUR, run="job-1") for n in range(1, 4)])
    books.post([hour("new-year", start=NEXT_YEAR, run="job-1")])
    # An amendment of the devices, a void that is final, and slices that meet in a quarter.
    books.post([hour("a3", cards=7, run="job-2")], [void("a2")])
    books.void("c")
    books.post([minutes("m", -60, -7, 24), minutes("m2", -7, 0, 24)])
    assert asked(books) == []


def test_equal_hours_of_two_runs_or_of_two_enterprises_are_not_the_same_usage():
    books = opened()
    books.post([hour("a", run="job-1"), hour("a2", run="job-2"), hour("c", "C")])
    books.post([hour("c2", "C", run="job-3")], [void("a2")])
    assert kinds(books) == [("repeated", ("C",))]


def test_what_was_voided_can_be_posted_once_more():
    books = opened()
    books.post([hour("a", run="job-1")])
    books.post([hour("a2", run="job-1")], [void("a")])
    assert asked(books) == []


def test_what_a_reviewer_sees_anyway_is_not_asked_about_as_a_crowd():
    books = opened(cards=8)
    (result,) = books.post([minutes("a", 0, 10, 16)])
    assert result.withheld == "3.00"
    assert asked(books) == []


# Who is told


async def test_officials_ask_for_questions_of_all_or_of_one_subject(database, tmp_path):
    async with serving(database, tmp_path, now=NOW) as service:
        await service.open_books(lifted())
        await service.ask("/v1/contracts", **contract_body("B"))
        await service.usage([hour("a", run="job-1"), hour("d", cards=9)])
        await service.usage([], [void("a")], seq=2)
        await service.usage([hour("b", "B", run="job-1")], seq=3)
        await service.ask("/v1/contracts/A/freeze")
        body = {"provider": "pcl", "id": "d", "reason": "wrong"}
        await service.ask("/v1/records/void", **body)

        async def found(query: str = "") -> dict:
            answer = await service.get(f"/v1/questions{query}")
            assert answer.status == 200, answer.body
            return answer.json

        size = len(await service.entries())
        page = await found()
        assert [(each["kind"], each["contracts"]) for each in page["questions"]] == [
            ("frozen_void", ["A"]),
            ("moved", ["A", "B"]),
            ("shared_run", ["A", "B"]),
        ]
        assert (page["next"], page["more"], page["as_of"]["entries"]) == (size - 1, False, size)
        assert (await found(f"?enterprise={ALPHA}"))["questions"] == page["questions"]
        assert (await found("?provider=pcl"))["questions"] == page["questions"]
        assert (await found(f"?enterprise={BETA}"))["questions"] == []
        assert (await found("?provider=nobody"))["questions"] == []
        # A void is recognised although its record lies before what is read.
        entries = [entry.kind for entry in await service.entries()]
        after = entries.index("void") - 1
        assert [each["kind"] for each in (await found(f"?after={after}"))["questions"]] == [
            "frozen_void",
            "moved",
        ]
        assert (await found(f"?after={size - 1}"))["questions"] == []


async def test_a_crowd_is_seen_beside_what_the_tables_say_is_in_use(database, tmp_path):
    async with serving(database, tmp_path, now=NOW) as service:
        await service.open_books(lifted())
        enlisted = {"batch": "2025-1", "from": "2020-01-01", "until": "2025-12-01"}
        few = {"batch": "2025-2", "from": "2025-12-01", "until": "2027-01-01"}
        cards = {"2025-1": {DEVICE: 10_000_000}, "2025-2": {DEVICE: 8}}
        for batch in (enlisted, few):
            body = {"devices": cards[batch["batch"]], "enlisted": batch}
            await service.ask("/v1/providers/pcl/enlistments", **body)
        await service.usage([hour("whole", cards=4)])
        after = len(await service.entries()) - 1
        await service.usage([minutes("part", 3, 8, 4)], seq=2)
        await service.usage([minutes("more", 20, 25, 5)], seq=3)
        answer = await service.get(f"/v1/questions?after={after}")
        (question,) = answer.json["questions"]
        assert (question["kind"], question["entries"]) == ("crowded", [after + 4])


def shopped(*purchases: dict, books: Books | None = None) -> Books:
    """Return books with contracts K and L of purchases of one enterprise."""
    books = books or opened()
    text = shipped_text("corpus-coupon", "2024-12").replace("= 35", "= 3660")
    books.activate(text)
    books.vendor("szdex", uscc_of(71), "corpus-coupon")
    books.shop("K", "corpus-coupon", "szdex")
    books.shop("L", "corpus-coupon", "szdex")
    books.sell(*purchases)
    return books


def test_one_purchase_under_two_ids_is_asked_about_and_another_day_is_not():
    first = purchase("p", "K", "10.00", "2025-12-31")
    books = shopped(
        first, first | {"id": "q", "contract": "L"}, first | {"id": "o", "amount": "9.00"}
    )
    assert kinds(books) == [("repeated", ("K", "L"))]
    books.sell(voids=[void("p")])
    books.sell(first | {"id": "r", "delivered_on": "2025-12-30"})
    assert kinds(books) == [("repeated", ("K", "L"))]


def test_a_purchase_that_is_taken_back_and_sold_elsewhere_is_asked_about():
    books = shopped(purchase("p", "K", "10.00", "2025-12-31"))
    books.sell(voids=[void("p")])
    books.sell(purchase("q", "L", "10.00", "2025-12-31"))
    assert kinds(books) == [("moved", ("K", "L"))]


def test_a_purchase_that_one_batch_moves_into_the_next_year_is_asked_about():
    books = shopped(purchase("p", "K", "10.00", "2025-12-31"))
    books.sell(purchase("q", "K", "10.00", "2026-01-01"), voids=[void("p")])
    assert kinds(books) == [("moved", ("K",))]
