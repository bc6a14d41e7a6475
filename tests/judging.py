"""Ledgers of random histories, and judges that see them entry by entry, without a folder."""

from collections.abc import Iterator
from random import Random

from ledger.report import Finding
from ledger.tlog import Tree, leaf_hash
from ledger.verify import Judging
from meter.values.problems import Problem
from tests.histories import OPERATIONS, history
from tests.writer import Writer


def digested(seed: int, steps: int = 30, every: int = 3) -> Writer:
    """Return a ledger of a random history, with a digest every few steps."""
    writer, random = history(seed, by_groups=bool(seed % 2)), Random(seed)
    for place in range(steps):
        if place % every == 0:
            writer.digest_state()
        try:
            random.choice(OPERATIONS)(writer, random)
        except Problem:
            continue
    return writer


class Source:
    """The entries of a writer, as a worker reads them."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        self.size = len(writer.leaves)

    def entries(self, first: int, end: int) -> list[bytes]:
        return self._writer.leaves[first:end]

    def with_files(self, first: int, end: int) -> Iterator[tuple[bytes, list[bytes]]]:
        for number in range(first, min(end, self.size)):
            yield self._writer.leaves[number], self._writer.files.get(number, [])


def found_by(judge, writer: Writer) -> Finding | None:
    tree, size = Tree(), len(writer.leaves)

    def shown() -> Iterator[tuple[bytes, list[bytes]]]:
        for data, files in Source(writer).with_files(0, size):
            tree.append(leaf_hash(data))
            yield data, files

    judging = Judging([judge], tree, judge)
    judging.take(shown(), size)
    return judging.finding


def lie_at(writer: Writer, random: Random) -> None:
    """Change a figure or a letter of an entry, or of a file beside it."""
    number = random.randrange(len(writer.leaves))
    files = writer.files[number] = list(writer.files.get(number, []))
    if files and random.random() < 0.5:
        place = random.randrange(len(files))
        files[place] = changed_in(files[place], random)
    else:
        writer.leaves[number] = changed_in(writer.leaves[number], random)


def changed_in(data: bytes, random: Random) -> bytes:
    """Return a text with another digit or letter somewhere."""
    places = [place for place, byte in enumerate(data) if chr(byte).isalnum()]
    place = random.choice(places)
    other = b"8" if data[place : place + 1] != b"8" else b"7"
    return data[:place] + other + data[place + 1 :]
