"""Awards and projects: the worked examples, each limit, who may have them, and changes."""

from typing import Any

import pytest

from meter.rules.decide_command import response_to
from meter.views.decisions import decision_of
from tests.awarding import NOW, POOL, granting, shipped
from tests.books import (
    ALPHA,
    BETA,
    PROVIDER_USCC,
    Books,
    balances,
    expected_balances,
    lifted,
    opened,
    uscc_of,
    without_sections,
)
from tests.commanding import field_of, refusal
from tests.fuzz.ledgers import audit
from tests.summing import summed, told
from tests.writer import Writer


def check(books: Books) -> None:
    """Check the balances, and let the sums and the audit judge the books."""
    *_, now = balances(books.entries)
    assert now == expected_balances(books.state)
    summed(told(books))


# Worked examples


def test_a_platform_gets_half_of_45_million_up_to_20_and_a_running_one_30_percent():
    books = granting("platform")
    new = {"named": "new", "project": "P", "base": "45000000.00"}
    assert refusal(books.award, "A", "platform", "20000000.01", **new).code == "cap_exceeded"
    books.award("A", "platform", "20000000.00", **new)
    books.project("Q")
    running = {"named": "running", "project": "Q", "base": "1600000.01"}
    assert refusal(books.award, "B", "platform", "480000.01", **running).code == "above_need"
    books.award("B", "platform", "480000.00", **running)
    assert books.coupon(2025, programme="platform").granted == 2_048_000_000
    check(books)


def test_an_adaptation_of_5_million_with_a_million_of_the_district_gets_1_500_000():
    books = granting("adaptation")
    books.fund("1000000.00")
    terms = {"project": "P", "base": "5000000.00"}
    problem = refusal(books.award, "A", "adaptation", "1500000.01", **terms)
    assert (problem.code, problem.detail) == ("above_need", "1500000.00 can be awarded")
    books.award("A", "adaptation", "1500000.00", **terms)
    assert books.entries[-1].postings == [
        ("pool:adaptation:2025", f"coupon:adaptation:2025:{ALPHA}", 150_000_000),
        (f"coupon:adaptation:2025:{ALPHA}", "accrued:A:2025", 150_000_000),
    ]
    check(books)


def audited() -> Books:
    """Return books of a project that was audited at 3,000,000.00 and has money of others."""
    books = granting("event", "software")
    books.fund("900000.00", reference="国1号", level="national")
    books.fund("1200000.00", reference="区1号")
    books.audit("3000000.00")
    return books


def test_an_audited_project_with_national_money_leaves_the_city_1_800_000():
    books = audited()
    terms = {"project": "P", "base": "9000000.00"}
    problem = refusal(books.award, "A", "event", "1800000.01", **terms)
    assert (problem.code, problem.status) == ("project_ceiling", 422)
    assert problem.detail == "1800000.00 are left of the audited investment"
    books.award("A", "event", "1800000.00", **terms)
    check(books)


def test_the_ceiling_of_a_project_counts_the_awards_of_all_programmes_and_years():
    books = audited()
    books.fund("100000.00", reference="市1号", level="municipal")
    books.award("A", "event", "700000.00", project="P", base="9000000.00")
    assert refusal(books.award, "B", "software", "1000000.01", project="P").code == (
        "project_ceiling"
    )
    books.award("B", "software", "900000.00", project="P", year=2026)
    assert refusal(books.change_award, "B", "1000000.01").code == "project_ceiling"
    books.change_award("B", "1000000.00")
    books.audit("1.00")
    assert refusal(books.change_award, "B", "1000000.01").detail.startswith("0.00 are left")
    books.change_award("B", "5.00")
    check(books)


def test_what_is_awarded_is_issued_and_granted_at_once_and_so_is_its_change():
    books = granting("event")
    terms = {"project": "P", "base": "9000000.00"}
    for act, fen in (
        (lambda: books.award("A", "event", "700.00", **terms), 70_000),
        (lambda: books.award("B", "event", "50.00", **terms), 75_000),
        (lambda: books.change_award("A", "600.00"), 65_000),
        (lambda: books.change_award("B", "0.00"), 60_000),
    ):
        act()
        assert books.coupon(2025, programme="event") == (fen, fen, fen)
        assert books.state.pools["event", 2025].issued == fen
    check(books)


def test_a_change_that_is_asked_again_is_the_last_of_its_amount():
    books = audited()
    books.award("A", "event", "700000.00", project="P", base="9000000.00")
    for amount in ("600000.00", "500000.00", "400000.00"):
        entry = books.change_award("A", amount)
        assert entry == len(books.entries) - 1
        assert books.change_award("A", amount) == entry


def test_a_project_that_others_overpaid_leaves_the_city_nothing():
    books = granting("event")
    books.fund("1.00", reference="国1号", level="national")
    books.fund("5.00", reference="区1号")
    books.audit("3.00")
    problem = refusal(books.award, "A", "event", "0.01", project="P", base="10.00")
    assert (problem.code, problem.detail[:13]) == ("project_ceiling", "0.00 are left")


def test_a_project_without_national_money_or_audit_has_no_ceiling():
    books = audited()
    books.fund("0.00", reference="国1号", level="national")
    books.award("A", "event", "2000000.00", project="P", base="9000000.00")
    books.project("Q")
    books.fund("5.00", project="Q", level="provincial")
    books.award("B", "event", "2000000.00", project="Q", base="9000000.00")
    check(books)


def test_the_audit_decides_awards_again():
    books = granting("platform", "adaptation", books=Writer(NOW))
    books.fund("1.00")
    books.audit("9.00")
    books.award("A", "adaptation", "5.00", project="P", base="12.00")
    books.award("B", "platform", "5.00", project="P", base="12.00", named="new")
    books.change_award("A", "0.00")
    books.change_award("B", "6.00")
    audit(books)


def test_two_persons_make_and_change_an_award_and_a_question_tells_a_large_one():
    books = Books(NOW, ("wang", "li"))
    budget = {"programme": "platform", "year": 2025, "amount": "9000000.00", "document": "12号"}
    made = {
        "id": "A",
        "programme": "platform",
        "class": "new",
        "enterprise": ALPHA,
        "project": "P",
        "year": 2025,
        "base": "4000000.00",
        "amount": "1000000.01",
        "document": "评审意见",
    }
    text = shipped("platform")
    policy = {"programme": "platform", "version": "2024-12", "content": text}
    raised = {"award": "A", "amount": "1000000.02", "reason": "found by the audit"}
    lowered = raised | {"amount": "1000000.00"}
    assert refusal(books.fund, "1.00").code == "two_persons_needed"
    books.enterprise()
    questions = []
    for command, body in [
        ("policy", policy),
        ("budget", budget),
        ("project", {"id": "P", "title": "平台"}),
        ("award", made),
        ("award_change", raised),
        ("award_change", lowered),
    ]:
        number = books.confirm(books.propose(command, "wang-1", **body), "li-1")
        decision = decision_of(books.state, number, books.entries[number])
        questions += [] if decision is None else [decision.detail]
    by = "by li, proposed by wang"
    assert questions == [
        f"policy platform 2024-12, {by}",
        f"award A of 1000000.01 to {ALPHA} for platform 2025, {by}",
        f"award A, now of 1000000.02, {by}",
    ]
    check(books)


# Limits


def test_other_public_money_lowers_an_award_only_where_the_policy_counts_all_together():
    books = granting("event")
    books.fund("1000000.00")
    books.award("A", "event", "50.00", project="P", base="100.00")
    check(books)


def test_the_newest_sum_of_a_reference_counts_and_references_add_up():
    books = granting("adaptation")
    books.fund("40.00")
    books.fund("30.00", reference="2号", level="national")
    books.fund("10.00")
    terms = {"project": "P", "base": "100.00"}
    assert refusal(books.award, "A", "adaptation", "10.01", **terms).code == "above_need"
    books.fund("0.00")
    books.award("A", "adaptation", "20.00", **terms)
    assert books.state.projects["P"].sums() == {"1号": ("district", 0), "2号": ("national", 3_000)}
    check(books)


def test_more_other_money_than_the_award_leaves_nothing():
    books = granting("adaptation")
    books.fund("900.00")
    problem = refusal(books.award, "A", "adaptation", "0.01", project="P", base="100.00")
    assert (problem.code, problem.detail) == ("above_need", "0.00 can be awarded")


def test_a_cap_of_a_project_counts_all_its_awards_and_that_of_a_class_those_of_the_class():
    books = granting("research")
    major, key = {"named": "major", "project": "P"}, {"named": "key", "project": "P"}
    books.award("A", "research", "9000000.00", **major)
    problem = refusal(books.award, "B", "research", "1000000.01", **major)
    assert (problem.code, problem.detail) == ("cap_exceeded", "1000000.00 are left")
    books.award("B", "research", "3000000.00", **key)
    books.award("C", "research", "1000000.00", year=2026, **major)
    assert refusal(books.award, "D", "research", "0.01", **major).code == "cap_exceeded"
    books.project("Q")
    books.award("D", "research", "10000000.00", **(major | {"project": "Q"}))
    check(books)


def test_a_cap_of_an_applicant_and_year_counts_one_year_and_that_of_an_applicant_all():
    books = granting("hardware", "open-source")
    books.award("A", "hardware", "2000000.00")
    assert refusal(books.award, "B", "hardware", "1000000.01").code == "cap_exceeded"
    books.award("B", "hardware", "3000000.00", year=2026)
    books.award("C", "open-source", "999999.99")
    assert refusal(books.award, "D", "open-source", "0.02", year=2026).code == "cap_exceeded"
    books.award("D", "open-source", "0.01", year=2026)
    books.enterprise(BETA)
    books.award("E", "open-source", "1000000.00", enterprise=BETA)
    check(books)


def test_a_fixed_sum_is_the_most_and_without_a_cap_it_is_given_again():
    books = granting("park")
    assert refusal(books.award, "A", "park", "2000000.01", named="recognised").code == "above_need"
    books.award("A", "park", "2000000.00", named="recognised")
    books.award("B", "park", "500000.00", named="excellent")
    books.award("C", "park", "500000.00", named="excellent", year=2026)
    check(books)


def test_what_is_given_once_is_not_given_again_unless_it_was_taken_back():
    books = Books("2019-12-01T12:00:00+08:00")
    text = shipped("returnee").replace("2024-12-18", "2019-12-18")
    books.activate(text.replace("2026-12-18", "2021-12-18"))
    books.enterprise()
    for year in (2020, 2021):
        books.budget(year, POOL, programme="returnee")
    third = {"named": "third", "year": 2020}
    books.award("A", "returnee", "300000.00", **third)
    problem = refusal(books.award, "B", "returnee", "1.00", **(third | {"year": 2021}))
    assert (problem.code, "award A" in problem.detail) == ("cap_exceeded", True)
    books.change_award("A", "0.00")
    books.award("B", "returnee", "300000.00", **(third | {"year": 2021}))
    assert refusal(books.change_award, "A", "1.00").code == "cap_exceeded"
    check(books)


@pytest.mark.parametrize(
    ("now", "code"),
    [
        ("2019-09-30T23:59:59+08:00", "not_applicant"),
        ("2019-10-01T00:00:00+08:00", None),
        ("2023-03-31T23:59:59+08:00", None),
        ("2023-04-01T00:00:00+08:00", "not_applicant"),
    ],
)
def test_an_age_is_counted_in_months_from_the_founding_to_the_award_half_open(now, code):
    books = Books(now)
    text = without_sections(shipped("returnee"), "claims").replace("2024-12-18", "2020-01-01")
    books.activate(text.replace("2026-12-18", "2022-01-01"))
    books.enterprise(founded_on="2019-04-01")
    books.budget(2020, POOL, programme="returnee")
    award = {"named": "third", "year": 2020}
    if code is None:
        books.award("A", "returnee", "300000.00", **award)
        check(books)
    else:
        problem = refusal(books.award, "A", "returnee", "300000.00", **award)
        assert (problem.code, "founded on 2019-04-01" in problem.detail) == (code, True)


def test_an_award_needs_a_budget_and_comes_from_the_pool():
    books = granting("software", budget="100.00")
    assert refusal(books.award, "A", "software", "100.01", project="P").code == "pool_exceeded"
    books.award("A", "software", "60.00", project="P")
    assert refusal(books.award, "B", "software", "40.01", project="P").code == "pool_exceeded"
    books.activate(shipped("event"))
    problem = refusal(books.award, "C", "event", "1.00", project="P", base="9.00")
    assert problem.code == "no_budget"
    check(books)


def test_a_reward_shares_the_pool_of_another_programme():
    books = opened(lifted(programme="corpus-coupon", pool="100.00"))
    books.activate(shipped("corpus-reward"))
    books.contract("C", programme="corpus-coupon")
    books.issue(2025, "60.00", programme="corpus-coupon")
    assert refusal(books.award, "A", "corpus-reward", "40.01").code == "pool_exceeded"
    books.award("A", "corpus-reward", "40.00")
    assert books.entries[-1].postings[0][0] == "pool:corpus-coupon:2025"
    assert refusal(books.issue, 2025, "0.01", programme="corpus-coupon").code == "pool_exceeded"
    check(books)


def test_programmes_of_one_group_do_not_fund_one_project_together():
    books = granting("application", "software", "event")
    books.award("A", "application", "1.00", project="P", named="benchmark")
    problem = refusal(books.award, "B", "software", "1.00", project="P")
    assert (problem.code, "award A" in problem.detail) == ("stacked", True)
    books.award("C", "event", "1.00", project="P", base="2.00")
    books.award("D", "application", "1.00", project="P", named="benchmark")
    books.project("Q")
    books.award("E", "software", "1.00", project="Q")
    for name in "AD":
        books.change_award(name, "0.00")
    books.award("B", "software", "1.00", project="P")
    assert refusal(books.change_award, "A", "1.00").code == "stacked"
    check(books)


# Who, and for what


@pytest.mark.parametrize(
    ("programme", "changes", "code"),
    [
        ("nothing", {}, "unknown_programme"),
        ("event", {"enterprise": BETA}, "unknown_enterprise"),
        ("event", {"year": 2027}, "unknown_year"),
        ("event", {"project": "none"}, "unknown_project"),
        ("application", {"named": "best"}, "unknown_class"),
        ("training-coupon", {}, "wrong_meter"),
        ("event", {"id": "a"}, "looks_alike"),
        ("event", {"id": "P"}, "exists_differently"),
    ],
)
def test_an_award_is_refused_with_one_code(programme, changes, code):
    books = granting("event", "application", "training-coupon")
    books.award("A", "event", "1.00", project="P", base="2.00")
    body = {"id": "B", "project": "P", "base": "2.00"} | changes
    assert refusal(books.award, body.pop("id"), programme, "1.00", **body).code == code


@pytest.mark.parametrize(
    ("programme", "changes", "field"),
    [
        ("event", {"amount": "0.00"}, "amount"),
        ("event", {"named": "standard"}, "class"),
        ("application", {}, "class"),
        ("event", {"base": None}, "base"),
        ("event", {"project": None}, "project"),
        ("adaptation", {"project": None}, "project"),
    ],
)
def test_an_award_names_what_its_policy_needs_and_no_more(programme, changes, field):
    books = granting("event", "application", "adaptation")
    body: dict[str, Any] = {"project": "P", "base": "2.00", "amount": "1.00"} | changes
    body = {name: value for name, value in body.items() if value is not None}
    problem = refusal(books.award, "A", programme, body.pop("amount"), **body)
    assert field_of(problem) == ("malformed", field)


def test_an_organisation_that_a_programme_does_not_fund_gets_no_award():
    books = granting("software")
    books.enterprise(BETA, applicant="university")
    problem = refusal(books.award, "A", "software", "1.00", project="P", enterprise=BETA)
    assert problem.code == "not_applicant"


def test_a_class_follows_from_the_founding_where_the_policy_says_when():
    books = granting("event")
    classes = "".join(
        f'[[class]]\nname = "{name}"\ntitle = "类"\ntitle_en = "C"\nwhen = "{name}"\n'
        f'ratio = {ratio}\narticle = "(1)"\nstanding = "judgement"\n\n'
        for name, ratio in (("standard", 1_000), ("startup", 2_000))
    )
    startup = '[startup]\nmonths = 12\narticle = "(1)"\nstanding = "judgement"\n'
    head, cap = shipped("event").split("[[class]]")[0], shipped("event").split("\n\n")[-1]
    text = head.replace("2024-12", "young", 1) + classes + startup + "\n" + cap
    books.activate(text.replace('version = "2024-12"', 'version = "young"'))
    books.enterprise(BETA, founded_on="2024-03-02")
    for uscc, most, name in ((ALPHA, "10.00", "standard"), (BETA, "20.00", "startup")):
        terms = {"project": "P", "base": "100.00", "enterprise": uscc}
        assert refusal(books.award, name, "event", f"{most[:-1]}1", **terms).code == "above_need"
        number = books.award(name, "event", most, **terms)
        told_class = response_to(books.state, number, books.entries[number])["class"]
        assert (books.entries[-1].derived, told_class) == (name, name)
    check(books)


def test_contracts_awards_and_projects_share_one_space_of_ids():
    books = opened(lifted())
    books.activate(shipped("event"))
    books.budget(2025, POOL, programme="event")
    books.contract("A")
    books.project("P")
    books.award("B", "event", "1.00", project="P", base="2.00")
    award = {"project": "P", "base": "2.00"}
    for name in "APB":
        assert refusal(books.contract, name, amount="7.00").code == "exists_differently"
        assert refusal(books.award, name, "event", "2.00", **award).code == "exists_differently"
        assert refusal(books.project, name, title="另").code == "exists_differently"
        assert refusal(books.contract, name.lower()).code == "looks_alike"
        assert refusal(books.award, name.lower(), "event", "1.00", **award).code == "looks_alike"
        assert refusal(books.project, name.lower()).code == "looks_alike"


def test_equal_content_makes_no_second_entry():
    books = granting("event")
    number = books.award("A", "event", "1.00", project="P", base="2.00")
    assert books.award("A", "event", "1.00", project="P", base="2.00") == number
    assert books.project() == books.state.projects["P"].entry
    changed = books.change_award("A", "0.50")
    assert books.change_award("A", "0.50") == changed


def test_a_computing_centre_may_apply_for_research_and_not_for_what_it_serves():
    books = opened(lifted())
    books.activate(shipped("research"))
    books.enterprise(PROVIDER_USCC)
    books.project()
    books.award("A", "research", "1.00", enterprise=PROVIDER_USCC, named="key", project="P")
    assert refusal(books.contract, "C", enterprise=PROVIDER_USCC).code == "role_conflict"
    assert refusal(books.issue, 2025, "1.00", PROVIDER_USCC).code == "role_conflict"
    books.contract("A2")
    assert refusal(books.provider, "sz", uscc=ALPHA).code == "role_conflict"
    books.enterprise(BETA)
    books.contract("B", enterprise=BETA)
    assert refusal(books.provider, "sz", uscc=BETA).code == "role_conflict"
    books.enterprise(uscc_of(3))
    books.provider("sz", uscc=uscc_of(3))
    check(books)


def test_coupons_of_awards_are_not_issued_or_withdrawn_by_hand():
    books = granting("event")
    books.award("A", "event", "1.00", project="P", base="2.00")
    assert refusal(books.issue, 2025, "1.00", programme="event").code == "wrong_meter"
    assert refusal(books.withdraw, 2025, "1.00", programme="event").code == "wrong_meter"
    books.provider()
    assert refusal(books.contract, "C", programme="event").code == "wrong_meter"


# Changes


def test_an_award_is_raised_within_its_limits_and_lowered_freely():
    books = granting("event", budget="60.00")
    books.award("A", "event", "10.00", project="P", base="100.00")
    books.award("B", "event", "5.00", project="P", base="100.00")
    assert refusal(books.change_award, "A", "50.01").code == "above_need"
    books.change_award("A", "50.00")
    assert refusal(books.change_award, "B", "10.01").code == "pool_exceeded"
    books.change_award("A", "3.00")
    assert books.entries[-1].postings == [
        ("accrued:A:2025", f"coupon:event:2025:{ALPHA}", 4_700),
        (f"coupon:event:2025:{ALPHA}", "pool:event:2025", 4_700),
    ]
    books.change_award("B", "50.00")
    award = books.state.awards["A"]
    assert [fen for _, fen in award.amounts] == [1_000, 5_000, 300]
    assert [award.amount_at(size) for size in (award.entry, award.entry + 1, 10**6)] == [
        *(0, 1_000, 300)
    ]
    assert refusal(books.change_award, "C", "1.00").code == "unknown_award"
    check(books)


def test_what_a_lowered_award_frees_above_a_lowered_budget_goes_to_the_treasury():
    books = granting("research")
    books.award("A", "research", "1000.00", project="P", named="key")
    lower = shipped("research").replace('amount = "300000000.00"', 'amount = "400.00"')
    books.activate(lower.replace('version = "2024-12"', 'version = "lower"'))
    assert refusal(books.change_award, "A", "1000.01").code == "pool_exceeded"
    books.change_award("A", "100.00")
    assert books.entries[-1].postings[2] == (
        "pool:research:2025",
        "treasury:research:2025",
        60_000,
    )
    check(books)


def test_a_raise_is_judged_by_the_newest_policy():
    books = granting("platform")
    books.award("A", "platform", "1.00", project="P", named="national", base="9.00")
    text = shipped("platform").replace('version = "2024-12"', 'version = "next"')
    books.activate(text.replace('name = "national"', 'name = "other"'))
    assert refusal(books.change_award, "A", "2.00").code == "unknown_class"
    books.change_award("A", "0.50")
    check(books)
