"""The amendment of a contract that was used on many days: decided, and applied to the state.

Each amendment corrects the prices, so all usage is rated anew, by day and kind of device. The
rules run in this process alone, as `meter/intake.py` calls them; the usage is in memory.
"""

import json
import time
from dataclasses import dataclass, field
from statistics import median

from meter.rules.commands import AmendContract
from meter.rules.decide_command import decide_command
from meter.rules.evolve import evolve
from meter.rules.kinds.kind import Existing, Stamp
from meter.values.strict import decode_request
from meter.values.units import DAY_SECONDS, parse_instant
from tests.bench.report import Bar, Curve, Line, Say, Section, Table, ms
from tests.bench.scale import Scale
from tests.bench.servers import Server
from tests.books import Books, lifted, opened, record, salt_of

FROM, UNTIL = "2024-12-18", "2026-12-18"  # the validity of the policy, 730 days
BEGINS = parse_instant(f"{FROM}T00:00:00+08:00")
DAYS = (31, 183, 365, 730)
KINDS = (1, 4)
PRICES = ("4.40", "4.50")
AMENDMENTS_PER_ROUND = 10

BAR_SECONDS = 0.05


@dataclass
class Case:
    """A contract that was used on each of some days, by 8 cards of each kind; times in seconds."""

    days: int
    kinds: int
    decided: list[float] = field(default_factory=list)
    applied: list[float] = field(default_factory=list)

    @property
    def devices(self) -> list[str]:
        return [f"kind-{number}" for number in range(self.kinds)]

    @property
    def both(self) -> list[float]:
        return [sum(each) for each in zip(self.decided, self.applied, strict=True)]

    def measure(self, amendments: int) -> None:
        """Amend the contract again and again; each amendment changes the cost of every day."""
        books = self._used()
        for number in range(amendments):
            command, stamp = self._correction(number), _stamp(books, number)
            began = time.perf_counter()
            entry = decide_command(books.state, command, stamp)
            decided = time.perf_counter()
            assert not isinstance(entry, Existing)
            evolve(books.state, entry)
            self.applied.append(time.perf_counter() - decided)
            self.decided.append(decided - began)
            assert entry.cost != 0, "all of the usage has another price"

    def _used(self) -> Books:
        """Return books with the contract, and a record of each day and kind."""
        books = opened(lifted(), now=f"{UNTIL}T12:00:00+08:00")
        cards = dict.fromkeys(self.devices, 1_000)
        books.enlist("all", cards, FROM, UNTIL)
        prices = dict.fromkeys(self.devices, PRICES[-1])
        terms = {"signed_on": FROM, "starts": FROM, "ends": UNTIL}
        books.contract("A", amount="100000000.00", prices=prices, max_devices=cards, **terms)
        books.issue(2025, "1000000.00")
        for device in self.devices:
            begins = ((day, BEGINS + day * DAY_SECONDS) for day in range(self.days))
            results = books.post(
                [
                    record(f"{device}:{day}", "A", start, start + DAY_SECONDS, 8_000, device=device)
                    for day, start in begins
                ]
            )
            assert all(each.status == "accepted" for each in results)
        return books

    def _correction(self, number: int) -> AmendContract:
        prices = dict.fromkeys(self.devices, PRICES[number % len(PRICES)])
        body = {"mode": "correction", "prices": prices, "document": "x", "reason": "mistyped"}
        return decode_request(json.dumps(body).encode(), AmendContract, {"contract": "A"})


def _stamp(books: Books, number: int) -> Stamp:
    name = f"amendment-{number}"
    return Stamp(books.now, books.entries[0].by, name, salt_of(name.encode()))


async def run(_server: Server, scale: Scale, say: Say) -> Section:
    cases = [Case(days, kinds) for kinds in KINDS for days in DAYS]
    for place, case in enumerate(cases):
        say(f"{case.days} days, {case.kinds} kinds", place / len(cases))
        case.measure(scale.rounds * AMENDMENTS_PER_ROUND)
    return Section("amending", [_table(cases)], [_bar(cases)], [_curve(cases)])


def _table(cases: list[Case]) -> Table:
    head = ("days of usage", "kinds of devices", "decided, ms", "applied, ms", "both, at most, ms")
    rows = [
        (
            str(case.days),
            str(case.kinds),
            ms(median(case.decided)),
            ms(median(case.applied)),
            ms(max(case.both)),
        )
        for case in cases
    ]
    return Table(head, rows)


def _bar(cases: list[Case]) -> Bar:
    slowest = max(median(case.both) for case in cases)
    return Bar(
        f"a contract with {DAYS[-1]} days of usage is amended, median",
        f"< {BAR_SECONDS * 1_000:.0f} ms",
        f"{ms(slowest)} ms with {KINDS[-1]} kinds of devices",
        slowest < BAR_SECONDS,
    )


def _curve(cases: list[Case]) -> Curve:
    lines = [
        Line(
            "1 kind of devices" if kinds == 1 else f"{kinds} kinds of devices",
            [(case.days, 1_000 * median(case.both)) for case in cases if case.kinds == kinds],
        )
        for kinds in KINDS
    ]
    return Curve("amendment-by-days", "Amendment, by days of usage", "days", "ms", lines)
