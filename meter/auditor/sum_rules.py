"""What policy files say, read anew for the independent sums; a part of `auditor.sums`.

Nothing of the core is used here: a file is read from its text, dates are those of a calendar, and
ratios are fractions.
"""

import tomllib
from calendar import monthrange
from dataclasses import dataclass
from datetime import date
from fractions import Fraction
from typing import Any

from meter.auditor.sum_claims import days_of


@dataclass(frozen=True, slots=True)
class Rules:
    """What a policy file says, in fen and as fractions; None where it sets no limit.

    `classes` are the names of the derived ones: by `standard` and `startup`.
    """

    version: str
    meter: str
    applicants: list[str]
    valid: range
    classes: dict[str, str]
    ratio: dict[str, Fraction]
    combined: dict[str, Fraction] | None
    cap: int | None
    pool: int | None
    owner: str
    threshold: int
    startup_months: int
    uses: list[str] | None
    claims: dict[str, Any] | None
    needs_enlistment: bool
    takes: int | None  # the day from which it holds for contracts of earlier versions
    sections: dict[str, dict[str, Any]]  # of the classes, by name
    per: str
    once: bool
    age: tuple[int, int] | None
    group: str
    is_proportional: bool
    by_days: bool  # what a service costs counts by its days
    in_yuan: bool  # each step is cut at the yuan

    @property
    def years(self) -> range:
        return years_of(self.valid)


def read_rules(text: str) -> Rules:
    file = tomllib.loads(text)
    classes = file.get("class", [])
    return Rules(
        version=file["version"],
        meter=file["meter"],
        applicants=file["applicants"],
        valid=days_of(file["validity"]),
        classes=(
            {each["when"]: each["name"] for each in classes if "when" in each}
            if classes
            else {"standard": "standard"}
        ),
        ratio=_ratios({each["name"]: each["ratio"] for each in classes if "ratio" in each}),
        combined=_ratios(file["combined_support"]["ratio"]) if "combined_support" in file else None,
        cap=_fen(file, "cap"),
        pool=_fen(file, "pool"),
        owner=file.get("pool", {}).get("shared_with", file["programme"]),
        threshold=_fen(file, "threshold") or 0,
        startup_months=file.get("startup", {}).get("months", 0),
        uses=file["use"]["eligible"] if "use" in file else None,
        claims=file.get("claims"),
        needs_enlistment=file.get("enlistment", {}).get("required", False),
        takes=_taking_day(file.get("transition", {})),
        sections={each["name"]: each for each in classes} or {"standard": {}},
        per=file.get("cap", {}).get("per", ""),
        once=file.get("cap", {}).get("once", False),
        age=(file["age"]["from"], file["age"]["until"]) if "age" in file else None,
        group=file["group"],
        is_proportional=file.get("allocation", {}).get("mode") == "proportional",
        by_days=file.get("rounding", {}).get("prorate") == "days",
        in_yuan=file.get("rounding", {}).get("mode") == "yuan-per-step",
    )


def _taking_day(transition: dict[str, Any]) -> int | None:
    if transition.get("running") != "take":
        return None
    return date.fromisoformat(transition["effective"]).toordinal()


def _ratios(basis_points: dict[str, int]) -> dict[str, Fraction]:
    return {name: Fraction(value, 10_000) for name, value in basis_points.items()}


def _fen(file: dict[str, Any], section: str) -> int | None:
    amount = file.get(section, {}).get("amount")
    return None if amount is None else yuan(amount)


def rules_of(contract: dict[str, Any], versions: list[Rules]) -> Rules | None:
    """Return the rules on the day of the signing, else on the first day that has any."""
    term = days_of(contract)
    # Within the term, the first day with any rules is its own first or one on which some begin.
    days = [term.start, *sorted(rules.valid.start for rules in versions)]
    signed = date.fromisoformat(contract["signed_on"]).toordinal()
    for day in (signed, *(day for day in days if day in term)):
        for rules in reversed(versions):  # the newest one first
            if day in rules.valid:
                return rules
    return None


def yuan(text: str) -> int:
    """Return fen."""
    return int(Fraction(text) * 100)


def months_after(day: date, months: int) -> date:
    """Return the same day some months later, or the month's last (Civil Code, article 202)."""
    years, month = divmod(day.month - 1 + months, 12)
    year, month = day.year + years, month + 1
    return date(year, month, min(day.day, monthrange(year, month)[1]))


def class_on(enterprise: dict[str, Any], day: date, rules: Rules) -> str:
    """Return the derived class; a startup was founded less than the policy's months before."""
    standard = rules.classes["standard"]
    founded = date.fromisoformat(enterprise["founded_on"])
    is_young = day < months_after(founded, rules.startup_months)
    is_startup = is_young and enterprise["applicant"] == "enterprise"
    return rules.classes.get("startup", standard) if is_startup else standard


def funds_use(rules: Rules, contract: dict[str, Any]) -> bool:
    return rules.uses is None or contract["use"] in rules.uses


def versions_of(own: Rules, activated: list[Rules]) -> list[tuple[range, Rules]]:
    """Return the rules that hold for contracts of some rules, each with its days."""
    versions = [(own.valid, own)]
    for rules in activated[activated.index(own) + 1 :]:
        if rules.takes is not None:
            cut = (
                (range(days.start, min(days.stop, rules.takes)), each) for days, each in versions
            )
            begin = max(rules.takes, rules.valid.start)
            versions = [(days, each) for days, each in cut if days]
            versions.append((range(begin, rules.valid.stop), rules))
    return versions


def years_of(days: range) -> range:
    first, last = (date.fromordinal(day) for day in (days.start, days.stop - 1))
    return range(first.year, last.year + 1)
