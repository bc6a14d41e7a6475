"""Lists that people add up: all their pages show one size of the ledger.

Between two pages a void may take back what the first has shown, so that the sum of both was never
right. The place of such a list therefore holds the size of its first page, and a later page is
answered only while no entry since then concerns the list: else the size is gone (`moved`).

A list also ends with its total. Lines are rounded, each for itself, so their sum can be another;
the difference stands beside the total as a line of its own. The sums so far travel in the place.
"""

import re
from collections.abc import Sequence
from typing import Final

from ledger.store import Head
from meter.tables import connections, pages
from meter.values.problems import Problem

_SUMS: Final = re.compile(r"-?[0-9]+(?: -?[0-9]+)*")
BEGIN: Final = 0  # the size in the place of a first page: no ledger has it


async def one_size(
    connection: connections.Connection, head: Head, size: int, subjects: Sequence[str]
) -> int:
    """Return the size that all pages of a list show; `subjects` are what it is about, or all.

    Raises `Problem` `moved`.
    """
    if size == BEGIN:
        return head.size
    if await pages.has_changed(connection, subjects, size, head.size):
        raise Problem("moved", f"entries after {size} have changed this list")
    return size


def sums_text(sums: Sequence[int]) -> str:
    """Write sums as a part of a place."""
    return " ".join(map(str, sums))


def parse_sums(text: str, count: int) -> list[int]:
    """Read a number of sums from a part of a place. Raises `Problem`."""
    if len(text.split(" ")) != count or not _SUMS.fullmatch(text):
        raise Problem("malformed", "after: not the `next` of a response to this query")
    return list(map(int, text.split(" ")))
