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
    re.compile(r"(?P<why>.*) - at `\$\.(?P<name>\w+(\.\w+)*)[^`]*`", re.DOTALL),
    re.compile(r"Object missing required field `(?P<name>\w+)`"),
)


@dataclass(frozen=True, slots=True)
class Filled:
    """The fields of a form, and by field what is wrong."""

    values: Mapping[str, str] = field(default_factory=dict)
    faults: Mapping[str, str] = field(default_factory=dict)

    def value(self, name: str, default: str = "") -> str:
        """Return what stands in a field."""
        return self.values.get(name, default)


def refused(values: Mapping[str, str], problem: Problem) -> Filled:
    """Return a form with a problem of its command at the field that it is about."""
    for place in _PLACES:
        found = place.fullmatch(problem.detail)
        if problem.code == "malformed" and found is not None and found["name"] in values:
            return Filled(values, {found["name"]: found.groupdict().get("why", problem.detail)})
    return Filled(values, {NO_FIELD: problem.detail})


def seal(*figures: str) -> str:
    """Return what stands for the figures that a form shows."""
    return sha256("\n".join(figures).encode()).hexdigest()[:32]
