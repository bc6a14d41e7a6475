"""Allocations: a pool that is too small is divided among all who ask."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from ledger.canon import MAX_ENTRY_BYTES, encode
from meter.rules import commands
from meter.rules.entries import CouponAllotted
from meter.rules.kinds.allocations import allot
from meter.rules.kinds.table import command_of
from tests.auditing import audited
from tests.bending import bend_policy, found
from tests.books import (
    ALPHA,
    BETA,
    DEVICE,
    PROGRAMME,
    Books,
    balances,
    expected_balances,
    lifted,
    policy_text,
    properties,
    record,
    uscc_of,
    without_sections,
)
from tests.commanding import refusal
from tests.listening import replay
from tests.meter.test_policies import with_section
from tests.papers import Office
from tests.services import (
    HOUR,
    authorization,
    check_sums,
    contract_body,
    enterprise_body,
    key_body,
    provider_body,
    serving,
)
from tests.summing import summed, told
from tests.writer import Writer

SECTION = '[allocation]\nmode = "proportional"'
FIRMS = [uscc_of(number) for number in range(40, 100)]


def proportional(**figures) -> str:
    return with_section(SECTION, lifted(**figures))


def firms(books: Books, *names: str, amount: str = "1000000.00") -> Books:
    """Register enterprises, each with a contract."""
    books.provider()
    books.key()
    for number, uscc in enumerate(names):
        books.enterprise(uscc)
        books.contract(f"C{number}", enterprise=uscc, amount=amount)
    return books


def three(kind: type[Books] = Books, **figures) -> Books:
    """Return books of three enterprises, and a pool of 100.00."""
    books = kind()
    books.activate(proportional(**({"pool": "100.00"} | figures)))
    return firms(books, ALPHA, *FIRMS[:2])


def asking(*amounts: str) -> list[tuple[str, str]]:
    return list(zip((ALPHA, *FIRMS), amounts, strict=False))


def check(books: Books) -> None:
    *_, now = balances(books.entries)
    assert now == expected_balances(books.state)
    summed(told(books))


def issued(books: Books, number: int) -> list[int]:
    """Return the fen of the issues that follow an allocation."""
    following = [each for each in books.entries[number + 1 :] if isinstance(each, CouponAllotted)]
    assert {each.allocation for each in following} == {number}
    return [each.amount for each in following]


# The division


def test_a_pool_of_500_million_is_divided_among_60_who_ask_for_10_million_each():
    books = Books()
    books.activate(with_section(SECTION, policy_text(threshold="0.00")))
    firms(books, *FIRMS, amount="20000000.00")
    number = books.allocate(2025, *((uscc, "10000000.00") for uscc in FIRMS))
    assert issued(books, number) == [833_333_334] * 20 + [833_333_333] * 40
    assert sum(issued(books, number)) == 50_000_000_000
    assert books.entries[number].allotted == issued(books, number)
    check(books)


def test_fen_left_over_go_to_the_largest_remainders():
    books = three()
    number = books.allocate(2025, *asking("70.00", "50.01", "30.02"))
    assert issued(books, number) == [4_666, 3_333, 2_001]
    assert books.state.pools[PROGRAMME, 2025].issued == 10_000
    assert refusal(books.allocate, 2025, *asking("0.01")).code == "pool_exceeded"
    check(books)


def test_all_get_what_they_ask_for_where_it_fits():
    books = three()
    number = books.allocate(2025, *asking("50.00", "30.00", "20.00"))
    assert issued(books, number) == [5_000, 3_000, 2_000]
    check(books)


def test_what_is_left_after_one_allocation_is_divided_by_the_next():
    books = three()
    books.allocate(2025, *asking("60.00"))
    number = books.allocate(2025, (FIRMS[0], "40.00"), (FIRMS[1], "40.00"))
    assert issued(books, number) == [2_000, 2_000]
    check(books)


def test_the_last_fen_is_allotted():
    books = three(pool="0.01")
    number = books.allocate(2025, *asking("1.00"))
    assert issued(books, number) == [1]


def test_who_is_allotted_nothing_has_no_entry():
    books = three(pool="0.02")
    number = books.allocate(2025, *asking("1.00", "1.00", "1.00"))
    assert books.entries[number].allotted == [1, 1, 0]
    assert [each.enterprise for each in books.entries[number + 1 :]] == [ALPHA, FIRMS[0]]
    check(books)


@properties
@given(st.lists(st.integers(1, 10**9), min_size=1, max_size=40), st.integers(1, 10**10))
def test_a_division_gives_all_that_is_left_and_no_fen_beside_the_share(requests, left):
    allotted = allot(requests, left)
    total = sum(requests)
    assert sum(allotted) == min(total, left)
    for asked, fen in zip(requests, allotted, strict=True):
        share = min(Fraction(asked), Fraction(asked * left, total))
        assert abs(share - fen) < 1
        assert 0 <= fen <= asked


def test_equal_remainders_go_by_the_list():
    assert allot([1, 1, 1], 2) == [1, 1, 0]
    assert allot([3, 1, 3, 1], 4) == [2, 1, 1, 0]


# Grants, and the form of the entries


def test_an_issue_grants_what_waits_and_carries_the_allocations_hand():
    books = three()
    books.post([record("r", "C0", *HOUR, 8_000)])
    number = books.allocate(2025, *asking("30.00", "10.00"))
    made, first, second = books.entries[number:]
    assert first.postings == [
        (f"pool:{PROGRAMME}:2025", f"coupon:{PROGRAMME}:2025:{ALPHA}", 3_000),
        (f"coupon:{PROGRAMME}:2025:{ALPHA}", "accrued:C0:2025", 1_800),
    ]
    assert made.postings == []
    assert (first.by, first.at) == (second.by, second.at) == (made.by, made.at)
    assert len({made.salt, first.salt, second.salt}) == 3
    assert books.coupon(2025) == (3_000, 1_800, 1_800)
    check(books)


def test_the_largest_allocation_fits_into_an_entry():
    books = three()
    body = [(uscc_of(number), 10**15) for number in range(500)]
    entry = replace(
        books.entries[books.allocate(2025, *asking("1.00"))],
        programme="p" * 32,
        requests=body,
        allotted=[10**15] * 500,
        reason="因" * 500,
    )
    assert len(encode(entry)) <= MAX_ENTRY_BYTES


# What is refused


@pytest.mark.parametrize(
    ("requests", "code"),
    [
        (asking("0.00"), "malformed"),
        ([(ALPHA, "1.00"), (ALPHA, "1.00")], "malformed"),
        ([(ALPHA, "1.00"), (BETA, "1.00")], "unknown_enterprise"),
        (asking("1.00", "60.01"), "cap_exceeded"),
        (asking("1.00", "1.00", "50.01"), "above_need"),
    ],
)
def test_one_bad_request_refuses_all(requests, code):
    books = three(cap="60.00")
    books.state.contracts["C1"].terms.support_limit = 5_000
    books.fund_contract("C2", "499950.00")
    size = len(books.entries)
    problem = refusal(books.allocate, 2025, *requests)
    assert problem.code == code
    assert len(books.entries) == size
    if len({uscc for uscc, _ in requests}) == len(requests):
        assert requests[-1][0] in problem.detail


@pytest.mark.parametrize("requests", [[], [(FIRMS[0], "1.00")] * 501, [(FIRMS[0], 1)], [["x"]]])
def test_requests_in_another_form_are_malformed(requests):
    with pytest.raises(ValueError, match=r".+"):
        three().allocate(2025, *requests)


def test_a_pool_is_issued_in_one_way():
    books = three()
    assert refusal(books.issue, 2025, "1.00").code == "wrong_allocation"
    books.activate(lifted(version="ordered", pool="100.00"))
    books.issue(2025, "1.00")
    assert refusal(books.allocate, 2025, *asking("1.00")).code == "wrong_allocation"


def test_a_pool_of_no_stated_sum_needs_a_budget():
    books = Books()
    books.activate(with_section(SECTION, without_sections(lifted(), "pool")))
    firms(books, ALPHA)
    assert refusal(books.allocate, 2025, *asking("1.00")).code == "no_budget"
    books.budget(2025, "0.50")
    assert issued(books, books.allocate(2025, *asking("1.00"))) == [50]


def test_nothing_is_allocated_for_a_year_that_is_over():
    books = three(claim_months=6).at("2026-07-01T00:00:00+08:00")
    assert refusal(books.allocate, 2025, *asking("1.00")).code == "year_closed"


# What the sums and the audit find


def test_another_division_is_found():
    books = three()
    number = books.allocate(2025, *asking("70.00", "50.01", "30.02"))
    entries = told(books)
    other = entries[number] | {"allotted": [4_667, 3_333, 2_000]}
    found([*entries[:number], other], "sum_allocation", "4667", entry=number)


def test_a_firm_that_stands_in_an_allocation_twice_is_found():
    books = three()
    number = books.allocate(2025, *asking("70.00", "50.01", "30.02"))
    entries = told(books)
    requests = entries[number]["requests"]
    requests[1][0] = requests[0][0]
    found(entries, "sum_allocation", "are allotted, not", entry=number)


def test_what_two_persons_allocate_is_what_was_proposed():
    books = Office("2025-03-01T12:00:00+08:00")
    books.activate(proportional(pool="100.00"))
    firms(books, ALPHA, *FIRMS[:2])
    number = books.allocate(2025, *asking("70.00", "50.01", "30.02"))
    check(books)
    entries = told(books)
    entries[number - 1]["body"]["requests"][1][1] = "50.02"
    found(entries[: number + 1], "sum_persons", "not what entry", entry=number)


def test_an_issue_that_is_missing_of_another_sum_or_alone_is_found():
    books = three()
    number = books.allocate(2025, *asking("70.00", "50.01", "30.02"))
    *entries, last = told(books)
    found(entries, "sum_allocation", "missing", entry=number)
    found([*entries[:-1], last], "sum_allocation", "enterprise", entry=number + 2)
    found([*entries, last | {"amount": 2_000}], "sum_allocation", "2001", entry=number + 3)
    found([*entries, last | {"by": "li-1"}], "sum_allocation", "li-1", entry=number + 3)
    found([*entries, last, last], "sum_allocation", "no issue is left", entry=number + 4)
    found([*entries, entries[1]], "sum_allocation", "missing", entry=number + 3)


def test_an_allocation_under_a_policy_that_divides_nothing_is_found():
    books = three()
    number = books.allocate(2025, *asking("70.00", "50.01", "30.02"))
    entries = told(books)
    entries[1]["content"] = entries[1]["content"].replace(SECTION, '[allocation]\nmode = "ordered"')
    found(entries, "sum_allocation", "2025 is not proportional", entry=number)


def test_what_two_codes_of_a_firm_ask_for_together_is_within_its_cap():
    books = three(cap="60.00")
    books.succeed(FIRMS[0], FIRMS[1])
    asked = [(FIRMS[0], "30.00"), (FIRMS[1], "30.01")]
    problem = refusal(books.allocate, 2025, *asked)
    assert (problem.code, problem.detail) == (
        "cap_exceeded",
        f"{FIRMS[0]}: 60.01 is above 60.00",
    )
    bend_policy(books, cap=10**9)
    number = books.allocate(2025, *asked)
    found(books, "sum_cap", "6001", "6000", entry=number)


def test_a_single_issue_of_a_divided_pool_is_found():
    ordered = Books()
    ordered.activate(lifted(pool="100.00"))
    firms(ordered, ALPHA)
    number = ordered.issue(2025, "1.00")
    entries = told(ordered)
    entries[1]["content"] = proportional(pool="100.00")
    found(entries, "sum_allocation", "single", entry=number)


@pytest.mark.parametrize(
    ("lie", "code", "behind"),
    [
        (lambda entry: replace(entry, amount=entry.amount + 1), "not_as_decided", 1),
        (lambda entry: replace(entry, salt="00" * 16), "not_as_decided", 1),
        (lambda _: None, "batch_incomplete", 0),
    ],
)
def test_an_audit_finds_an_issue_that_does_not_follow(lie, code, behind):
    writer = three(Writer)
    writer.tell = lambda _, entry: lie(entry) if isinstance(entry, CouponAllotted) else entry
    number = writer.allocate(2025, *asking("1.00"))
    (finding,) = audited(writer)[0].findings
    assert (finding.code, finding.entry) == (code, number + behind)


def test_an_audit_finds_an_issue_without_an_allocation():
    writer = three(Writer)
    number = writer.allocate(2025, *asking("1.00"))
    again = replace(writer.entries[-1], at=writer.now)
    writer.write(again)
    (finding,) = audited(writer)[0].findings
    assert (finding.code, finding.entry) == ("unexpected_entry", number + 2)


# Over HTTP


async def open_pool(service) -> None:
    await service.activate(proportional(pool="100.00"))
    await service.ask("/v1/providers", **provider_body(devices={DEVICE: 1_000}))
    await service.ask("/v1/providers/pcl/keys", **key_body("pcl-1"))
    for number, uscc in enumerate((ALPHA, BETA)):
        await service.ask("/v1/enterprises", **enterprise_body(uscc))
        await service.ask("/v1/contracts", **contract_body(f"C{number}", enterprise=uscc))


async def test_an_allocation_is_one_decision_that_is_repeated_and_told(database, tmp_path):
    body = {
        "programme": PROGRAMME,
        "year": 2025,
        "requests": [[ALPHA, "90.00"], [BETA, "60.00"]],
    }
    async with serving(database, tmp_path) as service:
        await open_pool(service)
        assert (await service.post("/v1/allocations", body, None)).code == "idempotency_key_needed"
        made = await service.post("/v1/allocations", body, "k")
        assert (made.status, made.json["allotted"]) == (201, "100.00")
        size = service.intake.watermark.size
        assert made.json["entry"] == size - 3
        again = await service.post("/v1/allocations", body, "k")
        assert (again.body, service.intake.watermark.size) == (made.body, size)
        for uscc, amount in ((ALPHA, "60.00"), (BETA, "40.00")):
            balance = await service.balance(2025, uscc)
            assert balance["issued"] == amount
            firm = await authorization(service, f"firm-{uscc[-1]}", "enterprise", uscc)
            if uscc == BETA:  # whose entry is the last
                heard = await replay(service, firm.removeprefix("Bearer "))
                (told_,) = heard.named("coupon.issued")
                assert (told_["amount"], told_["issued"]) == (amount, amount)
                assert "90.00" not in str(heard.events)
                assert ALPHA not in str(heard.events)
        await check_sums(service.dsn)
    async with serving(database, tmp_path) as service:
        again = await service.post("/v1/allocations", body, "k")
        assert again.body == made.body
        assert (await service.post("/v1/allocations", body, "new")).code == "pool_exceeded"


def test_the_command_of_an_allocation_is_its_entrys():
    books = three()
    number = books.allocate(2025, *asking("1.00"))
    command = command_of(books.entries[number])
    assert isinstance(command, commands.AllocatePool)
    assert command.requests == [(ALPHA, 100)]
