"""The accepted records of an audit: where each stands in the log.

A replay may meet any of its records again: sent once more, voided, released or disputed. An audit
that can read its log again keeps of a record the number of its entry, and reads it back where a
batch or a command names it, as the service loads it from its tables. A few records it keeps whole,
for their entries do not say all: those of which a part is withheld, and those that were voided.

A tile of entries is read at once, and the last few stay in memory. What is read back must be what
was read before: its hash stands in the tree.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from hashlib import sha256
from typing import Final, TypeAlias

import msgspec

from ledger.errors import Violation
from ledger.tiles import Tile
from ledger.tlog import TILE_WIDTH, Tree, leaf_hash
from meter.rules.entries import AcceptedEntry, BatchAccepted, UsageAccepted
from meter.rules.kinds.table import read_entry
from meter.rules.purchases import measured_purchase
from meter.rules.state import AcceptedRecord, RecordId, State

ReadTile: TypeAlias = Callable[[Tile], list[bytes]]  # raises `LedgerError`

_HELD_TILES: Final = 16  # of some 0.2 MB each


class Accepted:
    """The records that a state has accepted, most of them by their number."""

    def __init__(self, read: ReadTile) -> None:
        self._numbers: defaultdict[str, dict[str, int]] = defaultdict(dict)  # by provider and id
        self._whole: dict[RecordId, AcceptedRecord] = {}
        self._read = lru_cache(_HELD_TILES)(read)

    @contextmanager
    def held(self, state: State, tree: Tree, names: Iterable[RecordId]) -> Iterator[None]:
        """Let a state hold the records of these names, and what it accepts, for a while."""
        self._load(state, tree, names)
        yield
        self._keep(state)

    def _load(self, state: State, tree: Tree, names: Iterable[RecordId]) -> None:
        for provider, name in names:
            whole = self._whole.get((provider, name))
            number = self._numbers[provider].pop(name, None)
            if whole is not None:
                state.records[provider, name] = whole
            elif number is not None:
                state.records[provider, name] = self._read_back(number, tree)

    def _keep(self, state: State) -> None:
        for (provider, name), record in state.records.items():
            if _is_told_by_entry(record):
                self._numbers[provider][name] = record.entry
            else:
                self._whole[provider, name] = record
        state.records.clear()
        for (provider, name), (number, _, _) in state.unread.items():
            self._numbers[provider][name] = number
        state.unread.clear()

    def _read_back(self, number: int, tree: Tree) -> AcceptedRecord:
        usage = read_entry(msgspec.json.decode(self._bytes(number, tree)))
        assert isinstance(usage, AcceptedEntry), "its number was kept"
        batch = read_entry(msgspec.json.decode(self._bytes(usage.batch, tree)))
        assert isinstance(batch, BatchAccepted), "a record names its batch"
        if isinstance(usage, UsageAccepted):
            fits = usage.fits
        else:
            fits = measured_purchase(usage, by_days=usage.by_days).fits
        return AcceptedRecord(number, usage, fits, stream=batch.stream)

    def _bytes(self, number: int, tree: Tree) -> bytes:
        index, place = divmod(number, TILE_WIDTH)
        width = min(tree.size - index * TILE_WIDTH, TILE_WIDTH)
        data = self._read(Tile("entries", index, width))[place]
        if tree.leaf_digest(number, number + 1) != sha256(leaf_hash(data)).digest():
            raise Violation("changed", "it was changed while it was verified", number)
        return data


def _is_told_by_entry(record: AcceptedRecord) -> bool:
    """Return whether the entry of a record says all that the rules ask of it."""
    return not record.withheld and record.voided is None
