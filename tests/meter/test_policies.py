"""Policies in force: what is refused at activation, pools with an owner, and who may apply."""

import pytest

from meter.values.problems import Problem
from tests.books import (
    ALPHA,
    BETA,
    PROGRAMME,
    SHIPPED,
    Books,
    balances,
    expected_balances,
    lifted,
    opened,
    policy_text,
    record,
    without_sections,
)
from tests.commanding import refusal
from tests.services import HOUR, contract_body, coupon_body, serving
from tests.summing import found, summed, told

SOURCE = 'article = "(1)"\nstanding = "measures"\n'


def with_section(section: str, text: str = SHIPPED) -> str:
    return f"{text}\n{section}\n{SOURCE}"


def sharing(programme: str = "sharing", owner: str = PROGRAMME, **figures) -> str:
    """Return a policy that shares the pool of another programme."""
    text = without_sections(lifted(programme=programme, **figures), "pool")
    return f'{text}\n[pool]\nshared_with = "{owner}"\n{SOURCE}'


@pytest.mark.parametrize(
    "text",
    [
        with_section('[rounding]\nmode = "yuan-per-step"'),
        with_section('[rounding]\nprorate = "days"'),
    ],
)
def test_device_time_is_cut_at_the_fen_and_counts_on_its_own_days(text):
    problem = refusal(Books().activate, text)
    assert (problem.code, problem.status) == ("bad_policy", 400)
    assert problem.facts == {"section": "rounding"}
    assert problem.detail.startswith("rounding: ")


@pytest.mark.parametrize(
    "section",
    [
        '[transition]\nrunning = "keep"',
        '[rounding]\nmode = "fen"',
        '[allocation]\nmode = "ordered"',
        '[allocation]\nmode = "proportional"',
    ],
)
def test_a_section_that_says_what_is_done_anyhow_is_taken(section):
    Books().activate(with_section(section))


# Pools


def test_programmes_that_share_a_pool_use_its_owners_accounts():
    books = opened(lifted(pool="100.00"))
    books.activate(sharing())
    assert books.entries[-1].postings == []
    books.contract("A")
    books.contract("B", programme="sharing")
    books.issue(2025, "60.00")
    assert refusal(books.issue, 2025, "40.01", programme="sharing").code == "pool_exceeded"
    books.issue(2025, "40.00", programme="sharing")
    assert books.entries[-1].postings == [
        (f"pool:{PROGRAMME}:2025", f"coupon:sharing:2025:{ALPHA}", 4_000)
    ]
    assert refusal(books.issue, 2025, "0.01").code == "pool_exceeded"
    books.withdraw(2025, "0.01", programme="sharing")
    books.issue(2025, "0.01")
    pool = books.state.pools[PROGRAMME, 2025]
    assert (pool.amount, pool.issued, pool.programmes) == (10_000, 10_000, [PROGRAMME, "sharing"])
    assert ("sharing", 2025) not in books.state.pools
    *_, now = balances(books.entries)
    assert now == expected_balances(books.state)
    summed(told(books))


def test_a_shared_pool_that_is_lowered_gets_back_what_is_withdrawn_by_any_programme():
    books = opened(lifted(pool="100.00"))
    books.activate(sharing())
    books.contract("B", programme="sharing")
    books.issue(2025, "100.00", programme="sharing")
    books.activate(lifted(version="next", pool="30.00"))
    books.withdraw(2025, "80.00", programme="sharing")
    assert books.entries[-1].postings == [
        (f"coupon:sharing:2025:{ALPHA}", f"pool:{PROGRAMME}:2025", 8_000),
        (f"pool:{PROGRAMME}:2025", f"treasury:{PROGRAMME}:2025", 7_000),
    ]
    summed(told(books))


def test_a_pool_is_shared_with_a_programme_in_force_that_has_one_of_its_own():
    books = Books()
    assert refusal(books.activate, sharing()).code == "unknown_programme"
    books.activate(lifted())
    books.activate(sharing())
    problem = refusal(books.activate, sharing("third", owner="sharing"))
    assert (problem.code, problem.facts) == ("pool_owner", {"section": "pool"})


def test_the_owner_of_a_programmes_pool_stays():
    books = Books()
    books.activate(lifted())
    books.activate(lifted(programme="other"))
    books.activate(sharing())
    for text in (
        lifted(programme="sharing", version="next"),
        sharing(version="next", owner="other"),
        sharing(PROGRAMME, owner="other", version="next"),
    ):
        assert refusal(books.activate, text).code == "pool_owner"
    books.activate(sharing(version="next", cap="1.00"))


def test_the_sums_find_a_pool_that_gets_another_owner():
    books = Books()
    books.activate(lifted())
    books.activate(lifted(programme="other"))
    books.activate(sharing())
    books.activate(sharing(version="next"))
    entries = told(books)
    summed(entries)
    entries[-1]["content"] = sharing(version="next", owner="other")
    found(entries, "sum_policy", "the pool of sharing has another owner")


def test_a_shared_pool_has_the_years_of_its_owner():
    books = opened(lifted(starts="2025-01-01", ends="2026-01-01"))
    books.activate(sharing())
    books.contract("B", programme="sharing")
    books.issue(2025, "1.00", programme="sharing")
    assert refusal(books.issue, 2026, "1.00", programme="sharing").code == "unknown_year"
    books.activate(lifted(version="next"))
    books.issue(2026, "1.00", programme="sharing")
    assert books.state.pools[PROGRAMME, 2026].programmes == [PROGRAMME, "sharing"]


def test_without_a_pool_nothing_is_issued_before_there_is_a_budget():
    books = opened(without_sections(lifted(), "pool"))
    books.contract("A")
    assert books.entries[1].postings == []
    assert refusal(books.issue, 2025, "1.00").code == "no_budget"
    summed(told(books))


# What a file does not limit


def test_without_a_cap_only_the_pool_limits_a_coupon():
    books = opened(without_sections(lifted(), "cap"))
    books.contract("A", amount="1200000000.00")
    books.issue(2025, "500000000.00")
    assert refusal(books.issue, 2025, "0.01").code == "pool_exceeded"
    summed(told(books))


def test_without_combined_support_other_public_money_lowers_nothing():
    books = opened(without_sections(lifted(), "combined_support"))
    books.contract("A")
    books.fund_contract("A", "1000000.00")
    assert books.state.contracts["A"].terms.support_limit == 50_000_000


def test_without_a_list_of_uses_each_use_is_funded():
    books = opened(without_sections(lifted(), "use"))
    books.contract("A", use="other")
    books.issue(2025, "1.00")
    assert books.state.contracts["A"].touches(2025)
    summed(told(books))


# Who may apply


def test_an_organisation_that_a_programme_does_not_fund_has_no_contract_under_it():
    books = opened(policy_text(applicants=["university", "institute"]))
    problem = refusal(books.contract, "A")
    assert (problem.code, problem.status) == ("not_applicant", 422)
    assert "institute, university" in problem.detail
    books.enterprise(BETA, applicant="university")
    books.contract("A", enterprise=BETA)


def test_another_body_is_registered_and_no_applicant_of_the_training_coupon():
    books = opened()
    books.enterprise(BETA, applicant="other")
    assert refusal(books.contract, "A", enterprise=BETA).code == "not_applicant"


@pytest.mark.parametrize("use", ["mining", "Training", "training ", ""])
def test_a_use_outside_the_closed_list_is_refused(use):
    with pytest.raises(ValueError, match="enum"):
        opened().contract("A", use=use)


def test_an_unknown_section_is_named_in_the_problem_document():
    with pytest.raises(Problem) as refused:
        Books().activate(with_section("[lottery]\nprize = 1"))
    assert refused.value.document()["section"] == "lottery"


# Over HTTP


async def test_a_shared_pool_lists_the_coupons_of_all_its_programmes(database, tmp_path):
    async with serving(database, tmp_path) as service:
        await service.open_books(lifted(pool="100.00", cap="90.00"), issued="60.00")
        text = without_sections(sharing(), "cap")
        await service.ask("/v1/policies", programme="sharing", version="test", content=text)
        await service.ask("/v1/contracts", **contract_body("B", programme="sharing"))
        coupon = coupon_body(2025, "40.01") | {"programme": "sharing"}
        assert (await service.post("/v1/coupons", coupon)).code == "pool_exceeded"
        await service.ask("/v1/coupons", **(coupon | {"amount": "40.00"}))
        await service.usage([record("r", "B", *HOUR, 8_000)])
        pools = (await service.get("/v1/pools")).json["pools"]
        assert [each["programme"] for each in pools] == [PROGRAMME] * 3
        assert (pools[1]["issued"], pools[1]["left"], pools[1]["granted"]) == (
            *("100.00", "0.00", "18.00"),
        )
        assert pools[1]["programmes"] == [PROGRAMME, "sharing"]
        for query, found in (("", 2), ("?programme=sharing", 1), (f"?programme={PROGRAMME}", 1)):
            coupons = (await service.get(f"/v1/coupons{query}")).json["coupons"]
            assert len(coupons) == found
        balance = f"/v1/enterprises/{ALPHA}/balance?year=2025&programme="
        assert "cap" not in (await service.get(balance + "sharing")).json
        assert (await service.get(balance + PROGRAMME)).json["cap"] == "90.00"
        refused = await service.post(
            "/v1/policies",
            {"programme": "x", "version": "1", "content": with_section("[age]\nfrom = 6")},
        )
        assert (refused.code, refused.json["section"]) == ("bad_policy", "age")


def test_a_version_of_a_policy_is_spelled_as_no_other_is():
    books = opened(lifted(version="Next"))
    for version in ("NEXT", "next", "Next."):
        assert refusal(books.activate, lifted(version=version)).code == "looks_alike"
    books.activate(lifted(version="next", programme="other"))
