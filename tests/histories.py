"""Random histories, the same in each run; prints their digests as one line of JSON.

    python -m tests.histories COUNT

For each seed there is a digest of all entries and receipts, and the number of entries of each kind.
It is a process of its own, so that the rules can run compiled in one and as written in another.
"""

import json
import sys
from collections import Counter
from collections.abc import Callable
from hashlib import sha256
from random import Random
from typing import Any

from ledger.sources import is_compiled
from meter.rules import decide
from meter.values.policy import shipped_text
from meter.values.problems import Problem
from meter.values.units import format_money, parse_instant
from tests.books import (
    ALPHA,
    BETA,
    DEVICE,
    lifted,
    line,
    purchase,
    record,
    summary,
    uscc_of,
    void,
)
from tests.writer import Writer

NOW = "2027-01-01T12:00:00+08:00"
STEPS = 25
HOUR = 3_600
EDGES = [
    parse_instant(f"{day}T00:00:00+08:00")
    for day in ("2024-12-18", "2025-01-01", "2026-01-01", "2026-12-18")
]
CORPUS = shipped_text("corpus-coupon", "2024-12").replace("days = 35", "days = 3660") + (
    '\n[rounding]\nprorate = "days"\narticle = "1"\nstanding = "measures"\n'
)
CONTRACTS = ("A", "B", "L", "S", "nobody")
DEVICES = (DEVICE, DEVICE, DEVICE, "other")


def main() -> None:
    histories = [history(seed) for seed in range(int(sys.argv[1]))]
    kinds = Counter(entry.kind for writer in histories for entry in writer.entries)
    withheld = sum(b'"withheld":[' in leaf for writer in histories for leaf in writer.leaves)
    told = {"digests": list(map(digest, histories)), "kinds": kinds, "withheld": withheld}
    json.dump(told | {"compiled": is_compiled(decide)}, sys.stdout)


def history(seed: int, *, by_groups: bool = False) -> Writer:
    """Write a ledger in which capacity and money run short, over three years."""
    random, writer = Random(seed), Writer(NOW)
    writer.by_groups = by_groups
    writer.activate(lifted(pool="1000.00"))
    writer.provider(devices={DEVICE: 4})
    writer.enlist("more", {DEVICE: 9}, "2025-01-01", "2026-01-01")
    writer.key()
    writer.enterprise()
    writer.enterprise(BETA, founded_on="2024-06-01")
    writer.contract("A", amount="1000.00")
    writer.contract("B", amount="50.00")
    writer.contract("L", max_devices={DEVICE: 2})
    writer.contract("S", enterprise=BETA, amount="200.00")
    writer.activate(CORPUS)
    writer.vendor("szdex", uscc_of(71), "corpus-coupon")
    writer.shop("K", "corpus-coupon", "szdex", amount="300.00")
    for _ in range(STEPS):
        try:
            random.choice(OPERATIONS)(writer, random)
        except Problem:
            continue  # a refusal is part of the history: nothing changes
    return writer


def digest(writer: Writer) -> str:
    return sha256(b"\n".join([*writer.leaves, *writer.receipts])).hexdigest()


def _post(writer: Writer, random: Random) -> None:
    records = [_record(random) for _ in range(random.randrange(6))]
    writer.post(records, [void(_id(random)) for _ in range(random.randrange(3))])


def _record(random: Random) -> dict[str, Any]:
    start = random.choice(EDGES) + random.randrange(-4 * HOUR, 2 * HOUR)
    seconds = random.choice((0, 61, HOUR, 3_601, 8 * HOUR, 3 * 24 * HOUR))
    thousandths = random.choice((0, 1, 460, 1_000, 2_000, 7_000, 40_000))
    device = random.choice(DEVICES)
    return record(
        _id(random), random.choice(CONTRACTS), start, start + seconds, thousandths, device=device
    )


def _sell(writer: Writer, random: Random) -> None:
    """Post purchases, a part of them services, and take one back."""
    days = [f"{year}-{month:02}-17" for year in (2024, 2025, 2026) for month in (1, 6, 12)]
    bought = []
    for _ in range(random.randrange(1, 4)):
        starts, ends = random.choice(days), random.choice(days)
        dates = {"service_from": starts, "service_until": ends} if random.random() < 0.7 else {}
        amount = format_money(random.randrange(1, 90_00))
        bought.append(purchase(_id(random), "K", amount, random.choice(days), **dates))
    writer.sell(*bought, voids=[void(_id(random))])


def _sum_up(writer: Writer, random: Random) -> None:
    day = random.choice(("2024-12-31", "2025-01-01", "2026-01-01"))
    writer.post(summary=summary(day, line("A", random.randrange(1, 4), "3600.460")))


def _id(random: Random) -> str:
    return f"r{random.randrange(30)}"


def _void(writer: Writer, random: Random) -> None:
    writer.void(_id(random))


def _release(writer: Writer, _: Random) -> None:
    held = [id_ for (_, id_), each in writer.state.records.items() if each.withheld]
    writer.release(held[-1] if held else "r1")


def _issue(writer: Writer, random: Random) -> None:
    year, enterprise = random.choice((2024, 2025, 2026)), random.choice((ALPHA, BETA))
    writer.issue(year, format_money(random.randrange(1, 20_000)), enterprise)


def _withdraw(writer: Writer, random: Random) -> None:
    writer.withdraw(random.choice((2025, 2026)), format_money(random.randrange(1, 500)))


def _freeze(writer: Writer, random: Random) -> None:
    random.choice((writer.freeze, writer.unfreeze))(random.choice(("A", "S")))


def _fund(writer: Writer, random: Random) -> None:
    amount, reference = random.choice(("0.00", "0.01", "60.00")), random.choice(("1", "2"))
    writer.fund_contract(random.choice(("A", "B", "S")), amount, reference=reference)


def _amend(writer: Writer, random: Random) -> None:
    changes: dict[str, Any] = {
        "prices": {DEVICE: f"{random.randrange(1, 9)}.{random.randrange(100):02}"}
    }
    if random.random() < 0.5:
        changes |= {"amount": format_money(random.randrange(1, 120_000))}
    if random.random() < 0.3:
        changes |= {"max_devices": {DEVICE: random.randrange(1, 9)}}
    if random.random() < 0.3:
        changes |= {"ends": random.choice(("2025-12-01", "2026-01-01", "2027-06-01"))}
    contract = random.choice(CONTRACTS)
    if random.random() < 0.5:
        days = ("2024-12-18", "2025-01-01", "2026-01-01", "2026-06-01")
        writer.supplement(random.choice(days), contract, **changes)
        return
    if random.random() < 0.5:
        changes |= {"related_party": random.random() < 0.3}
    if random.random() < 0.4:
        changes |= {"enterprise": random.choice((ALPHA, BETA))}
    if random.random() < 0.3:
        changes |= {"starts": random.choice(("2024-12-01", "2025-01-01"))}
    writer.correct(contract, **changes)


def _enlist(writer: Writer, random: Random) -> None:
    ends = random.choice(("2025-06-01", "2026-01-01", "2026-06-01"))
    writer.enlist("more", {DEVICE: 9}, "2025-01-01", ends)


OPERATIONS: tuple[Callable[[Writer, Random], None], ...] = (
    *(_post, _post, _post, _post, _issue, _issue),
    *(_withdraw, _void, _release, _release, _freeze, _enlist, _fund, _amend, _amend, _sell, _sell),
    _sum_up,
)

if __name__ == "__main__":
    main()
