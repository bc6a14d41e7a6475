"""The totals of the independent sums, compared with balances; a part of `auditor.sums`.

Nothing of the core is used here.
"""

from collections import defaultdict
from collections.abc import Iterator
from datetime import date
from fractions import Fraction
from math import floor

from ledger.errors import Violation
from meter.auditor.sum_meters import WORK_PER_FEN, Contract
from meter.auditor.sum_rules import Rules

Coupon = tuple[str, str, int]  # enterprise, programme, year
Pool = tuple[str, int]  # programme, year


def check_cost(name: str, contract: Contract, accounts: dict[str, int]) -> int:
    cost = floor(Fraction(contract.priced(), WORK_PER_FEN))
    agree("sum_cost", f"cost of contract {name}", accounts.pop(f"due:{name}", 0), cost)
    agree("sum_cost", f"costs in the entries of contract {name}", contract.stated_cost, cost)
    return cost


def check_grants(
    name: str, contract: Contract, accounts: dict[str, int]
) -> Iterator[tuple[int, int, int]]:
    """Yield `(year, entitled, granted)`."""
    ours, total = entitlement_of(contract), 0
    for year in sorted(ours.keys() | contract.stated_entitled.keys()):
        entitled, stated = ours.get(year, 0), contract.stated_entitled.get(year, 0)
        granted = accounts.pop(f"accrued:{name}:{year}", 0)
        agree("sum_entitled", f"entitlement of contract {name} in {year}", stated, entitled)
        if granted < 0:
            raise Violation("sum_granted", f"contract {name} is granted {granted} fen in {year}")
        stay_below("sum_granted", f"granted to contract {name} in {year}", granted, entitled)
        total += granted
        yield year, entitled, granted
    cost = floor(Fraction(contract.work, WORK_PER_FEN))
    stay_below("sum_granted", f"granted to contract {name}", total, cost)


def need_of(contract: Contract, year: int) -> int:
    """Return the most that a contract can ever be entitled to in a year, in fen."""
    terms = contract.fields
    by_ratio: int = floor(contract.ratio_of(year) * terms["amount"])
    return min(_support(contract), by_ratio)


def _support(contract: Contract) -> int:
    """Return the most that other public money leaves of a contract, in fen."""
    terms, rules = contract.fields, contract.rules
    ratio = (rules.ratio if rules.combined is None else rules.combined)[terms["class"]]
    funds = 0 if rules.combined is None else sum(contract.funds.values())
    support: int = floor(ratio * terms["amount"]) - funds
    return max(0, support)


def entitlement_of(contract: Contract) -> dict[int, int]:
    """Return fen by year: the ratio of the usage within the amount, within the support left."""
    amount_left, support_left = Fraction(contract.fields["amount"]), _support(contract)
    counting = contract.counting()
    eligible: defaultdict[tuple[int, int], int | Fraction] = defaultdict(int)
    for meter in contract.meters:
        for day, (_, fits, _) in meter.used.items():
            for place, (days, _) in enumerate(counting):
                if day in days:
                    year = date.fromordinal(day).year
                    eligible[year, place] += fits * meter.price_on(day)
    weighted: defaultdict[int, Fraction] = defaultdict(Fraction)
    for (year, place), work in sorted(eligible.items()):
        counted = min(_cut(Fraction(work, WORK_PER_FEN), contract.rules), amount_left)
        amount_left -= counted
        weighted[year] += counting[place][1] * counted
    entitled = {}
    for year, worth in weighted.items():
        entitled[year] = min(floor(_cut(worth, contract.rules)), support_left)
        support_left -= entitled[year]
    return entitled


def _cut(fen: Fraction, rules: Rules) -> Fraction:
    """Return a step's figure, cut at the yuan where the rules count so."""
    return Fraction(fen // 100 * 100) if rules.in_yuan else fen


def check_coupon(
    coupon: Coupon, issued: int, entitled: int, granted: int, accounts: dict[str, int]
) -> None:
    enterprise, programme, year = coupon
    what = f"{enterprise} under {programme} in {year}"
    agree("sum_granted", f"granted to {what}", granted, min(issued, entitled))
    held = accounts.pop(f"coupon:{programme}:{year}:{enterprise}", 0)
    agree("sum_coupon", f"coupon of {what}", held, issued - granted)


def check_pool(pool: Pool, limit: int, issued: int, accounts: dict[str, int]) -> None:
    programme, year = pool
    amount = max(issued, limit)  # a limit may be lowered below what was issued before
    held = accounts.pop(f"pool:{programme}:{year}", 0)
    agree("sum_pool", f"pool of {programme} {year}", held, amount - issued)
    held = accounts.pop(f"treasury:{programme}:{year}", 0)
    agree("sum_treasury", f"treasury of {programme} {year}", held, -amount)


def agree(code: str, what: str, held: int, ours: int, entry: int | None = None) -> None:
    if held != ours:
        raise Violation(code, f"{what}: the ledger says {held} fen, the sums give {ours}", entry)


def stay_below(code: str, what: str, fen: int, limit: int, entry: int | None = None) -> None:
    if fen > limit:
        raise Violation(code, f"{what}: {fen} fen, more than {limit}", entry)
