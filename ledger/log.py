"""The head of the log as its one writer holds it: pure, in memory, a group of entries at a time.

The writer appends entries, takes them as a `Group` and stores the group in one transaction, whole
or not at all. When that fails, discard this object and load another from the store: its entries
cannot be taken back.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ledger.book import Book
from ledger.canon import MAX_ENTRY_BYTES
from ledger.errors import BadAppend
from ledger.tlog import Frontier, leaf_hash


@dataclass(frozen=True, slots=True)
class Group:
    """Entries `first` to `first + count - 1`, and the head of the log after them.

    `leaf_hashes` and `frontier` are joined hashes, `balances` those of the accounts that changed,
    and `last_at` is the instant of the last entry.
    """

    first: int
    count: int
    entries: list[bytes]
    leaf_hashes: bytes
    size: int
    root: bytes
    frontier: bytes
    last_at: int
    balances: dict[str, int]


class Log:
    """The growing end of a log; it owns `frontier` and `book`, and changes both in place."""

    __slots__ = ("_entries", "_frontier", "_leaf_hashes", "book", "last_at")

    def __init__(self, frontier: Frontier, book: Book, last_at: int) -> None:
        self.book = book
        self.last_at = last_at
        self._frontier = frontier
        self._entries: list[bytes] = []
        self._leaf_hashes: list[bytes] = []

    @property
    def size(self) -> int:
        return self._frontier.size

    def root(self) -> bytes:
        return self._frontier.root()

    def append(self, data: bytes, at: int, postings: Iterable[object]) -> int:
        """Add an entry to the group and return its number; a refused one changes nothing.

        `data` must say the same `at` and `postings`. Raises `BadAppend`, `BadPosting` or
        `FloorBroken`.
        """
        if len(data) > MAX_ENTRY_BYTES:
            raise BadAppend(f"an entry of {len(data)} bytes is longer than {MAX_ENTRY_BYTES}")
        if at < self.last_at:
            raise BadAppend(f"the instant {at} is before {self.last_at}, that of the last entry")
        self.book.post(postings)
        leaf = leaf_hash(data)
        self._frontier.append(leaf)
        self._entries.append(data)
        self._leaf_hashes.append(leaf)
        self.last_at = at
        return self.size - 1

    def extend(self, entries: Sequence[bytes], at: int, postings: Iterable[object]) -> int:
        """Add entries of one instant and return the number of the first; all of them or none.

        `postings` are the sums of theirs, in which no account both gives and takes: then a floor
        that holds after the last entry holds after each. Raises what `append` raises.
        """
        longest = max(map(len, entries))
        if longest > MAX_ENTRY_BYTES:
            raise BadAppend(f"an entry of {longest} bytes is longer than {MAX_ENTRY_BYTES}")
        if at < self.last_at:
            raise BadAppend(f"the instant {at} is before {self.last_at}, that of the last entry")
        self.book.post_sums(postings)
        first = self.size
        for data in entries:
            leaf = leaf_hash(data)
            self._frontier.append(leaf)
            self._entries.append(data)
            self._leaf_hashes.append(leaf)
        self.last_at = at
        return first

    def take_group(self) -> Group:
        """Return the entries since the last group, and begin a new one."""
        entries, leaf_hashes = self._entries, self._leaf_hashes
        self._entries, self._leaf_hashes = [], []
        return Group(
            first=self.size - len(entries),
            count=len(entries),
            entries=entries,
            leaf_hashes=b"".join(leaf_hashes),
            size=self.size,
            root=self.root(),
            frontier=self._frontier.to_bytes(),
            last_at=self.last_at,
            balances=self.book.take_touched(),
        )
