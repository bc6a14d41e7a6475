"""Policies, days, quarter-hours and yuan on paper, and records with what was decided of them."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, timezone
from fractions import Fraction
from functools import cache
from typing import Any

from tests.books import policy_text

SHANGHAI = timezone(timedelta(hours=8))
PROGRAMME = "training-coupon"
START = datetime(2026, 1, 5, 12, tzinfo=SHANGHAI)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
SECOND = timedelta(seconds=1)
QUARTER = timedelta(minutes=15)
YEARS = (2025, 2026)
# Of a cost, in the order in which it is told.
PARTS = (
    *("eligible", "withheld"),
    *("related_party", "use", "outside_policy", "outside_term", "not_enlisted"),
)
DAYS = [f"{START + timedelta(days=each):%Y-%m-%d}" for each in range(-400, 400)]

POLICIES: dict[str, dict[str, Any]] = {
    "v1": {
        "starts": "2025-06-01",
        "ends": "2026-12-18",
        "cap": "120.00",
        "pool": "200.00",
        "threshold": "80.00",
        "lateness": 40,
        "claim_months": 1,
    },
    "v2": {
        "starts": "2025-12-31",
        "ends": "2027-01-01",
        "standard": 3_333,
        "startup": 10_000,
        "combined_standard": 4_000,
        "combined_startup": 7_000,
        "cap": "60.00",
        "pool": "150.00",
        "threshold": "0.00",
        "months": 6,
        "uses": ["training", "research"],
        "lateness": 400,
        "claim_months": 2,
    },
    "v3": {
        "starts": "2026-01-01",
        "ends": "2026-12-25",
        "standard": 4_000,
        "startup": 7_001,
        "combined_standard": 9_000,
        "combined_startup": 9_000,
        "cap": "90.00",
        "pool": "180.00",
        "threshold": "0.00",
        "uses": ["training", "research"],
        "lateness": 40,
        "claim_months": 1,
    },
    "v4": {
        "starts": "2026-01-05",
        "ends": "2027-01-01",
        "cap": "60.00",
        "pool": "70.00",
        "threshold": "0.00",
        "uses": ["training"],
        "lateness": 40,
        "claim_months": 1,
    },
}
TAKING = {"v3": "2026-01-08"}  # from when versions take running contracts
PROPORTIONAL = {"v4"}
SOURCE = 'article = "1"\nstanding = "judgement"\n'
DEFAULTS: dict[str, Any] = {
    "standard": 5_000,
    "startup": 6_000,
    "combined_standard": 5_000,
    "combined_startup": 6_000,
    "months": 12,
    "uses": ["training"],
}
TEXTS = {name: policy_text(version=name, **figures) for name, figures in POLICIES.items()}
for _name, _day in TAKING.items():
    TEXTS[_name] += f'\n[transition]\nrunning = "take"\neffective = "{_day}"\n{SOURCE}'
for _name in PROPORTIONAL:
    TEXTS[_name] += f'\n[allocation]\nmode = "proportional"\n{SOURCE}'
# Awards draw on the same pool: half of a base, less other money, up to 40.00 for a project.
PRIZE = "prize"
PRIZE_CAP = "40.00"
PRIZE_TEXT = f"""
programme = "{PRIZE}"
version = "1"
title = "奖"
title_en = "Prize"
responsible = ["市"]
applicants = ["enterprise"]
group = "{PRIZE}"
meter = "award"
[validity]
from = "2025-01-01"
until = "2027-01-01"
article = "1"
standing = "judgement"
[[class]]
name = "standard"
title = "企业"
title_en = "Enterprise"
ratio = 5000
article = "1"
standing = "judgement"
[combined_support]
ratio = {{ standard = 5000 }}
article = "1"
standing = "judgement"
[cap]
per = "project"
amount = "{PRIZE_CAP}"
article = "1"
standing = "judgement"
[pool]
shared_with = "{PROGRAMME}"
article = "1"
standing = "judgement"
"""
TEXTS["v1 altered"] = policy_text(version="v1", **(POLICIES["v1"] | {"cap": "121.00"}))


def yuan(text: str) -> Fraction:
    return Fraction(text)


def down_to_a_fen(amount: Fraction) -> Fraction:
    return Fraction(amount * 100 // 1, 100)


def text(amount: Fraction) -> str:
    fen = amount * 100
    assert fen.denominator == 1
    return f"{'-' if fen < 0 else ''}{abs(fen.numerator) // 100}.{abs(fen.numerator) % 100:02d}"


def midnight(day: str) -> datetime:
    return datetime.fromisoformat(day).replace(tzinfo=SHANGHAI)


def moment(instant: str) -> datetime:
    return datetime.fromisoformat(instant)


class Refused(Exception):  # noqa: N818 - it is an answer
    """The model's `Problem`: its code is its text."""


@dataclass
class AcceptedRecord:
    """A record in the model: the JSON, its contract, and what was decided once.

    `enlisted` are the days on which its devices were, `short` the quarters in which it did not fit.
    """

    body: dict[str, Any]
    entry: int
    enlisted: set[str]
    short: list["Short"]
    voided: bool = False
    released: bool = False

    def withheld(self) -> list["Short"]:
        return [] if self.released else self.short

    def by_day(self) -> Iterator[tuple[str, int, int, int]]:
        """Yield day, device-time, what of it fits, and what is withheld."""
        whole, held = Counter[str](), Counter[str]()
        for quarter, time in quarters(self.body):
            whole[day_of(quarter)] += time
        for short in self.withheld():
            held[day_of(short.quarter)] += short.time
        for day, time in whole.items():
            yield day, time, time - held[day] if day in self.enlisted else 0, held[day]


@dataclass(frozen=True)
class Short:
    """A quarter in which this many thousandths × seconds did not fit, and the full limit."""

    quarter: int
    time: int
    limit: str


def years_of(policy: dict) -> range:
    last = midnight(policy["ends"]) - timedelta(seconds=1)
    return range(midnight(policy["starts"]).year, last.year + 1)


def later(day: str, months: int) -> str:
    """Count the months forward; step back to the last day of the month where there is none."""
    year, month, number = map(int, day.split("-"))
    for _ in range(months):
        year, month = (year + 1, 1) if month == 12 else (year, month + 1)
    while True:
        try:
            return f"{datetime(year, month, number, tzinfo=SHANGHAI):%Y-%m-%d}"
        except ValueError:
            number -= 1


def per(price: str | dict) -> str:
    return price["per"] if isinstance(price, dict) else "hour"


def price_on(contract: dict, device: str, day: str) -> Fraction:
    """Return what a device costs for an hour of a day, in yuan."""
    price = contract["prices"][device]
    for effective, prices in sorted(contract["later"], key=lambda each: each[0]):
        if effective <= day:
            price = prices.get(device, price)
    if per(price) == "hour":
        return Fraction(price)
    first = date.fromisoformat(f"{day[:7]}-01")
    following = date.fromisoformat(f"{later(day, 1)[:7]}-01")
    hours = 24 * (following - first).days if per(price) == "month" else 24
    return Fraction(price["amount"]) / hours


def quarters(body: dict) -> Iterator[tuple[int, int]]:
    """Yield thousandths × seconds in each quarter-hour that a record touches, by its number."""
    start, end = moment(body["start"]), moment(body["end"])
    number = (start - EPOCH) // QUARTER
    while start < end:
        number += 1
        until = min(end, EPOCH + number * QUARTER)
        yield number - 1, body["milli_devices"] * ((until - start) // SECOND)
        start = until


@cache
def day_of(quarter: int) -> str:
    return f"{(EPOCH + quarter * QUARTER).astimezone(SHANGHAI):%Y-%m-%d}"


def rounded(others: Fraction, worth: dict[str, Fraction]) -> dict[str, Fraction]:
    """Return by how many whole fen a cost grows with each part, on top of other usage."""
    parts = {}
    for part in PARTS:
        parts[part] = down_to_a_fen(others + worth[part]) - down_to_a_fen(others)
        others += worth[part]
    return parts


def evidence(short: list[Short]) -> list[list]:
    """Return runs of quarters and their limit; beyond 16 runs, the last holds all the rest."""
    runs: list[list[Short]] = []
    for each in short:
        before = runs[-1][-1] if runs else None
        if before and (before.limit, before.quarter + 1) == (each.limit, each.quarter):
            runs[-1].append(each)
        else:
            runs.append([each])
    told = [*runs[:15], [each for run in runs[15:] for each in run]]
    return [
        [
            run[0].limit,
            run[0].quarter * 900_000_000,
            (run[-1].quarter + 1) * 900_000_000,
            sum(each.time for each in run),
        ]
        for run in told
        if run
    ]


def meaning(body: dict) -> dict:
    """What makes two records of one id the same: the rest decides nothing."""
    times = {"start": moment(body["start"]), "end": moment(body["end"])}
    return times | {name: body[name] for name in ("contract", "device", "milli_devices")}
