"""What an entry moves, told in the figures of people: whose cost, which coupon's issue and grant.

An account's class says which figure it holds; its name says whose it is. Each figure of a time is
the sum of the movements of that time's entries:

    cost      `enterprise:<uscc>`, as a debt; also where a contract becomes another firm's
    issued    what came from a pool to `coupon:<programme>:<year>:<uscc>`, less what went back
    granted   `accrued:<item>:<year>`
    claimed   `claims:<item>:<year>`, as a debt: approved, and not taken back
    paid      `paid:<item>:<year>`: ordered, and not taken back
"""

from collections.abc import Iterator
from typing import Final, Literal, NamedTuple, get_args

from meter.rules.entries import AnyEntry, ContractAmended
from meter.rules.state import State

Figure = Literal["cost", "issued", "granted", "claimed", "paid"]
FIGURES: Final[tuple[Figure, ...]] = get_args(Figure)
_DEBTS: Final[frozenset[Figure]] = frozenset({"cost", "claimed"})


class Movement(NamedTuple):
    """Signed fen of one figure.

    `item` is a contract or an award, empty for an issue; `provider` is empty for both but a
    contract. `year` is that of the coupon, 0 for a cost.
    """

    figure: Figure
    programme: str
    enterprise: str
    item: str
    provider: str
    year: int
    fen: int


def movements(state: State, number: int, entry: AnyEntry) -> Iterator[Movement]:
    """Yield what an entry moves; `state` knows the contracts and awards that it names."""
    for source, target, fen in entry.postings:
        for own, other, signed in ((source, target, -fen), (target, source, fen)):
            held = _held(state, number, entry, own.split(":"), other.split(":"))
            if held is not None:
                figure, programme, enterprise, item, year = held
                provider = provider_of(state, item) if item else ""
                fen_of = -signed if figure in _DEBTS else signed
                yield Movement(figure, programme, enterprise, item, provider, year, fen_of)


def _held(
    state: State, number: int, entry: AnyEntry, own: list[str], other: list[str]
) -> tuple[Figure, str, str, str, int] | None:
    """Return what an account holds: figure, programme, enterprise, item, year; None for the rest.

    `other` is the account across.
    """
    match own:
        case ["enterprise", enterprise]:
            item = other[1] if other[0] == "due" else _contract_of(entry)
            return "cost", programme_of(state, item), enterprise, item, 0
        case ["coupon", programme, year, enterprise] if other[0] == "pool":
            return "issued", programme, enterprise, "", int(year)
        case ["accrued", item, year]:
            return "granted", programme_of(state, item), other[3], item, int(year)
        case ["claims" | "paid" as kind, item, year]:
            figure: Figure = "claimed" if kind == "claims" else "paid"
            owner = state.owner_of(item, number)
            return figure, programme_of(state, item), owner, item, int(year)
        case _:
            return None


def _contract_of(entry: AnyEntry) -> str:
    """Return the contract whose cost an entry moves from one firm to another."""
    assert isinstance(entry, ContractAmended), "nothing else moves a cost"
    return entry.contract


def programme_of(state: State, item: str) -> str:
    """Return the programme of a contract or an award."""
    award = state.awards.get(item)
    return state.contracts[item].registered.programme if award is None else award.made.programme


def provider_of(state: State, item: str) -> str:
    """Return the provider of a contract, or an empty text for an award."""
    return "" if item in state.awards else state.contracts[item].registered.provider


def add_to(runs: list[list[int]], number: int) -> None:
    """Add a number, no lower than the last, to runs of numbers `[first, last]`."""
    if runs and number <= runs[-1][1] + 1:
        runs[-1][1] = number
    else:
        runs.append([number, number])
