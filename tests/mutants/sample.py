"""A sample of all mutants by chance, and what it says of those that nobody judged."""

import random
from collections.abc import Mapping, Sequence
from hashlib import sha256
from math import sqrt
from typing import Final

NORMAL_95: Final = 1.959964  # of the standard normal distribution, 2.5 % lie above


def order(names: Mapping[str, Sequence[str]], seed: int) -> list[tuple[str, str]]:
    """Return all names of mutants, from those of each file, in an order that chance made.

    Each beginning of it is a sample that holds an equal share of every file. A mutant keeps about
    its place when others come and go.
    """
    return [
        (file, name)
        for _, file, name in sorted(
            (place, file, name)
            for file, every in names.items()
            for place, name in _places(file, every, seed)
        )
    ]


def _places(file: str, names: Sequence[str], seed: int) -> list[tuple[float, str]]:
    """Return for each name a place between 0 and 1: one in each of so many equal parts."""
    chance = random.Random(f"{seed}:{file}")
    by_chance = sorted(names, key=lambda name: sha256(f"{seed}:{file}:{name}".encode()).digest())
    return [
        ((number + chance.random()) / len(names), name) for number, name in enumerate(by_chance)
    ]


def interval(found: int, tried: int) -> tuple[float, float]:
    """Return between which shares the true one lies, with 95 %.

    Source: E. B. Wilson, Probable Inference, the Law of Succession, and Statistical Inference,
    Journal of the American Statistical Association 22 (1927), 209-212.
    """
    square = NORMAL_95**2
    middle = (found + square / 2) / (tried + square)
    half = NORMAL_95 * sqrt(found * (tried - found) / tried + square / 4) / (tried + square)
    return max(0.0, middle - half), min(1.0, middle + half)
