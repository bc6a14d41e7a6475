"""The examples of docs/policies.md are policies, and none is missing."""

import re
from importlib.resources import files
from pathlib import Path

import pytest

from meter.values.policy import Policy, shipped_text
from meter.values.policy_file import PolicyFile
from tests.books import SHIPPED, without_sections

PAGE = (Path(__file__).parents[1] / "docs/policies.md").read_text(encoding="utf-8")
HEAD, *SECTIONS = re.findall(r"^```toml\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def section_of(example: str) -> str:
    return re.match(r"\[+(\w+)\]", example)[1]


def test_each_section_of_the_schema_has_an_example():
    names = set(PolicyFile.__struct_encode_fields__)
    of_head = set(re.findall(r"^(\w+) =|^\[(\w+)\]", HEAD, re.MULTILINE))
    head = {name for pair in of_head for name in pair if name} - {"from", "until"}
    head -= {"article", "standing"}
    assert head | set(map(section_of, SECTIONS)) == names


@pytest.mark.parametrize("example", SECTIONS, ids=section_of)
def test_an_example_stands_in_a_policy(example):
    """With the shipped text for what it is about, with the page's head for awards."""
    section = section_of(example)
    before = Policy.parse(HEAD)
    if section in ("class", "age", "cap", "transition", "claims"):
        changed = Policy.parse(f"{HEAD}\n{example}")
    elif section == "rounding":  # of purchases, within a year
        text = shipped_text("corpus-coupon", "2024-12").replace('"2024-12-18"', '"2026-01-01"')
        before, changed = Policy.parse(text), Policy.parse(f"{text}\n{example}")
    else:
        before = Policy.parse(SHIPPED)
        has_it = re.search(rf"^\[{section}\]", SHIPPED, re.MULTILINE)
        text = without_sections(SHIPPED, section) if has_it else SHIPPED
        changed = Policy.parse(f"{text}\n{example}")
    same = {"combined_support", "startup", "threshold", "lateness", "enlistment"}
    is_owned = section == "pool" and "amount" in example
    assert (changed == before) == (section in same or is_owned)


def test_the_page_lists_the_files_that_come_with_kashi():
    shipped = {file.name for file in files("meter").joinpath("policies").iterdir()}
    listed = re.findall(r"^\| `([a-z-]+)` \| \(", PAGE, re.MULTILINE)
    assert {f"{name}-2024-12.toml" for name in listed} == shipped
