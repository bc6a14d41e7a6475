"""What a form shows when it is not taken: what was filled in, and what is wrong with which field.

A form that changes something shows figures before it is confirmed. Their seal goes with it: where
they are others by then, nothing is done, and the new ones are shown (409).
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Final

from meter.values.problems import Problem

NO_FIELD: Final = ""  # what is wrong with the form as a whole
SEAL: Final = "seal"  # the field that holds it
_PLACES: Final = (
    re.compile(r".* - at `\$\.(?P<name>\w+(\.\w+)*)[^`]*`", re.DOTALL),
    re.compile(r"Object missing required field `(?P<name>\w+)`"),
)
# What a field takes, by its name, where that is more than a text.
TAKES: Final[Mapping[str, str]] = {
    **dict.fromkeys(("amount", "tax", "part"), "money"),
    **dict.fromkeys(("issued_on", "paid_on", "returned_on", "from", "until"), "date"),
    **dict.fromkeys(("seller", "buyer", "uscc"), "uscc"),
    **dict.fromkeys(("sha256", "delivery"), "sha256"),
    **dict.fromkeys(("id", "bank", "reference", "bank_reference", "token"), "id"),
    **dict.fromkeys(("keyid", "project", "award", "item", "claim"), "id"),
    **dict.fromkeys(("number", "red_number"), "invoice"),
    "month": "month",
    "url": "url",
    "reason": "long",
    "outcome": "choice",
}


@dataclass(frozen=True, slots=True)
class Filled:
    """The fields of a form, and by field what is wrong."""

    values: Mapping[str, str] = field(default_factory=dict)
    faults: Mapping[str, str] = field(default_factory=dict)

    def value(self, name: str, default: str = "") -> str:
        """Return what stands in a field."""
        return self.values.get(name, default)


def refused(
    values: Mapping[str, str], problem: Problem, detail: str, words: Mapping[str, str]
) -> Filled:
    """Return a form with a problem of its command at the field that it is about.

    `detail` is the problem's, in the language of the words.
    """
    name = place_of(values, problem)
    if name != NO_FIELD:
        return Filled(values, {name: fault(name, values[name], words)})
    named = str(problem.facts.get("field", ""))
    return Filled(values, {named if named in values else NO_FIELD: detail})


def place_of(values: Mapping[str, str], problem: Problem) -> str:
    """Return the field of a form that a malformed command is about; `NO_FIELD` where none is."""
    for place in _PLACES:
        found = place.fullmatch(problem.detail)
        if problem.code == "malformed" and found is not None and found["name"] in values:
            return found["name"]
    return NO_FIELD


def fault(name: str, text: str, words: Mapping[str, str]) -> str:
    """Return what is said of a field that is not taken: that it is empty, or what it takes."""
    return words[f"fault_{TAKES.get(name, 'text')}" if text.strip() else "fault_needed"]


def seal(*figures: str) -> str:
    """Return what stands for the figures that a form shows."""
    return sha256("\n".join(figures).encode()).hexdigest()[:32]
