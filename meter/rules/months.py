"""When a month of the ledger turns, what it booked, and what streams lack at its closing."""

from collections import defaultdict
from copy import deepcopy

from meter.rules.month_book import Booked, Gap, Month, Numbers
from meter.rules.rating import cost
from meter.rules.state import State
from meter.values.problems import Problem


def turn_month(state: State, at: int) -> None:
    """Begin the month of an instant (microseconds), where the next entry is the first of it."""
    book = state.months
    if at < book.ends:
        return
    totals = _totals(state)
    if book.running:
        month = book.running_until(state.size, totals)
        book.over[book.running] = state.touched.months[book.running] = month
    book.begin(at, state.size, totals)


def month_over(state: State, name: str, at: int) -> Month:
    """Return a month that is over at an instant, and that is the next to close. Raises `Problem`.

    Nothing may have been booked since it ended; then it still is the running one.
    """
    book = state.months
    waiting = [each for each in (*book.over, book.running) if each not in book.closed]
    if name not in waiting:
        raise Problem("unknown_month", f"no entry is of {name}")
    if name != waiting[0]:
        raise Problem("month_open", f"{waiting[0]} is not closed yet")
    if name != book.running:
        return book.over[name]
    if at < book.ends:
        raise Problem("month_open", f"{name} is not over")
    return book.running_until(state.size, _totals(state))


def _totals(state: State) -> dict[str, Booked]:
    """Return cost and grants of all contracts and awards until now, fen."""
    totals = {
        name: (
            cost(contract.used, contract.terms.denominator),
            sum(share.granted for share in contract.shares.values()),
        )
        for name, contract in state.contracts.items()
    }
    return totals | {name: (0, award.amount) for name, award in state.awards.items()}


def numbers_of(state: State) -> dict[tuple[str, str], Numbers]:
    """Return the numbers of all streams, by provider and stream; the service has loaded them."""
    found = deepcopy(state.numbers)
    for provider, stream, number in state.batches:
        found.setdefault((provider, stream), Numbers()).fill(number)
    return found


def missing_numbers(state: State) -> dict[str, list[Gap]]:
    """Return the ranges that streams lack, by provider, in order."""
    gaps: defaultdict[str, list[Gap]] = defaultdict(list)
    for (provider, stream), numbers in sorted(numbers_of(state).items(), key=lambda held: held[0]):
        for first, last, _ in numbers.gaps:
            gaps[provider].append((stream, first, last))
    return gaps
