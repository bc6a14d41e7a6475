"""The policy file: the shipped figures, and texts that are not policies."""

import re
import tomllib

import pytest

from meter.values.policy import MAX_POLICY_BYTES, MAX_POLICY_DOTS, Policy
from meter.values.problems import Problem
from meter.values.units import parse_instant
from tests.books import SHIPPED, policy_text


def refusal(text: str) -> str:
    with pytest.raises(Problem) as refused:
        Policy.parse(text)
    assert (refused.value.code, refused.value.status) == ("bad_policy", 400)
    return refused.value.detail


def test_the_shipped_policy_has_the_figures_of_the_measures():
    policy = Policy.parse(SHIPPED)
    assert (policy.programme, policy.version, policy.title) == (
        "training-coupon",
        "2024-12",
        "训练券",
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


def test_each_figure_names_its_article_and_its_standing():
    tables = [value for value in tomllib.loads(SHIPPED).values() if isinstance(value, dict)]
    assert len(tables) == 9
    for table in tables:
        assert table["article"]
        assert table["standing"] in {"measures", "guide", "practice", "judgement"}


def test_a_policy_touches_each_calendar_year_of_its_validity():
    assert list(Policy.parse(SHIPPED).years) == [2024, 2025, 2026]
    exact = policy_text(starts="2025-01-01", ends="2026-01-01")
    assert list(Policy.parse(exact).years) == [2025]
    by_a_day = policy_text(starts="2024-12-31", ends="2026-01-02")
    assert list(Policy.parse(by_a_day).years) == [2024, 2025, 2026]


def test_a_policy_touches_at_most_four_years():
    assert len(Policy.parse(policy_text(starts="2025-12-31", ends="2028-01-02")).years) == 4
    assert "years" in refusal(policy_text(starts="2025-12-31", ends="2029-01-02"))


@pytest.mark.parametrize("ends", ["2024-12-18", "2024-12-17", "1999-01-01"])
def test_a_validity_must_not_be_empty(ends):
    refusal(policy_text(ends=ends))


@pytest.mark.parametrize(
    "figures",
    [
        {"programme": ""},
        {"programme": "Training"},
        {"programme": "a:b"},
        {"programme": "a" * 33},
        {"programme": "a\n"},
        {"version": ""},
        {"version": "a b"},
        {"version": "-1"},
        {"starts": "2024-12-32"},
        {"starts": "2024-12-18T00:00:00Z"},
        {"ends": "soon"},
        {"standard": -1},
        {"standard": 10_001},
        {"standard": "5000"},
        {"startup": 10_001},
        {"combined_standard": 10_001},
        {"cap": "10000000"},
        {"cap": 10_000_000},
        {"cap": "-1.00"},
        {"pool": "5e8"},
        {"threshold": "500000.0"},
        {"threshold": ""},
        {"months": -1},
        {"months": 121},
        {"months": "12"},
        {"uses": "training"},
        {"uses": [1]},
        {"lateness": -1},
        {"lateness": 3_661},
        {"lateness": "35"},
    ],
)
def test_a_figure_out_of_its_range_or_form_is_refused(figures):
    refusal(policy_text(**figures))


@pytest.mark.parametrize(
    "figures", [{"standard": 0}, {"standard": 10_000}, {"lateness": 0}, {"uses": []}]
)
def test_figures_at_the_edge_of_their_range_are_taken(figures):
    Policy.parse(policy_text(**figures))


SECTIONS = re.findall(r"^\[(\w+)\]", SHIPPED, re.MULTILINE)
LINES = re.findall(r"^\w+ = .*$", SHIPPED, re.MULTILINE)


@pytest.mark.parametrize("line", sorted(set(LINES)))
def test_no_line_can_be_left_out(line):
    assert f"\n{line}\n" in SHIPPED
    refusal(SHIPPED.replace(f"\n{line}\n", "\n", 1))


@pytest.mark.parametrize("section", SECTIONS)
def test_no_section_can_be_left_out_doubled_or_have_another_key(section):
    assert len(SECTIONS) == 9
    one = re.search(rf"\[{section}\].*?(?=\n\n\[|\Z)", SHIPPED, re.DOTALL)[0]
    refusal(SHIPPED.replace(one, ""))
    refusal(f"{SHIPPED}\n{one}\n")
    refusal(SHIPPED.replace(one, f"{one}\nextra = 1\n"))
    refusal(SHIPPED.replace(one, one.replace("standing = ", "standing = 'rumour' #")))


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
    assert "longer" in refusal(SHIPPED + "\n" + "#" * padding)
    # The size is in bytes: a Chinese character has three.
    assert "longer" in refusal(SHIPPED + "\n#" + "策" * (padding // 3))


def test_a_policy_has_a_largest_number_of_dots_for_long_keys_take_long():
    dots = MAX_POLICY_DOTS - SHIPPED.count(".")
    Policy.parse(SHIPPED + "#" + "." * dots)
    assert "dots" in refusal(SHIPPED + "#" + "." * (dots + 1))
    assert "dots" in refusal("a." * 14_990 + "a = 1")


def test_the_text_of_the_file_is_not_changed_by_reading_it():
    assert Policy.parse(SHIPPED) == Policy.parse(SHIPPED)
    assert Policy.parse(policy_text(cap="1.00")).cap == 100
