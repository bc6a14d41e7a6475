"""The policy files against the Measures: a table made by hand from their articles.

Sums are in thousand yuan. What the Measures do not say is our judgement and is marked so in the
files: stacking groups, and what a cap is counted by.
"""

from importlib.resources import files
from typing import NamedTuple

import pytest

from meter.values.policy import Policy
from meter.values.units import parse_instant

E, U, R, O = "enterprise", "university", "institute", "other"  # noqa: E741 - as in the table
ALL = (E, U, R, O)
STI, IIT, GSD, DRC = "科技创新局", "工业和信息化局", "政务服务和数据管理局", "发展改革委"
DISTRICTS = "区政府"


class Class(NamedTuple):
    """Basis points, or a fixed sum, and a cap of the class."""

    ratio: int | None = None
    fixed: int | None = None
    cap: int | None = None


class Row(NamedTuple):
    """A programme: `cap` is of the whole programme, `pool` a sum or the programme that owns it."""

    article: int
    applicants: tuple[str, ...]
    meter: str
    units: tuple[str, ...]
    classes: dict[str, Class]
    cap: int | None = None
    per: str | None = None
    once: bool = False
    pool: int | str | None = None
    group: str | None = None
    age: tuple[int, int] | None = None
    combined: int | None = None


ROWS = {
    "training-coupon": Row(
        2,
        (E, U, R),
        "device-time",
        (STI,),
        {"standard": Class(5000), "startup": Class(6000)},
        cap=10_000,
        per="applicant-year",
        pool=500_000,
        combined=None,  # from the guide: see `test_policy.py`
    ),
    "corpus-coupon": Row(
        3,
        (E,),
        "purchase",
        (GSD,),
        {"standard": Class(3000)},
        cap=2_000,
        per="applicant-year",
        pool=50_000,
    ),
    "corpus-reward": Row(
        3,
        ALL,
        "award",
        (GSD,),
        {"standard": Class()},
        cap=1_000,
        per="applicant-year",
        pool="corpus-coupon",
    ),
    "model-coupon": Row(
        4,
        (E,),
        "purchase",
        (IIT,),
        {"standard": Class(3000)},
        cap=2_000,
        per="applicant-year",
        pool=100_000,
    ),
    "application": Row(
        5,
        ALL,
        "award",
        (IIT,),
        {"demonstration": Class(3000, cap=2_000), "benchmark": Class(cap=10_000)},
        per="project",
        pool=100_000,
    ),
    "scenario": Row(
        6,
        (E,),
        "award",
        (GSD,),
        {"standard": Class()},
        cap=5_000,
        per="project",
        pool=50_000,
        group="application",
    ),
    "hardware": Row(
        7,
        (E,),
        "award",
        (IIT,),
        {"standard": Class()},
        cap=3_000,
        per="applicant-year",
        group="application",
    ),
    "software": Row(
        8,
        (E,),
        "award",
        (IIT,),
        {"standard": Class()},
        cap=10_000,
        per="project",
        group="application",
    ),
    "research": Row(
        9,
        (E, U, R),
        "award",
        (STI, IIT, DRC),
        {
            "major": Class(cap=10_000),
            "key": Class(cap=3_000),
            "general": Class(cap=600),
            "special": Class(5000, cap=30_000),
        },
        per="project",
        pool=300_000,
    ),
    "adaptation": Row(
        10,
        (E,),
        "award",
        (IIT, DISTRICTS),
        {"standard": Class(5000)},
        cap=3_000,
        per="applicant",
        combined=5000,
    ),
    "open-source": Row(11, ALL, "award", (IIT,), {"standard": Class()}, cap=1_000, per="applicant"),
    "platform": Row(
        12,
        ALL,
        "award",
        (IIT, DRC),
        {
            "new": Class(5000, cap=20_000),
            "running": Class(3000, cap=500),
            "national": Class(10000),
        },
        per="project",
    ),
    "laboratory": Row(
        13,
        (E, U, R),
        "award",
        (STI,),
        {"approved": Class(cap=5_000), "evaluated": Class(cap=3_000)},
        per="project",
    ),
    "park": Row(
        14,
        (E, O),
        "award",
        (IIT, DISTRICTS),
        {"recognised": Class(fixed=2_000), "excellent": Class(fixed=500)},
    ),
    "returnee": Row(
        15,
        (E,),
        "award",
        (STI,),
        {"first": Class(fixed=1_000), "second": Class(fixed=500), "third": Class(fixed=300)},
        per="applicant",
        once=True,
        age=(6, 48),
    ),
    "event": Row(18, ALL, "award", (IIT,), {"standard": Class(5000)}, cap=3_000, per="project"),
}

SHIPPED = {
    file.name: file.read_text("utf-8") for file in files("meter").joinpath("policies").iterdir()
}


def text_of(programme: str) -> str:
    return SHIPPED[f"{programme}-2024-12.toml"]


def fen(thousands: int | None) -> int | None:
    return None if thousands is None else thousands * 100_000


def test_each_paying_article_has_its_files_and_no_other_has_one():
    assert sorted(SHIPPED) == sorted(f"{programme}-2024-12.toml" for programme in ROWS)
    assert {row.article for row in ROWS.values()} == {*range(2, 16), 18}


@pytest.mark.parametrize("programme", ROWS)
def test_a_file_says_what_the_measures_say(programme):
    row, policy = ROWS[programme], Policy.parse(text_of(programme))
    assert (policy.programme, policy.version) == (programme, "2024-12")
    assert (policy.applicants, policy.meter) == (set(row.applicants), row.meter)
    assert policy.responsible == row.units
    assert policy.valid_from == parse_instant("2024-12-18T00:00:00+08:00")
    assert policy.valid_until == parse_instant("2026-12-18T00:00:00+08:00")
    assert {
        name: (each.ratio_bp, each.fixed, each.cap) for name, each in policy.classes.items()
    } == {name: (each.ratio, fen(each.fixed), fen(each.cap)) for name, each in row.classes.items()}
    assert policy.cap == fen(row.cap)
    assert policy.once == row.once
    assert policy.cap_per == (row.per or "applicant-year")
    shared = isinstance(row.pool, str)
    assert policy.pool_owner == (row.pool if shared else programme)
    assert policy.pool == (None if shared else fen(row.pool))
    assert policy.group == (row.group or programme)
    assert policy.age_months == row.age
    if programme != "training-coupon":
        assert policy.combined_bp == ({"standard": row.combined} if row.combined else {})


@pytest.mark.parametrize("programme", ROWS)
def test_a_file_names_its_article_beside_each_figure_of_the_measures(programme):
    text, article = text_of(programme), f"({ROWS[programme].article})"
    assert f"article {article}" in text.split("\n\n", 1)[0].replace("\n# ", " ") or (
        f"Articles {article}" in text
    )
    for section in text.split("\n\n")[2:]:
        name = section.split("]", 1)[0].strip("[")
        told = section.split('article = "', 1)[1].split('"', 1)[0]
        if 'standing = "measures"' in section and name != "validity":
            assert told.startswith(article), section


@pytest.mark.parametrize("programme", ROWS)
def test_a_file_says_that_group_and_per_are_our_judgement(programme):
    lines = text_of(programme).splitlines()
    judged = [line for line in lines if line.startswith(("group = ", "per = "))]
    assert len(judged) == 1 + (ROWS[programme].per is not None)
    assert all(line.endswith("# our judgement") for line in judged)


@pytest.mark.parametrize("programme", ROWS)
def test_classes_are_derived_for_what_is_metered_and_where_there_is_one(programme):
    policy = Policy.parse(text_of(programme))
    one = list(policy.classes) == ["standard"]
    derived = policy.derived_class("standard")
    assert derived == ("standard" if one or policy.meter != "award" else None)
