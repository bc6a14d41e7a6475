"""The policy file: the shipped figures, and texts that are not policies."""

import re

import pytest

from meter.values.policy import NO_LATENESS_SECONDS, USES, Policy
from meter.values.policy_file import MAX_POLICY_BYTES, MAX_POLICY_DOTS
from meter.values.problems import Problem
from meter.values.units import parse_instant
from tests.books import SHIPPED, policy_text, without_sections

AWARD = """\
programme = "prize"
version = "1"
title = "奖励"
title_en = "Prize"
responsible = ["工业和信息化局"]
applicants = ["enterprise"]
group = "prize"
meter = "award"

[validity]
from = "2024-12-18"
until = "2026-12-18"
article = "(1)"
standing = "measures"
"""
SOURCE = 'article = "(1)"\nstanding = "measures"\n'


def refusal(text: str) -> Problem:
    with pytest.raises(Problem) as refused:
        Policy.parse(text)
    assert (refused.value.code, refused.value.status) == ("bad_policy", 400)
    return refused.value


def section_refused(text: str) -> str:
    """Return the section that a refusal names, which its detail names too."""
    problem = refusal(text)
    assert problem.facts["section"] in problem.detail
    return problem.facts["section"]


def award(*sections: str) -> str:
    """Return the text of a programme of awards with further sections; each gets its source."""
    return "\n".join([AWARD, *(f"{section}\n{SOURCE}" for section in sections)])


def metered(*sections: str) -> str:
    """Return the shipped text with further sections; each gets its source."""
    return "\n".join([SHIPPED, *(f"{section}\n{SOURCE}" for section in sections)])


def class_of(name: str, *lines: str) -> str:
    return "\n".join(
        ["[[class]]", f'name = "{name}"', 'title = "类"', 'title_en = "Class"', *lines]
    )


def test_the_shipped_policy_has_the_figures_of_the_measures():
    policy = Policy.parse(SHIPPED)
    assert (policy.programme, policy.version, policy.title, policy.title_en) == (
        "training-coupon",
        "2024-12",
        "训力券",
        "Training coupon",
    )
    assert policy.valid_from == parse_instant("2024-12-18T00:00:00+08:00")
    assert policy.valid_until == parse_instant("2026-12-18T00:00:00+08:00")
    assert policy.ratio_bp == {"standard": 5_000, "startup": 6_000}
    assert policy.combined_bp == {"standard": 5_000, "startup": 6_000}
    assert policy.cap == 10_000_000 * 100
    assert policy.pool == 500_000_000 * 100
    assert policy.threshold == 500_000 * 100
    assert policy.startup_months == 12
    assert policy.eligible_uses == {"training"}
    assert policy.lateness_seconds == 35 * 24 * 3600
    assert policy.enlistment_required


def test_a_file_with_no_more_than_it_needs_limits_nothing():
    policy = Policy.parse(AWARD)
    assert list(policy.classes) == ["standard"]
    assert (policy.ratio_bp, policy.combined_bp) == ({}, {})
    assert (policy.cap, policy.cap_per, policy.once) == (None, "applicant-year", False)
    assert (policy.pool, policy.pool_owner) == (None, "prize")
    assert (policy.threshold, policy.startup_months, policy.age_months) == (0, 0, None)
    assert (policy.eligible_uses, policy.lateness_seconds) == (USES, NO_LATENESS_SECONDS)
    assert (policy.rounding, policy.prorate, policy.allocation) == ("fen", "none", "ordered")
    assert (policy.running, policy.takes_from, policy.claims) == ("keep", None, None)
    assert not policy.enlistment_required


def test_each_section_is_read():
    policy = Policy.parse(
        award(
            class_of("new", "ratio = 5000", 'cap = "20.00"'),
            class_of("held", 'fixed = "3.00"'),
            class_of("open"),
            '[cap]\nper = "project"\namount = "30.00"\nonce = true',
            '[pool]\nshared_with = "other"',
            "[age]\nfrom = 6\nuntil = 48",
            '[transition]\nrunning = "take"\neffective = "2026-01-01"',
            '[claims]\nmonths = 3\nevidence = ["invoice"]\ninvoice_base = "net"\nnotice_days = 5',
        )
    )
    figures = [(each.ratio_bp, each.fixed, each.cap) for each in policy.classes.values()]
    assert figures == [(5_000, None, 2_000), (None, 300, None), (None, None, None)]
    assert (policy.cap, policy.cap_per, policy.once) == (3_000, "project", True)
    assert (policy.pool, policy.pool_owner) == (None, "other")
    assert policy.age_months == (6, 48)
    assert policy.running == "take"
    assert policy.takes_from == parse_instant("2026-01-01T00:00:00+08:00")
    claims = policy.claims
    assert (claims.months, claims.evidence, claims.invoice_base) == (3, {"invoice"}, "net")
    assert claims.notice_days == 5


def test_combined_support_of_an_award_repeats_its_ratio():
    policy = Policy.parse(
        award(class_of("a", "ratio = 5000"), "[combined_support]\nratio = { a = 5000 }")
    )
    assert policy.combined_bp == {"a": 5_000}


def test_a_class_is_derived_or_named_by_the_award():
    assert Policy.parse(SHIPPED).derived_class("startup") == "startup"
    assert Policy.parse(SHIPPED).derived_class("standard") == "standard"
    one = Policy.parse(award(class_of("all", "ratio = 1", 'when = "standard"')))
    assert (one.derived_class("startup"), one.derived_class("standard")) == ("all", "all")
    named = Policy.parse(award(class_of("new", "ratio = 1")))
    assert (named.derived_class("startup"), named.derived_class("standard")) == (None, None)


def test_the_support_of_a_contract_is_that_of_all_public_money_or_its_ratio():
    assert Policy.parse(policy_text(combined_startup=7_000)).support_bp("startup") == 7_000
    alone = Policy.parse(without_sections(SHIPPED, "combined_support"))
    assert (alone.support_bp("standard"), alone.support_bp("startup")) == (5_000, 6_000)


def test_a_policy_touches_each_calendar_year_of_its_validity():
    assert list(Policy.parse(SHIPPED).years) == [2024, 2025, 2026]
    exact = policy_text(starts="2025-01-01", ends="2026-01-01")
    assert list(Policy.parse(exact).years) == [2025]
    by_a_day = policy_text(starts="2024-12-31", ends="2026-01-02")
    assert list(Policy.parse(by_a_day).years) == [2024, 2025, 2026]


def test_a_policy_touches_at_most_four_years():
    assert len(Policy.parse(policy_text(starts="2025-12-31", ends="2028-01-02")).years) == 4
    assert section_refused(policy_text(starts="2025-12-31", ends="2029-01-02")) == "validity"


@pytest.mark.parametrize("ends", ["2024-12-18", "2024-12-17", "1999-01-01"])
def test_a_validity_must_not_be_empty(ends):
    assert section_refused(policy_text(ends=ends)) == "validity"


@pytest.mark.parametrize(
    ("section", "figures"),
    [
        ("programme", {"programme": ""}),
        ("programme", {"programme": "Training"}),
        ("programme", {"programme": "a:b"}),
        ("programme", {"programme": "a" * 33}),
        ("version", {"version": ""}),
        ("version", {"version": "a b"}),
        ("version", {"version": "-1"}),
        ("meter", {"meter": "money"}),
        ("applicants", {"applicants": []}),
        ("applicants", {"applicants": ["person"]}),
        ("applicants", {"applicants": ["enterprise", "enterprise"]}),
        ("validity", {"starts": "2024-12-32"}),
        ("validity", {"starts": "2024-12-18T00:00:00Z"}),
        ("validity", {"ends": "soon"}),
        ("class", {"standard": -1}),
        ("class", {"standard": 10_001}),
        ("class", {"standard": "5000"}),
        ("class", {"startup": 10_001}),
        ("combined_support", {"combined_standard": 10_001}),
        ("combined_support", {"combined": {"standard": 5_000}}),
        ("combined_support", {"combined": {"standard": 1, "startup": 1, "other": 1}}),
        ("cap", {"cap": "10000000"}),
        ("cap", {"cap": 10_000_000}),
        ("cap", {"cap": "-1.00"}),
        ("pool", {"pool": "5e8"}),
        ("threshold", {"threshold": "500000.0"}),
        ("threshold", {"threshold": ""}),
        ("startup", {"months": -1}),
        ("startup", {"months": 121}),
        ("startup", {"months": "12"}),
        ("use", {"uses": "training"}),
        ("use", {"uses": [1]}),
        ("use", {"uses": ["mining"]}),
        ("use", {"uses": ["training", "training"]}),
        ("lateness", {"lateness": -1}),
        ("lateness", {"lateness": 3_661}),
        ("lateness", {"lateness": "35"}),
    ],
)
def test_a_figure_out_of_its_range_or_form_is_refused_with_its_section(section, figures):
    assert section_refused(policy_text(**figures)) == section


@pytest.mark.parametrize(
    "figures", [{"standard": 0}, {"standard": 10_000}, {"lateness": 0}, {"uses": []}]
)
def test_figures_at_the_edge_of_their_range_are_taken(figures):
    Policy.parse(policy_text(**figures))


@pytest.mark.parametrize(
    ("section", "text"),
    [
        # What says nothing about what the programme funds.
        ("age", metered("[age]\nfrom = 6\nuntil = 48")),
        ("threshold", award('[threshold]\namount = "1.00"')),
        ("use", award('[use]\neligible = ["training"]')),
        ("lateness", award("[lateness]\ndays = 35")),
        ("rounding", award('[rounding]\nmode = "fen"')),
        ("allocation", award('[allocation]\nmode = "ordered"')),
        ("enlistment", award("[enlistment]\nrequired = true")),
        ("enlistment", policy_text(meter="purchase")),
        ("combined_support", policy_text(combined={"Standard": 5_000, "startup": 6_000})),
        # Classes.
        ("class", without_sections(SHIPPED, "class", "startup", "combined_support")),
        ("class", award(class_of("a", "ratio = 1"), class_of("a", "ratio = 2"))),
        ("class", award(class_of("a", "ratio = 1", 'fixed = "1.00"'))),
        ("class", award(class_of("a", 'when = "standard"'), class_of("b"))),
        ("class", award(class_of("a", 'when = "startup"'), "[startup]\nmonths = 12")),
        ("class", award(class_of("a", 'when = "standard"'), class_of("b", 'when = "standard"'))),
        ("class", award(class_of("A"))),
        ("class", award(*(class_of(f"a{number}") for number in range(17)))),
        ("class", SHIPPED.replace("ratio = 5000", 'fixed = "1.00"')),
        ("class", SHIPPED.replace('when = "standard"', 'cap = "1.00"\nwhen = "standard"')),
        ("class", re.sub(r'when = ".*"\n', "", without_sections(SHIPPED, "startup"))),
        ("startup", without_sections(SHIPPED, "startup")),
        ("startup", award("[startup]\nmonths = 12")),
        # The others.
        ("transition", award('[transition]\nrunning = "take"')),
        ("transition", award('[transition]\nrunning = "keep"\neffective = "2026-01-01"')),
        ("transition", award('[transition]\nrunning = "stop"')),
        ("cap", award(class_of("a", 'cap = "1.00"'))),
        ("cap", award('[cap]\nper = "project"')),
        ("cap", award('[cap]\namount = "1.00"')),
        ("cap", SHIPPED.replace("applicant-year", "project")),
        ("cap", SHIPPED.replace("applicant-year", "applicant")),
        ("cap", SHIPPED.replace('amount = "10000000.00"', 'amount = "1.00"\nonce = true')),
        ("pool", award("[pool]")),
        ("pool", award('[pool]\namount = "1.00"\nshared_with = "other"')),
        ("pool", award('[pool]\nshared_with = "prize"')),
        ("combined_support", award("[combined_support]\nratio = {}")),
        ("combined_support", award("[combined_support]\nratio = { standard = 1 }")),
        (
            "combined_support",
            award(class_of("a", "ratio = 2"), "[combined_support]\nratio = { a = 1 }"),
        ),
        ("age", award("[age]\nfrom = 6\nuntil = 6")),
        ("age", award("[age]\nfrom = -1\nuntil = 6")),
        ("rounding", metered('[rounding]\nmode = "up"')),
        ("allocation", metered('[allocation]\nmode = "lottery"')),
        ("claims", award("[claims]\nmonths = 0")),
        ("claims", award('[claims]\nevidence = ["word"]')),
        ("claims", award('[claims]\nevidence = ["invoice", "invoice"]')),
    ],
)
def test_sections_that_contradict_each_other_are_refused(section, text):
    assert section_refused(text) == section


HEAD = ("programme", "version", "title", "title_en", "responsible", "applicants", "group", "meter")
OPTIONAL = ("combined_support", "cap", "pool", "threshold", "use", "lateness", "enlistment")
SECTIONS = re.findall(r"^\[+(\w+)\]", SHIPPED, re.MULTILINE)


@pytest.mark.parametrize("key", HEAD)
def test_no_line_of_the_head_can_be_left_out(key):
    text, found = re.subn(rf"(?m)^{key} = .*\n", "", SHIPPED, count=1)
    assert found == 1
    assert section_refused(text) == key


@pytest.mark.parametrize("line", ['article = "(1)"\n', 'standing = "measures"\n'])
@pytest.mark.parametrize(
    "section",
    [
        class_of("a"),
        '[transition]\nrunning = "keep"',
        '[cap]\nper = "project"\namount = "1.00"',
        '[pool]\namount = "1.00"',
        "[age]\nfrom = 6\nuntil = 48",
        "[claims]\nmonths = 6",
    ],
)
def test_each_section_names_its_article_and_its_standing(section, line):
    text = award(section)
    Policy.parse(text)
    before, after = text.rsplit(line, 1)
    name = re.search(r"\w+", section)[0]
    assert section_refused(before + after) == name
    rumour = text.replace('standing = "measures"', 'standing = "rumour"')
    assert section_refused(rumour) == "validity"


@pytest.mark.parametrize("section", sorted(set(SECTIONS)))
def test_no_section_can_be_doubled_or_have_another_key(section):
    one = re.search(rf"\[+{section}\].*?(?=\n\n\[|\Z)", SHIPPED, re.DOTALL)[0]
    refusal(f"{SHIPPED}\n{one}\n")
    assert section_refused(SHIPPED.replace(one, f"{one}\nextra = 1\n")) == section


@pytest.mark.parametrize("section", OPTIONAL)
def test_a_section_can_be_left_out(section):
    Policy.parse(without_sections(SHIPPED, section))


def test_a_validity_cannot_be_left_out_for_each_of_its_years_has_a_pool():
    assert section_refused(without_sections(SHIPPED, "validity")) == "validity"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "# nothing",
        "not toml",
        "\ufeff" + SHIPPED,
        "\x00",
        SHIPPED.replace("cap", "cap = 1 #", 1),
        SHIPPED + "\nx = 1",
        SHIPPED + "\n[more]\nx = 1",
        SHIPPED.replace("5000", "5000.0"),
        SHIPPED.replace("5000", "0.5"),
        SHIPPED.replace("5000", "true"),
        SHIPPED.replace("35", "35.0"),
        SHIPPED.replace('"2024-12-18"', "2024-12-18"),
        SHIPPED.replace("5000", "9" * 5000),
        SHIPPED.replace('"训力券"', "1979-05-27"),
        SHIPPED.replace('"训力券"', '"a\u202eb"'),
        'x = "\u202e"',
        '"\u202e" = 1',
        "x = " + "[" * 50_000,
        "x = " + "[" * 5_000 + "]" * 5_000,
        '"' * 1000,
    ],
)
def test_other_texts_are_not_policies(text):
    refusal(text)


def test_a_policy_has_a_largest_size():
    padding = MAX_POLICY_BYTES - len(SHIPPED.encode())
    Policy.parse(SHIPPED + "\n" + "#" * (padding - 1))
    assert "longer" in refusal(SHIPPED + "\n" + "#" * padding).detail
    # The size is in bytes: a Chinese character has three.
    assert "longer" in refusal(SHIPPED + "\n#" + "策" * (padding // 3 + 1)).detail


def test_a_policy_has_a_largest_number_of_dots_for_long_keys_take_long():
    dots = MAX_POLICY_DOTS - SHIPPED.count(".")
    Policy.parse(SHIPPED + "#" + "." * dots)
    assert "dots" in refusal(SHIPPED + "#" + "." * (dots + 1)).detail
    assert "dots" in refusal("a." * 14_990 + "a = 1").detail


def test_the_text_of_the_file_is_not_changed_by_reading_it():
    assert Policy.parse(SHIPPED) == Policy.parse(SHIPPED)
    assert Policy.parse(policy_text(cap="1.00")).cap == 100
