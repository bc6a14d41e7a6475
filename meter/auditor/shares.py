"""The shares of several processes in an audit that decides in one: who checks which signatures.

With few records a batch, signatures are most of an audit's work; with many, its replay is. So the
pair of a batch goes to the process that has the least work so far. Each process counts the work of
all, from the batches alone, and so they agree without a word.
"""

from typing import Final

from meter.rules.entries import BatchAccepted

REPLAYING: Final = 0  # the process that decides again
ADDING: Final = 1  # the one that proves the bytes, and keeps the books and the totals

# Microseconds, as measured. Only their ratios matter, and no verdict depends on them.
REPLAYED_BATCH: Final = 100
_REPLAYED_RECORD: Final = 33
_ADDED_ENTRY: Final = 18
SIGNATURES: Final = 226  # of the envelope and of the receipt
# The same of an audit by ranges, an entry each, beside the reading that each process does.
DECIDED_RECORD: Final = 27
READ_ENTRY: Final = 9  # for questions and receipts
PROVED_ENTRY: Final = 4  # with the books
TOTALLED_ENTRY: Final = 7
READ_BEFORE: Final = 5  # before a range
NAMED_ENTRY: Final = 6  # of a range, in its first look


class Shares:
    """The work of each process so far."""

    def __init__(self, processes: int) -> None:
        self._work = [0] * max(processes, ADDING + 1)
        self._processes = processes

    def checker(self, batch: BatchAccepted) -> int:
        """Return which process checks the signatures of the next batch."""
        records = batch.voids + batch.records + batch.purchases
        work = self._work
        work[REPLAYING] += REPLAYED_BATCH + _REPLAYED_RECORD * records
        work[ADDING] += _ADDED_ENTRY * (1 + records)
        chosen = min(range(self._processes), key=work.__getitem__)
        work[chosen] += SIGNATURES
        return chosen
